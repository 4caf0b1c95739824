"""Checkpoints: the whole state of a run after an epoch or within one, checked when read, never executed.

A file's name carries the epoch, the steps after it if there are any, and the beginning of its content's
SHA-256, so that damage shows. The newest two are kept.
"""

import hashlib
import io
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import read_file, write_atomically

KEPT = 2


class NonFiniteState(UserError):
    """A value of the state has become NaN or infinite."""


def save(directory: Path, epoch: int, state: dict[str, Any], step: int | None = None) -> Path:
    """Writes `state` (tensors, numbers, strings, lists, dicts) as the checkpoint of `epoch`.

    Args:
        directory: of the run.
        epoch: the newest whole epoch.
        state: of the run.
        step: batches of the next epoch that the state has behind it; null: it is that of the epoch's end.

    Raises:
        NonFiniteState: something in it is NaN or infinite; the checkpoints before it stay.
        UserError: it cannot be written; the checkpoints before it stay.
    """
    state = _on_cpu(state)
    wrong = list(_not_finite(state, ""))
    if wrong:
        raise NonFiniteState(
            f"not finite after epoch {epoch}: {', '.join(wrong[:3])}{', ...' if len(wrong) > 3 else ''}: "
            f"stopped there; the earlier checkpoints are kept"
        )
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    place = f"{epoch:05d}" if step is None else f"{epoch:05d}_{step:06d}"  # sorts after the epoch's own
    path = directory / f"checkpoint-{place}-{_digest(content)}.pt"
    write_atomically(path, content)
    remove_older(directory)
    return path


def remove_older(directory: Path) -> None:
    """Removes the checkpoints before the newest two."""
    for old in checkpoints(directory)[KEPT:]:
        with suppress(IsADirectoryError):
            old.unlink(missing_ok=True)


def load_newest(directory: Path) -> dict[str, Any] | None:
    """The state of the newest whole checkpoint, on the CPU; None without a checkpoint.

    A damaged one is named on stderr and renamed, so that it takes no whole one's place.
    """
    found = checkpoints(directory)
    for path in found:
        try:
            return load(path)
        except ValueError as error:
            with suppress(OSError):  # a directory that can only be read
                path.replace(path.with_suffix(".damaged"))
            left = path != found[-1]
            print(f"{error}; {'using the one before' if left else 'there is no other'}", file=sys.stderr)
    return None


def load(path: Path) -> dict[str, Any]:
    """The state in `path`, on the CPU.

    Raises:
        ValueError: the content is not what was written, or would have to be executed.
    """
    try:
        content = read_file(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from error
    if _digest(content) != path.stem.rsplit("-", 1)[-1]:
        raise ValueError(f"{path}: damaged: its content is not what its name says")
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch.load raise anything
        raise ValueError(f"{path}: refused: not a checkpoint ({str(error).partition(chr(10))[0]})") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path}: refused: not a checkpoint")
    with suppress(RuntimeError):  # of lists that contain themselves, of tensors without numbers: others check
        for wrong in _not_finite(state, ""):
            raise ValueError(f"{path}: refused: {wrong} is not finite")
    return state


def checkpoints(directory: Path) -> list[Path]:
    """The checkpoints in `directory`, newest first."""
    return sorted(directory.glob("checkpoint-*.pt"), reverse=True)


def _on_cpu(node: Any) -> Any:
    """`node` in plain lists and dicts, its tensors on the CPU, where reading needs no synchronisation."""
    if isinstance(node, dict):
        return {key: _on_cpu(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_on_cpu(value) for value in node]
    return node.cpu() if isinstance(node, torch.Tensor) else node


def _not_finite(node: Any, name: str) -> Iterator[str]:
    """The dotted names of tensors and numbers below `node` that are NaN or infinite."""
    if isinstance(node, dict | list | tuple):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            yield from _not_finite(value, f"{name}.{key}" if name else str(key))
    elif isinstance(node, torch.Tensor | float) and not bool(torch.as_tensor(node).isfinite().all()):
        yield name


def random_states() -> dict[str, torch.Tensor]:
    """States of torch's default generators, which make all randomness of a run."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def rng_states(state: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
    """The random states of all ranks in a checkpoint; older ones call them `generators`."""
    first = state["rng_states"] if "rng_states" in state else state["generators"]
    return [first, *(state.get("rng_states_of_ranks") or state.get("generators_of_ranks") or [])]


def restore_random_states(states: dict[str, torch.Tensor]) -> None:
    """Restores the states that `random_states` returned."""
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_initialized() and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
