"""The progress of a grid: each job's place."""

import math
from collections.abc import Iterator, Mapping

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode

from isda_bench.config.compose import hydra_context
from isda_bench.config.grids import grid_lines
from isda_bench.config.override_text import lines_of, parse
from isda_bench.config.run_config import RunConfig
from isda_bench.monitoring.grid_position import GridPosition


class GridJobs:
    """The jobs of one command. A launcher can copy them to other processes.

    Args:
        lines: `key=value` arguments of each command line that the command stands for: one for each part of a
            table.
        kind: of the configured runs.
    """

    def __init__(self, lines: list[list[str]], kind: type[RunConfig] = RunConfig) -> None:
        self.lines = lines
        self.line = 0
        self.durations: list[float] = []
        self.sizes: list[int] = []
        if len(lines) > 1:
            self.sizes = [math.prod(map(len, grid_lines(line).values())) for line in lines]
            return
        with hydra_context(kind):
            self.counts = _counts(parse(lines[0])[0])

    def each_line(self) -> Iterator[list[str]]:
        """The command lines in turn; `position` is then about jobs of the newest."""
        for i, overrides in enumerate(self.lines):
            self.line = i
            yield overrides

    def position(self) -> GridPosition | None:
        """The place of Hydra's present job; None outside a grid and in a grid of one job."""
        config = HydraConfig.get()
        if config.mode != RunMode.MULTIRUN:
            return None
        total = sum(self.sizes) or self._size(config.sweeper.get("params") or {})
        one_after_another = config.runtime.choices["hydra/launcher"] == "basic"
        durations = self.durations if one_after_another else None
        number = sum(self.sizes[: self.line]) + config.job.num + 1
        return GridPosition(number, total, durations) if total > 1 else None

    def _size(self, params: Mapping[str, object]) -> int:
        """Jobs of the only line, of which an experiment varies `params`."""
        varied = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
        return math.prod((_counts(varied) | self.counts).values())


def _counts(overrides: list[Override]) -> dict[str, int]:
    """Key -> how many values it is given."""
    return {override.key_or_group: len(lines_of(override)) for override in overrides}
