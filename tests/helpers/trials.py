"""A small project with data, a run and a table, and whether two such are the same."""

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

from helpers import attacks
from helpers.forked import Done, run_forked
from helpers.published_cifar import Published
from isda_bench.data.cifar import CIFAR10
from isda_bench.storage import checkpoint
from isda_bench.storage.record_files import read_record

IMAGES = 20  # in a batch file
EPOCHS = 3
TRAIN = [
    "dataset=cifar10",
    "dataset.download=false",
    "model=resnet8",
    "loss=isda",
    f"schedule.epochs={EPOCHS}",
    "schedule.batch_size=32",
    "schedule.milestones=null",
    "schedule.factor=null",
    "runs_dir=runs",
]
TABLES = ["experiment=small_data", "records=none", "out=tables"]
CLOCKS = {"seconds", "images_per_second", "started", "ended", "peak_memory_bytes", "git"}


def make_project(folder: Path) -> Path:
    """The published files of a small CIFAR-10 below `folder`/data."""
    with_images = CIFAR10.train_images
    setter = SimpleNamespace(setattr=lambda target, name, value: None)
    Published(CIFAR10, folder / "data", setter, IMAGES)
    assert CIFAR10.train_images == with_images
    return folder


def train(project: Path, *overrides: str, prepare=None, **options) -> Done:
    """The command of the project, in a process of its own."""
    both = attacks.each(*filter(None, [attacks.partial(attacks.small_cifar, IMAGES), prepare]))
    return run_forked([*TRAIN, *overrides], project, prepare=both, **options)


def make_tables(project: Path, **options) -> Done:
    """Its table."""
    return run_forked(TABLES, project, script="scripts/make_tables.py", **options)


def copied(project: Path, target: Path) -> Path:
    """Another project like it."""
    shutil.copytree(project, target)
    return target


def result(project: Path) -> dict:
    """All that the project's run came to, less the time it took."""
    (directory,) = (path for path in (project / "runs").iterdir() if path.is_dir())
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    record = read_record(directory / "record.json")
    state = checkpoint.load_newest(directory)
    assert state is not None
    return {
        "files": sorted(path.name.partition("-")[0] for path in directory.iterdir()),
        "metrics": [{key: value for key, value in row.items() if key not in CLOCKS} for row in rows],
        "record": {key: value for key, value in record.items() if key not in CLOCKS},
        "weights": {name: digest(value.numpy().tobytes()) for name, value in state["model"].items()},
        "loss": {name: digest(value.numpy().tobytes()) for name, value in state["loss"].items()},
        "data": digest((project / "data" / "cifar10.safetensors").read_bytes()),
    }


def digest(content: bytes) -> str:
    """SHA-256."""
    return hashlib.sha256(content).hexdigest()
