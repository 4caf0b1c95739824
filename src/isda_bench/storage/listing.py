"""Lists the run directories below a folder with their states and sizes, and prunes them."""

import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from isda_bench.config.generator_config import FOLDER
from isda_bench.config.run_config import RunConfig
from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import read_file
from isda_bench.storage.checkpoint import checkpoints
from isda_bench.storage.checksummed_json import NewerFormat
from isda_bench.storage.record_files import (
    RECORD,
    RUN,
    epochs_done,
    kind_of,
    leading_error,
    read_record,
    read_run,
)
from isda_bench.storage.run_lock import RunLock

State = Literal["finished", "unfinished", "running", "damaged", "newer format", "foreign"]
"""`foreign` is what has a file of a run's name and nothing else of one: another program's, or a link."""
MARKS = (RUN, RECORD, "claims")
OF_A_RUN = ("run_id", "cell", "identity", "config", "names", "sha256")
"""Keys of our files: one of them is enough to recognise a file, however damaged, as ours."""
BEGINNING = b'{\n  "format": 2'  # of our files


class RunSummary(NamedTuple):
    """The summary of a run directory."""

    path: Path
    state: State
    names: dict[str, str]
    """Chosen name of each group; empty where the run is damaged, foreign or of a newer format."""
    seed: int | None
    epoch: int
    """Epochs done."""
    epochs: int | None
    """Of the whole run."""
    error: float | None
    """In percent, as `leading_error`; None for an unfinished run and for a generator."""
    size: int
    """In bytes."""
    changed: float
    """When something was last written there, in seconds since 1970."""


def summaries(runs_dir: Path) -> Iterator[RunSummary]:
    """Every run directory <runs_dir>/<run id>, sorted by name; then those of generators, sorted too."""
    for folder in (runs_dir, runs_dir / FOLDER):
        for path in sorted({found.parent for mark in MARKS for found in folder.glob(f"*/{mark}")}):
            yield _summary(path)


def remove_checkpoints(run: RunSummary) -> None:
    """Removes a finished run's checkpoints: record and metrics stay, its weights are gone.

    Raises:
        RunLocked: a process holds its lock.
        UserError: the directory is a symbolic link, or something cannot be removed.
    """
    _refuse_link(run.path)
    try:
        with RunLock(run.path):
            for path in checkpoints(run.path):
                path.unlink(missing_ok=True)  # of a link the link itself
    except OSError as error:
        raise UserError(f"{run.path}: cannot be removed: {error.strerror or error}") from error


def remove_run(run: RunSummary) -> None:
    """Removes the directory; of symbolic links in it the links, never their targets.

    Raises:
        RunLocked: a process holds its lock.
        UserError: the directory is a symbolic link or no run's, or something cannot be removed.
    """
    _refuse_link(run.path)
    if run.state in ("foreign", "newer format"):
        raise UserError(f"{run.path}: {run.state}: not removed")
    try:
        with RunLock(run.path):
            (run.path / RECORD).unlink(missing_ok=True)  # first: half removed, the run is not finished
            shutil.rmtree(run.path)
    except OSError as error:
        raise UserError(f"{run.path}: cannot be removed: {error.strerror or error}") from error


def checkpoint_bytes(run: RunSummary) -> int:
    """Bytes that `remove_checkpoints` would free."""
    return sum(_size_of(path) for path in checkpoints(run.path))


def listing(runs: list[RunSummary], width: int | None = None) -> str:
    """A line for each run, and the sum.

    Args:
        runs: the runs.
        width: of the terminal, in characters: where a line is longer, every run's name has a line of its own.
    """
    rows = [["run", "state", "epoch", "error in %", "size", "last change"], *map(_cells, runs)]
    lines = _aligned(rows)
    if width is not None and max(map(len, lines)) > width:
        rest = _aligned([row[1:] for row in rows])
        lines = [line for row, cells in zip(rows, rest, strict=True) for line in (row[0], f"  {cells}")]
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    return "\n".join([*lines, f"{count}, {size(sum(run.size for run in runs))}"])


def size(count: float) -> str:
    """A number of bytes in a readable unit: '3.4 MB'."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _cells(run: RunSummary) -> list[str]:
    return [
        "".join(c if c.isprintable() else "?" for c in run.path.name),
        run.state,
        f"{run.epoch}/{run.epochs or '?'}",
        "" if run.error is None else f"{run.error:.2f}",
        size(run.size),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed)),
    ]


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _summary(path: Path) -> RunSummary:
    total, changed = (0, 0.0) if path.is_symlink() else _size_and_change(path)
    whole = RunSummary(path, "foreign", {}, None, 0, None, None, total, changed)
    if path.is_symlink():
        return whole
    whole = whole._replace(epoch=epochs_done(path))
    try:
        run, record, kind = _read(path)
    except NewerFormat:
        return whole._replace(state="newer format")
    except UserError:
        return whole._replace(state="damaged" if _is_ours(path) else "foreign")
    settings = kind(run["config"], run["names"]).settings
    return whole._replace(
        state="finished" if record else "running" if RunLock(path).seems_held() else "unfinished",
        names=run["names"],
        seed=settings.seed,
        epochs=settings.schedule.epochs,
        error=leading_error(record) if record and kind is RunConfig else None,
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None, type[RunConfig]]:
    """The content of run.json, or of the record where run.json is missing; the record; the kind of the run.

    Raises:
        UserError: a file is damaged, or there is neither.
    """
    first = path / (RUN if os.path.lexists(path / RUN) else RECORD)
    run = read_run(first)
    kind = kind_of(run)
    record = read_record(path / RECORD, kind) if os.path.lexists(path / RECORD) else None
    return run, record, kind


def _is_ours(path: Path) -> bool:
    """Whether an unreadable directory is of a run of ours: it has our keys in a file, or our claims."""
    if any((path / "claims").glob("[0-9]*.json")) or checkpoints(path):
        return True
    for name in (RUN, RECORD):
        with suppress(OSError):
            text = read_file(path / name)
            cut_off = BEGINNING.startswith(text.strip())
            if cut_off or any(f'"{key}"'.encode() in text for key in OF_A_RUN):
                return True
    return False


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise UserError(f"{path}: is a symbolic link: neither it nor its target is removed")


def _size_and_change(path: Path) -> tuple[int, float]:
    total, changed = 0, 0.0
    for folder, _, files in os.walk(path):  # links to folders are not followed
        for name in files:
            with suppress(OSError):  # a running process removes its old checkpoints
                state = Path(folder, name).lstat()
                total += state.st_size if stat.S_ISREG(state.st_mode) else 0
                changed = max(changed, state.st_mtime)
    return total, changed


def _size_of(path: Path) -> int:
    state = path.lstat()
    return state.st_size if stat.S_ISREG(state.st_mode) else 0
