"""The run directories below a folder: what is there, how large it is, and how to make room."""

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from isda_bench.config.generator_config import FOLDER, GeneratorConfig
from isda_bench.config.run_config import RunConfig
from isda_bench.errors import UserError
from isda_bench.storage.checkpoint import checkpoints
from isda_bench.storage.checksummed_json import read_checksummed
from isda_bench.storage.record_files import read_record
from isda_bench.storage.run_lock import RunLock

State = Literal["finished", "unfinished", "at work", "damaged"]


class RunSummary(NamedTuple):
    """A run directory at a glance."""

    path: Path
    state: State
    names: dict[str, str]
    """Chosen name of each group; empty where the run is damaged."""
    seed: int | None
    epoch: int
    """Epochs done."""
    epochs: int | None
    """Of the whole run."""
    error: float | None
    """In percent, by the paper's protocol; None while there is none, and for a generator."""
    size: int
    """In bytes."""
    changed: float
    """When something was last written there, in seconds since 1970."""


def summaries(runs_dir: Path) -> Iterator[RunSummary]:
    """Every run directory <runs_dir>/<run id>, sorted by name; then those of generators likewise."""
    marks = ("run.json", "record.json", "claims")
    for folder in (runs_dir, runs_dir / FOLDER):
        for path in sorted({found.parent for mark in marks for found in folder.glob(f"*/{mark}")}):
            yield _summary(path)


def remove_checkpoints(run: RunSummary) -> None:
    """Removes a finished run's checkpoints: record and metrics stay, its weights are gone.

    Raises:
        RunLocked: a process holds its lock.
    """
    with RunLock(run.path):
        for path in checkpoints(run.path):
            path.unlink(missing_ok=True)


def remove_run(run: RunSummary) -> None:
    """Removes the directory.

    Raises:
        RunLocked: a process holds its lock.
    """
    with RunLock(run.path):
        (run.path / "record.json").unlink(missing_ok=True)  # first: half removed, the run is not finished
        shutil.rmtree(run.path)


def checkpoint_bytes(run: RunSummary) -> int:
    """What `remove_checkpoints` would give back."""
    return sum(path.stat().st_size for path in checkpoints(run.path))


def listing(runs: list[RunSummary]) -> str:
    """A line for each run, and the sum."""
    rows = [["run", "state", "epoch", "error in %", "size", "last change"]]
    rows += [
        [
            run.path.name,
            run.state,
            f"{run.epoch}/{run.epochs or '?'}",
            "" if run.error is None else f"{run.error:.2f}",
            size(run.size),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed)),
        ]
        for run in runs
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, f"{len(runs)} runs, {size(sum(run.size for run in runs))}"])


def size(count: float) -> str:
    """A number of bytes for people: '3.4 MB'."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _summary(path: Path) -> RunSummary:
    total, changed = _size_and_change(path)
    try:
        run = read_checksummed(path / "run.json")
        names = run["names"]
        kind = RunConfig if "loss" in names else GeneratorConfig
        settings = kind(run["config"], names).settings
        record = read_record(path / "record.json", kind.result) if (path / "record.json").exists() else None
        seed, epochs = settings.seed, settings.schedule.epochs
    except (UserError, KeyError, TypeError, ValueError):
        return RunSummary(path, "damaged", {}, None, _epochs_done(path), None, None, total, changed)
    state: State = "finished" if record else "at work" if RunLock(path).seems_held() else "unfinished"
    error = record["error"]["last_10"] if record and kind is RunConfig else None
    return RunSummary(path, state, names, seed, _epochs_done(path), epochs, error, total, changed)


def _size_and_change(path: Path) -> tuple[int, float]:
    total, changed = 0, 0.0
    for file in path.rglob("*"):
        with suppress(FileNotFoundError):  # a run at work removes its old checkpoints
            stat = file.stat()
            total += stat.st_size if file.is_file() else 0
            changed = max(changed, stat.st_mtime)
    return total, changed


def _epochs_done(path: Path) -> int:
    metrics = path / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0
