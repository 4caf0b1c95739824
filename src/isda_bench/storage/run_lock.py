"""One process a run directory, also where several machines share the file system.

Native locks (flock) do not hold between the clients of every shared file system, and a stale lock file that
is removed or renamed can be another's by then. So whoever works on the run holds the newest of the claims
`claims/000001.json`, `claims/000002.json`, ..., which is never removed. The next one may be made when the
newest is released or its process is gone; exclusive creation, atomic on NFS and Lustre too, lets one win.
Whatever else lies in `claims` (a FIFO, a directory, a link to nowhere) is a claim that shows no sign of life.
"""

import json
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import read_file

CLAIM = re.compile(r"\d{6,18}\.json")  # longer numbers are no claims
LAST = 10**18 - 1
HEARTBEAT = 10.0  # seconds from one sign of life to the next
SILENCE = 120.0  # seconds without one after which a process that cannot be probed counts as gone
BEATS_MISSED = 3  # after which the process of a claim that cannot be read counts as gone


class RunLocked(UserError):
    """Another process holds the run's lock."""


class RunLock:
    """Used as a context manager around the training of a run.

    Args:
        directory: the run's; made if it is not there.
        heartbeat: seconds from one sign of life to the next.
        silence: seconds without a sign of life after which a process on another machine counts as gone. They
            are waited out, so that no clocks are compared.

    Attributes:
        claim: the file that stands for this process's claim; None while it holds none.
    """

    def __init__(self, directory: Path, heartbeat: float = HEARTBEAT, silence: float = SILENCE) -> None:
        self.directory = directory
        self.claims = directory / "claims"
        self.heartbeat = heartbeat
        self.silence = silence
        self.claim: Path | None = None
        self.ended = threading.Event()

    def __enter__(self) -> Self:
        """Takes the lock.

        Raises:
            RunLocked: another process holds it.
            UserError: the claims are damaged.
            OSError: nothing can be written there.
        """
        if self.claims.is_symlink():
            raise UserError(f"{self.claims}: is a symbolic link; remove it")
        self.claims.mkdir(parents=True, exist_ok=True)
        while self.claim is None:
            newest = self._newest()
            if newest is not None and self._held(newest):
                raise RunLocked(f"{self.directory}: another process is running this run; nothing done")
            self.claim = self._make_claim(self._after(newest))
        for old in sorted(self._claims(), key=_number)[:-2]:
            with suppress(OSError):  # a directory, or removed already
                old.unlink()
        self.ended = threading.Event()
        threading.Thread(target=self._live, args=(self.ended,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Releases the lock."""
        assert self.claim is not None
        self.ended.set()
        with suppress(OSError):  # a full disk: the lock goes with the process
            self.claim.write_text(json.dumps(_this_process() | {"released": True}))
        self.claim = None

    def check(self) -> None:
        """Checks that the lock is still this process's, which may have been suspended too long.

        Raises:
            RunLocked: another process has taken the run over.
        """
        if self.claim is not None and os.path.lexists(self._after(self.claim)):
            raise RunLocked(f"{self.directory}: another process has taken this run over; stopped here")

    def move(self, target: Path) -> None:
        """Renames the directory while this process holds the lock, and holds it there.

        Raises:
            OSError: it cannot be renamed.
        """
        self.directory.rename(target)
        self.directory, self.claims = target, target / "claims"
        if self.claim is not None:
            self.claim = self.claims / self.claim.name

    def _make_claim(self, claim: Path) -> Path | None:
        """The claim, if no other process was faster."""
        try:
            with claim.open("x") as file:
                json.dump(_this_process() | {"released": False}, file)
        except FileExistsError:
            return None
        return claim if self._newest() == claim else None  # an old number, removed since the last look

    def seems_held(self) -> bool:
        """Whether a process seems to hold the lock, without waiting; for other machines by our clock."""
        newest = self._newest()
        if newest is None:
            return False
        content, sign = _read(newest)
        if content.get("released"):
            return False
        if content.get("host") == _host():
            return _lives(content)
        return time.time() - sign / 1e9 < self.silence

    def _newest(self) -> Path | None:
        return max(self._claims(), key=_number, default=None)

    def _claims(self) -> Iterator[Path]:
        return (path for path in self.claims.glob("*.json") if CLAIM.fullmatch(path.name))

    def _after(self, claim: Path | None) -> Path:
        number = 0 if claim is None else _number(claim)
        if number == LAST:
            raise UserError(f"{claim}: no number comes after it; remove the claims if nothing runs it")
        return self.claims / f"{number + 1:06d}.json"

    def _held(self, claim: Path) -> bool:
        """Whether the process that made the claim still holds it; waits for its heartbeat if need be."""
        content, sign = _read(claim)
        if content.get("released"):
            return False
        host = str(content.get("host", "the process that claimed it"))
        if host == _host():
            return _lives(content)
        host = "".join(filter(str.isprintable, host))[:100]
        print(f"{self.directory}: waiting for a sign of life from {host}", file=sys.stderr, flush=True)
        return self._shows_life(claim, sign, self.silence if content else BEATS_MISSED * self.heartbeat)

    def _shows_life(self, claim: Path, sign: int, patience: float) -> bool:
        end, changes = time.monotonic() + patience, 0
        while True:
            over = time.monotonic() > end  # asked before the last look: this process may have slept too
            content, latest = _read(claim)
            changes += latest != sign
            sign = latest
            if content.get("released"):
                return False
            if changes > 1 or (changes and content):  # an empty file may be the beginning of a release
                return True
            if over:
                return False
            time.sleep(self.heartbeat / 4)

    def _live(self, ended: threading.Event) -> None:
        while not ended.wait(self.heartbeat):
            claim = self.claim
            with suppress(
                OSError
            ):  # a file system that is away for a moment; `check` sees if it was too long
                if claim is not None:
                    os.utime(claim)


def _number(claim: Path) -> int:
    return int(claim.stem)


def _read(claim: Path) -> tuple[dict[str, Any], int]:
    """The claim and its last sign of life; opened anew, so that a client of NFS asks its server.

    A claim that is gone counts as released. What cannot be read is empty: its process is writing it, was
    killed then, or it is damaged.
    """
    try:
        sign = claim.lstat().st_mtime_ns  # before the content, which is never older then
    except OSError:
        return {"released": True}, 0
    try:
        content = json.loads(read_file(claim))
    except (OSError, ValueError, RecursionError):
        content = {}
    return content if isinstance(content, dict) else {}, sign


def _this_process() -> dict[str, Any]:
    """Identifies this process among those of all machines."""
    return {"host": _host(), "pid": os.getpid(), "start": _start_of(os.getpid())}


def _lives(process: dict[str, Any]) -> bool:
    """Whether the process, of this machine, is still there."""
    start = _start_of(process.get("pid"))
    return start is not None and start == process.get("start")


def _host() -> str:
    """Machine, boot and container: within one, a process number identifies a process."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        return f"{platform.node()} {boot.read_text().strip()} {namespace.stat().st_ino}"
    except OSError:
        return f"{platform.node()} {os.getpid()}"  # cannot be probed: signs of life must do


def _start_of(pid: Any) -> int | None:
    """When a process began, in ticks of the kernel's clock: numbers are used again. None: no such process."""
    if not isinstance(pid, int):
        return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
