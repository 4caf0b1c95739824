"""Where metrics are sent while a run goes on."""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self

from isda_bench.arguments import checked
from isda_bench.config import RunConfig


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

    def finish(self, record: dict[str, Any]) -> None:
        """Takes the finished run's record."""


class WandbLogger(Logger):
    """One wandb run a job; runs of one cell (all seeds) form a group. A failure of wandb never stops a run.

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

    def open(self, config: RunConfig) -> Self:
        """Starts wandb's run, or rejoins it: its id is the run's own."""
        self._try(lambda: self._start(config))
        return self

    def _start(self, config: RunConfig) -> None:
        import wandb

        self.run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            id=config.run_id,
            name=config.run_id,
            group=config.cell,
            job_type="train",
            config=config.as_dict()["config"],
            resume="allow",
            reinit="finish_previous",
        )
        self.run.define_metric("*", step_metric="epoch")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends wandb's run, as failed if an exception is under way."""
        if self.run is not None:
            self._try(lambda: self.run.finish(exit_code=0 if kind is None else 1))

    def log(self, row: dict[str, Any]) -> None:
        """Sends an epoch's metrics."""
        if self.run is not None:
            self._try(lambda: self.run.log(row))

    def finish(self, record: dict[str, Any]) -> None:
        """Sends the errors, or a generator's quality, as the run's summary."""
        if self.run is not None:
            errors = {f"{name}_error": value for name, value in record.get("error", {}).items()}
            summary = errors | (record.get("quality") or {})
            self._try(lambda: self.run.summary.update(summary))

    def _try(self, send: Callable[[], Any]) -> None:
        try:
            send()
        except Exception as error:  # whatever wandb raises, the training is worth more
            print(f"wandb failed ({error}); the run goes on without it", file=sys.stderr)
            self.run = None
