"""Loggers: where a run's metrics are sent during the training. The contract, and wandb's."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from isda_bench.arguments import checked
from isda_bench.config.experiment_files import experiment_names, table_of
from isda_bench.config.run_config import RunConfig
from isda_bench.monitoring.background_calls import SECONDS_TO_END, BackgroundCalls, NoCalls

if TYPE_CHECKING:
    import numpy as np

SECONDS_TO_ANSWER = 90.0  # for wandb's own process, which itself does not wait longer than the next
SECONDS_TO_WAIT = 60  # for wandb's servers, before the next run of a grid starts


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

    def resume(self, rows: Sequence[dict[str, Any]]) -> None:
        """Receives the metrics of the epochs that an earlier process trained; none for a new run."""

    def log(self, row: dict[str, Any]) -> None:
        """Receives an epoch's metrics."""

    def show(self, picture: Callable[[], "np.ndarray"]) -> None:
        """Receives a picture, red, green and blue (height, width, 3), of samples as the network sees them.

        Args:
            picture: makes it, where it is wanted.
        """

    def finish(self, record: dict[str, Any]) -> None:
        """Receives the finished run's record."""


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
        self.calls = BackgroundCalls() if os.environ.get("WANDB_MODE") != "disabled" else NoCalls()

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
            tags=_tags(config.names.get("experiment")),
            config=config.as_dict()["config"] | {"chosen": config.names} | labels_of(config.names),
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
        """Ends wandb's run, as failed if an exception is being raised, and prints its address."""
        self.calls.add(lambda: self.run.finish(exit_code=0 if kind is None else 1))
        if kind is None:
            self.calls.close(SECONDS_TO_ANSWER, "the run continues without it")
        else:
            self.calls.close(SECONDS_TO_END, "its last metrics may not have reached it")
        if self.run is not None and not self.calls.failed:
            print(f"wandb: {self._place()}", file=sys.stderr, flush=True)

    def _place(self) -> str:
        """The run's address, or the command that sends an offline run."""
        if self.mode == "online":
            return str(self.run.url)
        folder = Path(self.run.dir).parent
        shown = str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)
        return f"offline run in {shown}; wandb sync {shlex.quote(shown)}"

    def resume(self, rows: Sequence[dict[str, Any]]) -> None:
        """Sends the epochs that wandb's run lacks: all of them to an offline one."""
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
        """Sends the picture with the first epoch's metrics, if wandb's run lacks those."""
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


def _tags(experiment: str | None) -> list[str]:
    """The table that the run belongs to; the experiment itself where its file is not at hand."""
    if experiment is None:
        return []
    return [table_of(experiment) if experiment in experiment_names() else experiment]


def labels_of(names: Mapping[str, str]) -> dict[str, str]:
    """The method, and the network and data set, as a curve's legend says them."""
    losses = [names.get("method") or names.get("loss"), None if "method" in names else names.get("generator")]
    method = " + ".join(name for name in losses if name and name != "none")
    setting = " on ".join(names[group] for group in ("model", "dataset") if group in names)
    return {"method": method, "setting": setting}


def summary_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record's results: the errors, mean of the last 10 epochs, last and best, or a generator's quality."""
    errors = {f"{name}_error": value for name, value in record.get("error", {}).items()}
    means = {f"last_10_{name}": value for name, value in record.get("metrics", {}).items()}
    return errors | means | (record.get("quality") or {})
