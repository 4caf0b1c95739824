"""The contract of loggers: what a run hands to them."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from isda_bench.config.run_config import RunConfig

if TYPE_CHECKING:
    import numpy as np


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


def summary_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record's results: the errors, mean of the last 10 epochs, last and best, or a generator's quality."""
    errors = {f"{name}_error": value for name, value in record.get("error", {}).items()}
    return errors | (record.get("quality") or {})
