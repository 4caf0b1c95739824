"""Loggers that write into the run's own directory."""

import csv
import importlib.util
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from isda_bench.config.run_config import RunConfig
from isda_bench.monitoring.loggers import Logger, summary_of
from isda_bench.runtime.atomic_files import write_atomically

if TYPE_CHECKING:
    import numpy as np


class CsvLogger(Logger):
    """Writes <run>/metrics.csv: a line an epoch, a column a metric, empty where an epoch lacks one."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.path = Path()

    def open(self, config: RunConfig) -> Self:
        """Opens the file in the run's directory, which exists by then."""
        self.path = config.directory / "metrics.csv"
        return self

    def resume(self, rows: Sequence[dict[str, Any]]) -> None:
        """Writes the earlier epochs."""
        self.rows = list(rows)

    def log(self, row: dict[str, Any]) -> None:
        """Writes the file anew: an epoch can bring a column that those before it lack.

        Raises:
            UserError: it cannot be written.
        """
        self.rows.append(dict(row))
        text = io.StringIO()
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.path, text.getvalue().encode())


class TensorBoardLogger(Logger):
    """Writes <run>/tensorboard: curves over the epochs, a picture of samples and the results.

    Raises:
        ValueError: the package tensorboard is not installed.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise ValueError("tensorboard: not installed; pip install 'isda_bench[tensorboard]' brings it")
        self.folder = Path()
        self.writer: Any = None
        self.pixels: np.ndarray | None = None
        self.epoch = 0

    def open(self, config: RunConfig) -> Self:
        """Begins with the run's directory."""
        self.folder = config.directory / "tensorboard"
        return self

    def show(self, picture: Callable[[], "np.ndarray"]) -> None:
        """Keeps the picture until it is known whether the run is a new one."""
        self.pixels = picture()  # now: it draws from the run's loader, which is then put back

    def resume(self, rows: Sequence[dict[str, Any]]) -> None:
        """Begins to write; TensorBoard ignores entries of a stopped process after the last of `rows`."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.folder), purge_step=len(rows) + 1)
        if self.pixels is not None and not rows:
            self.writer.add_image("samples", self.pixels, 1, dataformats="HWC")

    def log(self, row: dict[str, Any]) -> None:
        """Writes an epoch's metrics that are one number each."""
        self.epoch = row["epoch"]
        for name, value in row.items():
            if name != "epoch" and not isinstance(value, list):
                self.writer.add_scalar(name, value, self.epoch)
        self.writer.flush()

    def finish(self, record: dict[str, Any]) -> None:
        """Writes the results as points of the last epoch."""
        for name, value in summary_of(record).items():
            if isinstance(value, int | float):
                self.writer.add_scalar(f"results/{name}", value, self.epoch)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        if self.writer is not None:
            self.writer.close()
