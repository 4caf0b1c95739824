"""The loggers of a configuration, one or several."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from isda_bench.config.building import ANY_MODULE, build
from isda_bench.config.run_config import RunConfig
from isda_bench.config.several_choices import sections
from isda_bench.monitoring.loggers import Logger

if TYPE_CHECKING:
    import numpy as np


class Loggers(Logger):
    """Several loggers at once. One that fails is reported and skipped from then on: the run continues.

    Args:
        loggers: name -> `Logger`.
    """

    def __init__(self, loggers: Mapping[str, Any]) -> None:
        self.loggers: dict[str, Logger] = dict(loggers)

    def open(self, config: RunConfig) -> Self:
        """Opens each."""
        self._each(lambda logger: logger.open(config))
        return self

    def __enter__(self) -> Self:
        self._each(lambda logger: logger.__enter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the logging of each."""
        self._each(lambda logger: logger.__exit__(kind, error, trace))

    def resume(self, rows: Sequence[dict[str, Any]]) -> None:
        """Passes the earlier epochs to each."""
        self._each(lambda logger: logger.resume(rows))

    def log(self, row: dict[str, Any]) -> None:
        """Passes an epoch's metrics to each."""
        self._each(lambda logger: logger.log(row))

    def show(self, picture: Callable[[], "np.ndarray"]) -> None:
        """Passes the picture to each; it is made at most once."""
        once = cache(picture)
        self._each(lambda logger: logger.show(once))

    def finish(self, record: dict[str, Any]) -> None:
        """Passes the record to each."""
        self._each(lambda logger: logger.finish(record))

    def _each(self, call: Callable[[Logger], object]) -> None:
        for name, logger in list(self.loggers.items()):
            try:
                call(logger)
            except Exception as error:  # a logger must not end the training
                del self.loggers[name]
                print(f"{name} failed ({error}); the run continues without it", file=sys.stderr, flush=True)


def build_loggers(node: dict[str, Any]) -> Loggers:
    """The loggers of the configuration's section, one or several; a failing logger never stops a run.

    Args:
        node: the section `logger` of the user's own command line and conf/, never of a stored file.
    """
    return Loggers(
        {
            section.rpartition(".")[2]: build(part, object, ANY_MODULE)
            for section, part in sections(node).items()
        }
    )
