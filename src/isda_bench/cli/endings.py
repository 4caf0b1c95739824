"""The end of a command: its exit code, and one message."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from isda_bench.errors import ConfigError, RankLost, UserError
from isda_bench.runtime.ranks import rank
from isda_bench.runtime.terminal import printable_lines

INTERRUPTED, TERMINATED = 130, 143  # exit codes, by the shells' convention of 128 + signal


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


class JobFailed(UserError):
    """A run of a grid has failed; the message is empty where the error has been reported."""


@contextmanager
def clean_end() -> Iterator[None]:
    """Exits with 2 for a wrong configuration, 1 if a run failed, 128 + its number after a signal.

    An error of the program itself passes, with its traceback.
    """
    try:
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    except JobFailed as error:
        if str(error):
            print(error, file=sys.stderr)
        sys.exit(1)
    except (ConfigError, HydraException, OmegaConfBaseException) as error:
        exit_with(2, error)
    except BrokenPipeError:
        raise  # the output's reader has ended: isda-bench ends quietly
    except (UserError, OSError) as error:
        exit_with(1, error)
    except Exception as error:
        behind = signal_behind(error)
        if behind is not None:
            exit_with(*behind)
        if type(error).__module__.partition(".")[0] not in ("joblib", "submitit"):
            raise
        exit_with(1, UserError(f"the launcher lost a run: {error}"))  # its process was killed, say
    except KeyboardInterrupt as error:
        exit_with(*end_of(error))


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
