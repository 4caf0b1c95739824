"""The finished runs of each cell."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from isda_bench.reporting.mixing import has_generator_of_other_data, mixed_conditions, refuse_other_data


@dataclass
class Group:
    """The finished runs of one cell.

    Attributes:
        record: one of them.
        errors: seed -> error in percent.
        runs: seed -> directory.
        generators: SHA-256 -> run of those whose images the runs used.
        records: of all of them.
        of_other_data: number of runs whose generator was trained on other data than the run.
    """

    record: dict[str, Any]
    errors: dict[int, float] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    runs: dict[int, Path] = field(default_factory=dict)
    generators: dict[str, str] = field(default_factory=dict)
    of_other_data: int = 0

    @property
    def conditions(self) -> tuple[str, ...]:
        """The footnote about the runs: conditions in which they differ, and generators of other data."""
        if not self.of_other_data:
            return mixed_conditions(self.records)
        count = f"{self.of_other_data} of {len(self.records)} runs"
        return (*mixed_conditions(self.records), f"{count} used generators that were trained on other data")

    @property
    def mixed(self) -> tuple[str, ...]:
        """The generators' runs where there are several: generator.run=null takes the newest of its day."""
        return tuple(sorted(self.generators.values())) if len(self.generators) > 1 else ()


def grouped(records: pd.DataFrame, protocol: str) -> dict[str, Group]:
    """The runs of each cell, by its id.

    Raises:
        UserError: runs of one cell were trained on different data.
    """
    groups: dict[str, Group] = {}
    columns = (records[name] for name in ("cell", "seed", protocol, "path", "record"))
    for cell, seed, error, path, record in zip(*columns, strict=True):
        group = groups.setdefault(cell, Group(record))
        group.errors[seed] = error
        group.runs[seed] = path
        group.records.append(record)
        generator = record.get("generator")
        if generator:
            group.generators[generator["sha256"]] = generator["run"]
            group.of_other_data += has_generator_of_other_data(record, path)
    for cell, group in groups.items():
        refuse_other_data(f"cell {cell}", group.records)
    return groups
