"""Calls made in a thread, without a wait of the training."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread, current_thread
from typing import Any
from weakref import WeakSet

SECONDS_TO_START = 90.0  # that a fork waits for
SECONDS_TO_END = 5.0  # for a service that is broken, or where the run was stopped


class BackgroundCalls:
    """Calls to wandb, made one after another in a thread; after the first that fails, none."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.thread: Thread | None = None
        self.call_start = 0.0  # of the current call
        self.failed = False
        self.started = Event()

    @property
    def wanted(self) -> bool:
        """Whether further calls have an effect."""
        return not self.failed

    def add(self, call: Callable[[], Any]) -> None:
        """Makes the call after the earlier ones."""
        if self.thread is None:
            self.thread = Thread(target=self._work, daemon=True)
            _starting.add(self)
            self.thread.start()
        self.queue.put(call)

    def close(self, seconds: float, otherwise: str) -> None:
        """Waits for all of them; gives wandb up, saying `otherwise`, when one takes longer than so long."""
        if self.thread is None:
            return
        self.queue.put(None)
        self.call_start = max(self.call_start, time.monotonic())
        while self.thread.is_alive() and time.monotonic() < self.call_start + seconds:
            self.thread.join(self.call_start + seconds - time.monotonic())
        if self.thread.is_alive():
            self._fail(f"no answer for {seconds:g} s", otherwise)
        if self.failed:  # at the end of the process a broken service would be complained about or waited for
            ending = Thread(target=_teardown, daemon=True)
            ending.start()
            ending.join(SECONDS_TO_END)

    def _work(self) -> None:
        while (call := self.queue.get()) is not None:
            self.call_start = time.monotonic()
            try:
                if not self.failed:
                    call()
            except Exception as error:  # whatever wandb raises, the training continues
                self._fail(error)
            self.started.set()

    def _fail(self, why: object, otherwise: str = "the run continues without it") -> None:
        if not self.failed:
            self.failed = True
            print(f"wandb failed ({why}); {otherwise}", file=sys.stderr)


class NoCalls(BackgroundCalls):
    """Makes no call."""

    wanted = False

    def add(self, call: Callable[[], Any]) -> None:
        """Does nothing."""


_starting: WeakSet[BackgroundCalls] = WeakSet()


def _wait_for_starts() -> None:
    """A process forked during the import or start of wandb would inherit locks that no thread releases."""
    for calls in list(_starting):
        if calls.thread is not current_thread():
            calls.started.wait(SECONDS_TO_START)
            _starting.discard(calls)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait_for_starts)


def _teardown() -> None:
    with suppress(Exception):
        import wandb

        wandb.teardown()
