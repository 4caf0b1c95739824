"""Shows the progress of a run: a bar on a terminal, a line from time to time elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0


class Display:
    """Used as a context manager around a run.

    Args:
        title: the run's name.
        epochs: of the whole run.
        steps: of an epoch.
    """

    def __init__(self, title: str, epochs: int, steps: int) -> None:
        self.title = title
        self.epochs = epochs
        self.steps = steps
        self.epochs_before = 0
        self.start = time.monotonic()
        self.last_line = 0.0
        self.terminal = sys.stderr.isatty()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = self.bar.add_task(title, total=epochs * steps, status="")

    def __enter__(self) -> Self:
        if self.terminal:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.terminal:
            self.bar.stop()

    def begin(self, epochs_before: int, steps_before: int = 0) -> None:
        """The training begins, after so many epochs and steps that an earlier process trained."""
        self.epochs_before = epochs_before
        self.start = time.monotonic()
        self.bar.reset(self.task, completed=epochs_before * self.steps + steps_before)

    def step(self) -> None:
        """A training step is done."""
        if self.terminal:
            self.bar.advance(self.task)

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done, with these metrics."""
        status = self.status(row)
        if self.terminal:
            self.bar.update(self.task, completed=row["epoch"] * self.steps, status=status)
        elif time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES or row["epoch"] == self.epochs:
            self.last_line = time.monotonic()
            print(
                f"{self.title}  {status}  {self._time_left(row['epoch'])} left", file=sys.stderr, flush=True
            )

    def status(self, row: dict[str, Any]) -> str:
        """An epoch's metrics in a line."""
        errors = "  ".join(
            f"{name.removesuffix('_error')} error {value:.2f}%"
            for name, value in row.items()
            if name.endswith("_error")
        )
        return (
            f"epoch {row['epoch']}/{self.epochs}  loss {row['train_loss']:.4f}  {errors}  "
            f"{row['images_per_second']:,.0f} images/s"
        )

    def _time_left(self, epoch: int) -> str:
        done = epoch - self.epochs_before
        seconds = int((time.monotonic() - self.start) / done * (self.epochs - epoch))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
