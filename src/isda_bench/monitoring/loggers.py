"""Loggers: where a run's metrics are sent during the training."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread, current_thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from weakref import WeakSet

from isda_bench.arguments import checked
from isda_bench.config.experiment_files import table_of
from isda_bench.config.run_config import RunConfig

if TYPE_CHECKING:
    import numpy as np

SECONDS_TO_ANSWER = 90.0  # for wandb's own process, which itself does not wait longer than the next
SECONDS_TO_END = 5.0  # for one that is broken, or where the run was stopped
SECONDS_TO_WAIT = 60  # for wandb's servers: the next run of a grid is worth more


class Logger:
    """Sends nothing. A subclass sends a run's metrics somewhere; used as a context manager around the run."""

    def open(self, config: RunConfig) -> Self:
        """Begins to log the run `config`; call before entering the context."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the logging, whether the run finished or not."""

    def log(self, row: dict[str, Any]) -> None:
        """Takes an epoch's metrics."""

    def show(self, picture: Callable[[], "np.ndarray"]) -> None:
        """Takes a picture, red, green and blue (height, width, 3), of samples as the network sees them.

        Args:
            picture: makes it, where it is wanted.
        """

    def finish(self, record: dict[str, Any]) -> None:
        """Takes the finished run's record."""


class WandbLogger(Logger):
    """One wandb run a job; runs of one cell (all seeds) form a group. A failure of wandb never stops a run.

    wandb is imported, started and called in a thread of its own: the training waits for it only at its end.
    WANDB_MODE=disabled in the environment switches it off, as it does everywhere; else `mode` is what counts.

    The run has the configuration, the names under which its parts were chosen (`chosen`), the metrics with
    the epoch as their step, a picture of samples, the errors (mean of the last 10 epochs, last, best) as its
    summary, and as its tag the table whose experiment asked for it.

    Args:
        mode: offline runs are files under `wandb/` that `wandb sync` sends later.
        project: wandb's project.
        entity: wandb's user or team; null: the default one.
    """

    @checked
    def __init__(
        self,
        mode: Literal["online", "offline"] = "offline",
        project: str = "isda_bench",
        entity: str | None = None,
    ) -> None:
        self.mode = mode
        self.project = project
        self.entity = entity
        self.run: Any = None
        self.calls = _Calls() if os.environ.get("WANDB_MODE") != "disabled" else _NoCalls()

    def open(self, config: RunConfig) -> Self:
        """Starts wandb's run, or rejoins it: its id is the run's own."""
        self.calls.add(lambda: self._start(config))
        return self

    def _start(self, config: RunConfig) -> None:
        import wandb

        self.run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=os.environ.get("WANDB_DIR", str(Path.cwd())),  # wandb would keep to the first run's
            id=config.run_id,
            name=config.run_id,
            group=config.cell,
            job_type="train",
            tags=[table_of(config.names["experiment"])] if "experiment" in config.names else [],
            config=config.as_dict()["config"] | {"chosen": config.names},
            resume="allow",
            reinit="finish_previous",
            settings=wandb.Settings(
                silent=self.mode == "offline",  # its hints would be wrong: here logger.mode counts
                quiet=True,
                console="off",  # the terminal is the display's
                init_timeout=SECONDS_TO_WAIT,
                login_timeout=SECONDS_TO_WAIT,
                finish_timeout=SECONDS_TO_WAIT,
            ),
        )
        self.run.define_metric("*", step_metric="epoch")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends wandb's run, as failed if an exception is under way."""
        self.calls.add(lambda: self.run.finish(exit_code=0 if kind is None else 1))
        if kind is None:
            self.calls.close(SECONDS_TO_ANSWER, "the run continues without it")
        else:
            self.calls.close(SECONDS_TO_END, "its last metrics may not have reached it")

    def log(self, row: dict[str, Any]) -> None:
        """Sends an epoch's metrics."""
        sent = dict(row)
        self.calls.add(lambda: self.run.log(sent, step=sent["epoch"]))

    def show(self, picture: Callable[[], "np.ndarray"]) -> None:
        """Sends the picture with the first epoch's metrics."""
        if not self.calls.wanted:
            return
        pixels = picture()  # here, not in the thread: it draws from the run's loader
        self.calls.add(lambda: self._show(pixels))

    def _show(self, pixels: "np.ndarray") -> None:
        import wandb

        self.run.log({"samples": wandb.Image(pixels)}, step=1)

    def finish(self, record: dict[str, Any]) -> None:
        """Sends the errors, or a generator's quality, as the run's summary."""
        errors = {f"{name}_error": value for name, value in record.get("error", {}).items()}
        errors |= {f"last_10_{name}": value for name, value in record.get("metrics", {}).items()}
        summary = errors | (record.get("quality") or {})
        self.calls.add(lambda: self.run.summary.update(summary))


class _Calls:
    """Calls to wandb, made one after another in a thread; after the first that fails, none."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.thread: Thread | None = None
        self.begun = 0.0  # when the call under way was
        self.failed = False
        self.started = Event()

    @property
    def wanted(self) -> bool:
        """Whether further calls have an effect."""
        return not self.failed

    def add(self, call: Callable[[], Any]) -> None:
        """Makes it when those before it are done."""
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
        self.begun = max(self.begun, time.monotonic())
        while self.thread.is_alive() and time.monotonic() < self.begun + seconds:
            self.thread.join(self.begun + seconds - time.monotonic())
        if self.thread.is_alive():
            self._fail(f"no answer for {seconds:g} s", otherwise)
        if self.failed:  # at the end of the process a broken service would be complained about or waited for
            ending = Thread(target=_teardown, daemon=True)
            ending.start()
            ending.join(SECONDS_TO_END)

    def _work(self) -> None:
        while (call := self.queue.get()) is not None:
            self.begun = time.monotonic()
            try:
                if not self.failed:
                    call()
            except Exception as error:  # whatever wandb raises, the training is worth more
                self._fail(error)
            self.started.set()

    def _fail(self, why: object, otherwise: str = "the run continues without it") -> None:
        if not self.failed:
            self.failed = True
            print(f"wandb failed ({why}); {otherwise}", file=sys.stderr)


class _NoCalls(_Calls):
    """Makes none."""

    wanted = False

    def add(self, call: Callable[[], Any]) -> None:
        """Does nothing."""


_starting: WeakSet[_Calls] = WeakSet()


def _wait_for_starts() -> None:
    """A process forked while wandb is imported and started would have its locks, and nobody to open them."""
    for calls in list(_starting):
        if calls.thread is not current_thread():
            calls.started.wait(SECONDS_TO_ANSWER)
            _starting.discard(calls)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait_for_starts)


def _teardown() -> None:
    with suppress(Exception):
        import wandb

        wandb.teardown()
