"""The end of a command: its exit code, and one message."""

import sys
import time
from types import FrameType
from typing import NoReturn

from isda_bench.errors import RankLost
from isda_bench.runtime.ranks import rank
from isda_bench.runtime.terminal import printable_lines

INTERRUPTED, TERMINATED = 130, 143  # exit codes, by the shells' convention of 128 + signal


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


def end_of(error: BaseException) -> tuple[int, str]:
    """Exit code and message of a process that a signal ends."""
    code, word = (TERMINATED, "terminated") if isinstance(error, Terminated) else (INTERRUPTED, "interrupted")
    return code, f"{word}; the same command resumes from the last checkpoint"


def signal_behind(error: BaseException | None) -> tuple[int, str] | None:
    """Exit code and message of a signal that the error of a failed clean-up hides."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return end_of(error) if error else None


def terminate(number: int, frame: FrameType | None) -> NoReturn:
    """The handler of SIGTERM."""
    raise Terminated


def exit_with(code: int, message: object) -> NoReturn:
    """Ends the process. An exception is reported as an error; another message by the first rank alone."""
    if isinstance(message, Exception):
        try:  # another process is likely to report it, or its reason: torchrun then ends this one
            time.sleep(15 if isinstance(message, RankLost) else 5 if rank() else 0)
        except Terminated as error:
            code, message = end_of(error)
    if isinstance(message, Exception):
        text = printable_lines(f"error: {message}")
        print(text, file=sys.__stderr__ if rank() else sys.stderr, flush=True)
    elif rank() == 0:
        print(message, file=sys.stderr, flush=True)
    sys.exit(code)
