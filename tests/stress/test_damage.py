"""Damaged files are found, named and made again or refused; no number of theirs is ever told."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.published_cifar import Published
from helpers.run_files import checkpoint_name, same_state
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.data.base import checksum_of
from isda_bench.data.cifar import CIFAR10
from isda_bench.errors import UserError
from isda_bench.gan.generator_file import FILE, load_generator, read_metadata, save_generator
from isda_bench.gan.networks import Generator
from isda_bench.loading import load_run
from isda_bench.storage import checkpoint
from isda_bench.storage.record_files import read_record
from isda_bench.storage.records import collect_records, read_metrics, read_records
from isda_bench.storage.run_directory import RunDirectory
from isda_bench.training.run import run

TIMES = [10, pytest.param(200, marks=pytest.mark.slow)]
KINDS = ("truncated", "a bit flipped")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of a finished run with two checkpoints."""
    config = compose_run(
        [*TINY, "schedule.epochs=2", "loss=isda", f"runs_dir={tmp_path_factory.mktemp('runs')}"]
    )
    run(config)
    return RunDirectory(config).path


@pytest.fixture
def directory(finished, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / finished.name))


def damage(content: bytes, kind: str, rng) -> bytes:
    """The content cut off, or with a bit flipped, at a random place."""
    if kind == "truncated":
        return content[: rng.randrange(len(content))]
    place = rng.randrange(8 * len(content))
    flipped = bytearray(content)
    flipped[place // 8] ^= 1 << place % 8
    return bytes(flipped)


def attack(path: Path, times: int, rng, outcome, tried) -> None:
    """Damages the file so often in each way, and adds what `outcome()` says to the table."""
    whole = path.read_bytes()
    for kind in KINDS:
        outcomes = []
        for _ in range(times):
            path.write_bytes(damage(whole, kind, rng))
            outcomes.append(outcome())
            for left in path.parent.glob("*.damaged"):
                left.unlink()
            path.write_bytes(whole)
        name = path.name.partition("-")[0]
        tried(f"{name} {kind}", outcomes)


@pytest.mark.parametrize("times", TIMES)
def test_newest_checkpoint(directory, rng, tried, capsys, times):
    newest, before = checkpoint.checkpoints(directory)
    good = checkpoint.load(before)["model"]

    def outcome():
        state = checkpoint.load_newest(directory)
        message = capsys.readouterr().err
        assert newest.name in message and "using the one before" in message
        assert same_state(state["model"], good)
        return "named, the one before taken"

    attack(newest, times, rng, outcome, tried)


def test_a_run_whose_only_checkpoint_is_damaged_is_not_loaded(directory, rng):
    newest, before = checkpoint.checkpoints(directory)
    before.unlink()
    newest.write_bytes(damage(newest.read_bytes(), KINDS[1], rng))
    with pytest.raises(UserError, match="no whole checkpoint of the last epoch"):
        load_run(directory)


def told_or_right(read, right, path: Path) -> str:
    """What `read` gives is right, or it raises a UserError that names the file."""
    try:
        given = read()
    except UserError as error:
        assert path.name in str(error) and len(str(error).splitlines()) == 1
        return "refused by name"
    assert given == right
    return "content unharmed"  # a space for a tab


@pytest.mark.parametrize("times", TIMES)
def test_record(directory, rng, tried, times):
    path = directory / "record.json"
    right = read_record(path)
    roots = [directory.parent]

    def outcome():
        first = told_or_right(lambda: read_record(path), right, path)
        second = told_or_right(lambda: read_records(roots)["record"].tolist(), [right], path)
        assert first == second
        return first

    attack(path, times, rng, outcome, tried)


@pytest.mark.parametrize("times", TIMES)
def test_metrics_of_a_finished_run(directory, rng, tried, times, tmp_path):
    path = directory / "metrics.jsonl"
    right = read_metrics(directory).to_dict()

    def outcome():
        with pytest.raises(UserError, match=r"metrics\.jsonl: damaged"):
            collect_records(directory.parent, tmp_path / "out")
        return told_or_right(lambda: read_metrics(directory).to_dict(), right, path)

    attack(path, times, rng, outcome, tried)


@pytest.mark.parametrize("times", TIMES)
def test_metrics_of_an_unfinished_run(directory, finished, rng, tried, times):
    """A run that goes on writes them anew from its checkpoint."""
    config = compose_run([*TINY, "schedule.epochs=2", "loss=isda", f"runs_dir={directory.parent}"])
    path = directory / "metrics.jsonl"
    right = path.read_bytes()

    def outcome():
        held = RunDirectory(config)
        with held.locked():
            held.rewrite(checkpoint.load_newest(directory)["metrics"])
        assert path.read_bytes() == right
        return "written anew from the checkpoint"

    attack(path, times, rng, outcome, tried)


@pytest.mark.parametrize("times", TIMES)
def test_run_json(directory, rng, tried, times):
    config = compose_run([*TINY, "schedule.epochs=2", "loss=isda", f"runs_dir={directory.parent}"])
    path = directory / "run.json"
    right = RunDirectory(config).beginning()

    def begins():
        held = RunDirectory(config)
        with held.locked():
            return held.beginning()

    def outcome():
        try:
            given = begins()
        except UserError as error:
            assert "run.json: damaged" in str(error) or "another configuration" in str(error)
            return "refused by name"
        assert given == right
        return "content unharmed"

    attack(path, times, rng, outcome, tried)


@pytest.mark.parametrize("times", TIMES)
def test_kept_arrays_of_a_data_set(tmp_path, rng, tried, monkeypatch, capsys, times):
    files = Published(CIFAR10, tmp_path / "data", monkeypatch, images=10)
    dataset = CIFAR10(root=str(files.root), download=False)
    right = checksum_of(*dataset.read())
    path = files.root / "cifar10.safetensors"

    def outcome():
        assert checksum_of(*dataset.read()) == right
        return "made again, saying so" if "is damaged" in capsys.readouterr().err else "content unharmed"

    attack(path, times, rng, outcome, tried)


@pytest.mark.parametrize("times", TIMES)
def test_published_files_of_a_data_set(tmp_path, rng, tried, monkeypatch, times):
    files = Published(CIFAR10, tmp_path / "data", monkeypatch, images=10)
    dataset = CIFAR10(root=str(files.root), download=False)
    name = rng.choice(sorted(files.batches))

    def outcome():
        with pytest.raises(UserError, match=f"damaged: {name}"):
            dataset.read()
        return "refused by name"

    attack(files.folder / name, times, rng, outcome, tried)


@pytest.mark.parametrize("times", TIMES)
def test_generator_file(tmp_path, rng, tried, times):
    generator = Generator(10, 1, 8, width=4, conditional=True)
    save_generator(tmp_path, generator, "of the data", {"run_id": "some run"})
    path = tmp_path / FILE
    right = read_metadata(path)

    def outcome():
        weights = told_or_right(lambda: same_state(load_generator(tmp_path).state_dict(), whole), True, path)
        assert told_or_right(lambda: read_metadata(path), right, path) == weights
        return weights

    whole = load_generator(tmp_path).state_dict()
    attack(path, times, rng, outcome, tried)


class Hostile:
    """A pickle that makes a file where it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_hostile_files_are_refused_and_not_executed(directory, tmp_path, monkeypatch, tried, capsys):
    marker = tmp_path / "executed"
    content = pickle.dumps(Hostile(marker))
    held = checkpoint.checkpoints(directory)
    hostile = directory / checkpoint_name(9, content)
    hostile.write_bytes(content)
    assert same_state(checkpoint.load_newest(directory)["model"], checkpoint.load(held[0])["model"])
    assert "checkpoint-00009" in (told := capsys.readouterr().err) and "refused" in told
    files = Published(CIFAR10, tmp_path / "data", monkeypatch, images=10)
    dataset = CIFAR10(root=str(files.root), download=False)
    right = checksum_of(*dataset.read())
    (files.root / "cifar10.safetensors").write_bytes(content)
    assert checksum_of(*dataset.read()) == right and "is damaged" in capsys.readouterr().err
    (files.root / "cifar10.safetensors").unlink()
    (files.folder / "data_batch_1").write_bytes(content)
    with pytest.raises(UserError, match="damaged: data_batch_1"):
        dataset.read()
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError, match=FILE):
        load_generator(tmp_path)
    for name in ("record.json", "metrics.jsonl", "run.json"):
        path = directory / name
        whole = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(UserError, match=name):
            read_metrics(directory) if name != "run.json" else RunDirectory.beginning(_at(directory))
        path.write_bytes(whole)
    assert not marker.exists()
    tried("hostile pickle in place of a file", ["refused, not executed"] * 7)


def _at(directory: Path) -> RunDirectory:
    """A RunDirectory whose configuration does not matter."""
    held = RunDirectory.__new__(RunDirectory)
    held.path = directory
    return held


def test_a_number_that_was_edited_is_not_told(directory):
    path = directory / "record.json"
    record = json.loads(path.read_text())
    record["error"]["last_10"] = float(np.nextafter(record["error"]["last_10"], 0))
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"record\.json: damaged or edited"):
        read_records([directory.parent])
