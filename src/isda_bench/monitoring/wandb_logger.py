"""Sends a run's metrics to wandb."""

import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
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
from isda_bench.monitoring.logger import Logger, summary_of

if TYPE_CHECKING:
    import numpy as np

SECONDS_TO_ANSWER = 90.0  # for wandb's own process, which itself does not wait longer than the next
SECONDS_TO_END = 5.0  # for one that is broken, or where the run was stopped
SECONDS_TO_WAIT = 60  # for wandb's servers: the next run of a grid is worth more


class WandbLogger(Logger):
    """One wandb run a job; runs of one cell (all seeds) form a group. A failure of wandb never stops a run.

    wandb is imported, started and called in a thread of its own: the training waits for it only at its end.
    WANDB_MODE=disabled in the environment switches it off, as it does everywhere; else `mode` is what counts.

    The run has the configuration, the names under which its parts were chosen (`chosen`; `method` and
    `setting` say them as a legend does), the metrics with the epoch as their step, a picture of samples, the
    errors (mean of the last 10 epochs, last, best) as its summary, and as its tag the table whose experiment
    asked for it. Where wandb's agent of a sweep started the process, the run is the agent's.

    A run that resumes offline is another folder, which gets the earlier epochs too: the newest has them all.

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
        """Starts wandb's run, or resumes it: its id is the run's own."""
        self.calls.add(lambda: self._start(config))
        return self

    def _start(self, config: RunConfig) -> None:
        import wandb

        self.run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=os.environ.get("WANDB_DIR", str(Path.cwd())),  # wandb would keep to the first run's
            id=_id_of_agent() or config.run_id,
            name=config.run_id,
            group=config.cell,
            job_type="train",
            tags=[table_of(config.names["experiment"])] if "experiment" in config.names else [],
            config=config.as_dict()["config"] | {"chosen": config.names} | _labels(config.names),
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
        """Ends wandb's run, as failed if an exception is under way, and says where it is."""
        self.calls.add(lambda: self.run.finish(exit_code=0 if kind is None else 1))
        if kind is None:
            self.calls.close(SECONDS_TO_ANSWER, "the run continues without it")
        else:
            self.calls.close(SECONDS_TO_END, "its last metrics may not have reached it")
        if self.run is not None and not self.calls.failed:
            print(f"wandb: {self._place()}", file=sys.stderr, flush=True)

    def _place(self) -> str:
        """Where wandb has the run, and how an offline one is sent."""
        if self.mode == "online":
            return str(self.run.url)
        folder = Path(self.run.dir).parent
        shown = str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)
        return f"offline run in {shown}; wandb sync {shlex.quote(shown)}"

    def resume(self, rows: Sequence[dict[str, Any]]) -> None:
        """Sends the epochs that wandb's run has not got: all of them to an offline one."""
        earlier = [dict(row) for row in rows]
        self.calls.add(lambda: self._resume(earlier))

    def _resume(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["epoch"] >= self.run.step:
                self.run.log(row, step=row["epoch"])

    def log(self, row: dict[str, Any]) -> None:
        """Sends an epoch's metrics."""
        sent = dict(row)
        self.calls.add(lambda: self.run.log(sent, step=sent["epoch"]))

    def show(self, picture: Callable[[], "np.ndarray"]) -> None:
        """Sends the picture with the first epoch's metrics, if wandb's run has not got those yet."""
        if not self.calls.wanted:
            return
        pixels = picture()  # here, not in the thread: it draws from the run's loader
        self.calls.add(lambda: self._show(pixels))

    def _show(self, pixels: "np.ndarray") -> None:
        import wandb

        if self.run.step <= 1:
            self.run.log({"samples": wandb.Image(pixels)}, step=1)

    def finish(self, record: dict[str, Any]) -> None:
        """Sends the results as the run's summary."""
        self.calls.add(lambda: self.run.summary.update(summary_of(record)))


def _id_of_agent() -> str | None:
    """The id under which a sweep's agent expects the run of this process; None without an agent."""
    return os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None


def _labels(names: Mapping[str, str]) -> dict[str, str]:
    """The method, and the network and data set, as a curve's legend says them."""
    losses = [names.get("method") or names.get("loss"), None if "method" in names else names.get("generator")]
    method = " + ".join(name for name in losses if name and name != "none")
    setting = " on ".join(names[group] for group in ("model", "dataset") if group in names)
    return {"method": method, "setting": setting}


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
