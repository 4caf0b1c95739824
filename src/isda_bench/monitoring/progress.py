"""Shows the progress of a run: two lines on a terminal, a line every 30 seconds elsewhere."""

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from isda_bench.monitoring.grid_position import GridPosition
from isda_bench.runtime.ranks import processes

SECONDS_BETWEEN_LINES = 30.0
SECONDS_OF_A_RATE = 0.5
"""Seconds of an epoch before which its images a second are not reliable."""
LEAST_BAR, MOST_BAR = 8, 40
"""Columns of the bar; less important parts are dropped to make room for it."""
GAP = 2
"""Columns between the parts of a line."""
Batch_co = TypeVar("Batch_co", covariant=True)
Batch = TypeVar("Batch")


class Batches(Sized, Iterable[Batch_co], Protocol[Batch_co]):
    """Batches whose number is known."""


class Display:
    """Used as a context manager around a run.

    Args:
        title: the run's name.
        epochs: of the whole run.
        steps: of an epoch.
        position: the run's place in a grid; null: it is not part of a grid.
        clock: gives the time, in seconds.
    """

    def __init__(
        self,
        title: str,
        epochs: int,
        steps: int,
        position: GridPosition | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title = title
        self.epochs = epochs
        self.steps = steps
        self.position = position
        self.clock = clock
        self.row: dict[str, Any] = {}
        self.shown: list[str] = []
        self.evaluated: tuple[int, int] | None = None
        self.begin(0)
        self.console = Console(stderr=True)
        alone = multiprocessing.current_process().name == "MainProcess"  # joblib's workers share a terminal
        self.terminal = alone and sys.stderr.isatty() and not self.console.is_dumb_terminal
        self.live = Live(self, console=self.console, transient=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        if self.terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.terminal:
            self.live.stop()
        times = self._times()
        if kind is None and times and self.position and self.position.durations is not None:
            self.position.durations.append(times[0])

    def begin(self, epochs_before: int, steps_before: int = 0) -> None:
        """The training begins, after so many epochs and steps that an earlier process trained."""
        self.done = self.before = epochs_before * self.steps + steps_before
        self.images = 0
        self.start = self.last_line = self.last_step = self.epoch_start = self.clock()

    def step(self, images: int = 0) -> None:
        """A training step is done.

        Args:
            images: of this process in its batch; 0: not known, then the rate comes with the epoch.
        """
        self.done += 1
        self.images += images
        self.last_step = self.clock()
        self._print_if_due()

    def evaluation(self, batches: Batches[Batch]) -> Iterator[Batch]:
        """The batches of an evaluation, each counted once it is evaluated."""
        for i, batch in enumerate(batches):
            self.evaluated = i, len(batches)
            yield batch
            self._print_if_due()
        self.evaluated = None

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done, with these metrics."""
        self.row = row
        self.shown = self.status(row) or self.shown
        self.evaluated = None
        self.done = row["epoch"] * self.steps
        self.images, self.epoch_start = 0, self.clock()
        self._print_if_due(at_once=row["epoch"] == self.epochs)

    def status(self, row: dict[str, Any]) -> list[str]:
        """An epoch's error in short parts; empty where it was not evaluated."""
        names = [name for name in row if name in ("test_error", "validation_error")]
        return [f"{name.removesuffix('_error')} error {row[name]:.2f}%" for name in names]

    def place(self) -> str:
        """The epoch that is trained or evaluated."""
        if self.evaluated:
            batch, batches = self.evaluated
            return f"epoch {self._epoch(self.done - 1)}/{self.epochs}, evaluating {100 * batch // batches}%"
        return f"epoch {self._epoch(self.done)}/{self.epochs}"

    def _epoch(self, step: int) -> int:
        """The epoch of a step, counted from 0 over the whole run."""
        return min(max(step, 0) // self.steps + 1, self.epochs)

    def _rate(self) -> str | None:
        """Images a second: within an epoch so far, else of the newest epoch."""
        rate = self.row.get("images_per_second")
        seconds = self.last_step - self.epoch_start
        if self.images and seconds > SECONDS_OF_A_RATE:
            rate = self.images * processes() / seconds
        return None if rate is None else f"{rate:,.0f} images/s"

    def _times(self) -> tuple[float, float] | None:
        """Seconds of the whole run and those left, from the steps of this process; None before the first."""
        done = self.done - self.before
        if not done:
            return None
        each = (self.clock() - self.start) / done
        return each * self.epochs * self.steps, each * (self.epochs * self.steps - self.done)

    def _left(self) -> tuple[str | None, str | None]:
        """The run's time left, and the grid's."""
        times = self._times()
        if times is None:
            return None, None
        grid = self.position.seconds_left(*times) if self.position else None
        return f"{_clock_time(times[1])} left", None if grid is None else f"grid {_clock_time(grid)} left"

    def _heading(self) -> str:
        return f"{self.position} {self.title}" if self.position else self.title

    def _print_if_due(self, at_once: bool = False) -> None:
        """Prints a line where there is no terminal, if it is time to."""
        if self.terminal or not (at_once or self.clock() - self.last_line >= SECONDS_BETWEEN_LINES):
            return
        self.last_line = self.clock()
        step = (
            ""
            if self.evaluated or not self.done % self.steps
            else f", step {self.done % self.steps}/{self.steps}"
        )
        loss = [f"loss {self.row['train_loss']:.4f}"] if "train_loss" in self.row else []
        times = filter(None, (self._rate(), *self._left()))
        parts = [self._heading(), self.place() + step, *loss, *self.shown, *times]
        print("  ".join(parts), file=sys.stderr, flush=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Two lines: name and grid; bar, epoch, error, images/s, time left."""
        width = options.max_width
        left, grid_left = self._left()
        yield _heading_line(self._heading(), grid_left or "", width)
        # Where the line is too short for all, the last parts are dropped first.
        by_importance = [self.place(), left, *self.shown, self._rate()]
        wanted = [part for part in by_importance if part]
        while len(wanted) > 1 and _width(wanted) + GAP + LEAST_BAR > width:
            wanted.pop()
        order = [self.place(), *self.shown, self._rate(), left]
        yield self._bar_line([part for part in order if part in wanted], width)

    def _bar_line(self, parts: list[str], width: int) -> Table:
        line = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
        room = width - _width(parts) - GAP
        cells: list[Any] = [Text(part, no_wrap=True, overflow="ellipsis") for part in parts]
        if room >= LEAST_BAR:
            cells.insert(0, ProgressBar(self.epochs * self.steps, self.done, width=min(room, MOST_BAR)))
        line.add_row(*cells)
        return line


def _heading_line(name: str, right: str, width: int) -> Text:
    """The name, cut if need be, and `right` at the line's end where there is room for both."""
    room = width - cell_len(right) - GAP
    line = Text(name, no_wrap=True, overflow="ellipsis")
    if right and room >= cell_len(name):
        line.append(" " * (width - cell_len(name) - cell_len(right)) + right)
    line.truncate(width, overflow="ellipsis")
    return line


def _width(parts: list[str]) -> int:
    return sum(map(cell_len, parts)) + GAP * (len(parts) - 1)


def _clock_time(seconds: float) -> str:
    """`h:mm:ss`."""
    whole = int(max(seconds, 0))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
