"""Files that are there whole or not at all, whatever happens while they are written."""

import errno
import os
import platform
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from isda_bench.errors import UserError

ASIDE = ".writing-"  # how the name of a file that is being written begins


def read_file(path: Path) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: it cannot be read, or is no regular file: a FIFO would be waited for without end.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        return file.read()


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a temporary file, flushes it to the disk and renames it; until then `path` keeps its content.

    The temporary file of a killed process is removed.

    Raises:
        UserError: the file cannot be written (disk full, no permission, ...); no partial file remains.
    """
    aside = path.parent / f"{ASIDE}{_machine()}-{os.getpid()}-{secrets.token_hex(4)}-{path.name}"
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _remove_abandoned(path)
        _flush_directory(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)


def remove_leftovers(directory: Path) -> None:
    """Removes files that processes of this machine were writing in `directory` when they were killed.

    Files of other machines, whose processes cannot be probed from here, stay.
    """
    for leftover in directory.glob(f"{ASIDE}*"):
        _remove_if_abandoned(leftover)


def _remove_abandoned(path: Path) -> None:
    """As `remove_leftovers`, of the file at `path` alone."""
    for leftover in path.parent.glob(f"{ASIDE}*"):
        if leftover.name.endswith(f"-{path.name}"):
            _remove_if_abandoned(leftover)


def _remove_if_abandoned(leftover: Path) -> None:
    machine, _, rest = leftover.name.removeprefix(ASIDE).partition("-")
    process = machine if machine.isdigit() else rest.partition("-")[0]  # older versions: the process alone
    here = machine.isdigit() or machine == _machine()
    if here and process.isdigit() and not _runs(int(process)):
        with suppress(OSError):
            leftover.unlink()


def _machine() -> str:
    """Host and container, in a form for the names of files: within one, a process number names a process."""
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return re.sub(r"[^A-Za-z0-9]", "_", f"host_{platform.node()[:24]}_{namespace}")


def _runs(process: int) -> bool:
    try:
        with suppress(PermissionError):  # another user's
            os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
