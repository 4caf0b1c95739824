"""What is done to a process: called in the child, before train.py or a script begins."""

import ctypes
import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

EVENTS = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "shutil.rmtree"}


def each(*attacks: Callable[[], object]) -> Callable[[], object]:
    """Several of them."""
    return partial(_each, attacks)


def _each(attacks) -> None:
    for attack in attacks:
        attack()


def small_cifar(images: int) -> None:
    """CIFAR-10 is as small as the files below data/ that `Published` wrote."""
    from helpers.published_cifar import Published
    from isda_bench.data.cifar import CIFAR10

    published = Published.__new__(Published)
    published.__dict__ |= {
        "monkeypatch": SimpleNamespace(setattr=setattr),
        "source": __import__("torchvision").datasets.CIFAR10,
        "folder": Path("data/cifar-10-batches-py"),
    }
    if published.folder.exists():
        published.pin()
    CIFAR10.train_images = 5 * images


def kill_at_operation(number: int, below: str) -> None:
    """SIGKILL before the file system operation of that number, from 1, on what lies below a folder.

    Operations are opening, making, renaming, removing and flushing. 0: kills never, and tells their number.
    """
    done = 0

    def operation(name, path):
        nonlocal done
        if not Path.cwd().joinpath(path).is_relative_to(below):
            return
        done += 1
        if done == number:
            os.write(2, f"\nkilled before {name} {path}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event, arguments):
        if event in EVENTS and isinstance(arguments[0], str | bytes):
            operation(event, os.fsdecode(arguments[0]))

    flush = os.fsync

    def fsync(descriptor):
        operation("fsync", file_of(descriptor))
        flush(descriptor)

    sys.addaudithook(hook)
    os.fsync = fsync
    if not number:
        import atexit

        atexit.register(lambda: os.write(2, f"\noperations: {done}\n".encode()))


def file_of(descriptor: int) -> Path:
    """The open file."""
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def kill_at_size(size: int) -> None:
    """The kernel kills the process in the middle of the write that makes a file larger than that."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def full_above_size(size: int) -> None:
    """No file can become larger: EFBIG in the middle of a write."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def bound_by_permissions() -> None:
    """Root, too, may read and write only what the permission bits say: its capabilities go."""
    if os.geteuid() == 0:
        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        if ctypes.CDLL(None, use_errno=True).capset(header, none):
            raise OSError(ctypes.get_errno(), "capset")


def fail_writes(name: str, number: int = errno.ENOSPC) -> None:
    """Flushing a file whose name contains `name` fails as on a full disk."""
    flush = os.fsync

    def fsync(descriptor):
        if name in str(file_of(descriptor)):
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    os.fsync = fsync


def clock_set_back(seconds: float) -> None:
    """The clock is set back in the middle: each time it is read it is earlier."""
    import datetime
    import time

    import isda_bench.storage.run_directory

    real, steps = time.time, count(1)

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromtimestamp(time.time(), tz)

    time.time = lambda: real() - seconds * next(steps)
    isda_bench.storage.run_directory.datetime = Clock


def after_checkpoint(action: Callable[[], object], number: int = 1) -> None:
    """Calls `action` in the process itself when it has written its checkpoint of that number, from 1."""
    from isda_bench.storage import checkpoint

    save, numbers = checkpoint.save, count(1)

    def saves(*arguments):
        path = save(*arguments)
        if next(numbers) == number:
            action()
        return path

    checkpoint.save = saves


def dies() -> None:
    """SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


def leak(megabytes: int) -> None:
    """An open file and so much memory are lost with each checkpoint."""
    from isda_bench.storage import checkpoint

    save, lost = checkpoint.save, []

    def saves(*arguments):
        lost.append((os.open("/dev/null", os.O_RDONLY), b"x" * (megabytes * 2**20)))
        return save(*arguments)

    checkpoint.save = saves
