"""Checkpoints: the whole state of a run after an epoch, checked when read, never executed.

A file's name carries the epoch and the beginning of its content's SHA-256, so that damage shows. The newest
two are kept.
"""

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import torch

from isda_bench.atomic import write_atomically

KEPT = 2


def save(directory: Path, epoch: int, state: dict[str, Any]) -> Path:
    """Writes `state` (tensors, numbers, strings, lists, dicts) as the checkpoint of `epoch`.

    Raises:
        UserError: it cannot be written; the checkpoints before it stay.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path = directory / f"checkpoint-{epoch:05d}-{_digest(content)}.pt"
    write_atomically(path, content)
    for old in checkpoints(directory)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def load_newest(directory: Path) -> dict[str, Any] | None:
    """The state of the newest whole checkpoint, on the CPU; None if there is none.

    A damaged one is named on stderr and renamed, so that it takes no whole one's place.
    """
    for path in checkpoints(directory):
        try:
            return load(path)
        except ValueError as error:
            path.replace(path.with_suffix(".damaged"))
            left = len(checkpoints(directory))
            print(f"{error}; {'using the one before' if left else 'none is left'}", file=sys.stderr)
    return None


def load(path: Path) -> dict[str, Any]:
    """The state in `path`, on the CPU.

    Raises:
        ValueError: the content is not what was written.
    """
    content = path.read_bytes()
    if _digest(content) != path.stem.rsplit("-", 1)[-1]:
        raise ValueError(f"{path}: damaged: its content is not what its name says")
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def checkpoints(directory: Path) -> list[Path]:
    """The checkpoints in `directory`, newest first."""
    return sorted(directory.glob("checkpoint-*.pt"), reverse=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
