"""Errors of devices, as messages: out of memory, a lost GPU."""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from isda_bench.errors import DeviceLost, UserError

_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
_ACCELERATOR = ("CUDA error", "CUDNN_STATUS_", "CUBLAS_STATUS_")


@contextmanager
def reported_device_errors(remedies: Sequence[str]) -> Iterator[None]:
    """Turns torch's errors about memory and devices into one error for the user.

    Args:
        remedies: settings that need less memory, as the user types them.

    Raises:
        DeviceLost: the GPU's context is lost: nothing can run on it any more in this process.
        UserError: memory does not suffice, or the GPU reports something else.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        reported = _reported(error, remedies)
        if reported is None:
            raise
        raise reported from error


def _reported(error: RuntimeError | MemoryError, remedies: Sequence[str]) -> UserError | None:
    """The error for the user; None where it is not about a device."""
    reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(w in reason for w in _NO_MEMORY):
        return UserError(f"out of memory: {reason.rstrip('.')}; less is needed with {_either(remedies)}")
    if not isinstance(error, torch.AcceleratorError) and not any(w in reason for w in _ACCELERATOR):
        return None
    if _context_is_lost():
        return DeviceLost(
            f"the GPU is lost: {reason}; nothing can run on it in this process any more, "
            f"and a grid ends here; the same command resumes from the last checkpoint"
        )
    return UserError(f"the GPU reports: {reason}")


def _either(remedies: Sequence[str]) -> str:
    *others, last = remedies
    return f"{', '.join(others)} or {last}" if others else last


def _context_is_lost() -> bool:
    """Whether every further call fails; where no call can be tried, an error counts as a loss."""
    if not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def clear_frames(error: BaseException) -> None:
    """Drops the local variables of the functions that an exception has left.

    A launcher keeps the exception of a job to the end of its grid. Its traceback, and those of the exceptions
    behind it, would keep the network, the data and the memory of the graphs.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        traceback.clear_frames(current.__traceback__)
        waiting += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions
