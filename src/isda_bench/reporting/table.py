"""The table of an experiment: its cells, what the records say of each, and what the paper does.

A `Table` is a list of `TableRow`s. A row is one cell: runs that differ in the seed alone, so that runs of
different settings never share one; its place are its `Coordinates`. There is a line for every cell that the
experiment plans, also where nothing has run yet, and after those one for every group of records that would
belong there but for named deviations (fewer epochs, a subset, another precision, another network where the
table is not about networks). Renderers (tables.py, a report) need nothing but these objects;
`aggregate.experiment_table(name, records, unfinished)` makes them and `experiments.table_names()` lists them.
"""

import math
import statistics
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from isda_bench.experiments.coordinates import Coordinates
from isda_bench.experiments.published import Published


@dataclass(frozen=True)
class Paired:
    """ISDA against its baseline, runs that differ in the loss alone.

    Attributes:
        differences: seed -> ISDA's error less the baseline's, in points; over the common seeds.
        p_value: Welch's two-sided t-test over all runs of both; None below two runs each or without spread.
    """

    differences: dict[int, float]
    p_value: float | None

    @property
    def mean(self) -> float:
        """Mean of the differences; below 0 where ISDA is better."""
        return statistics.fmean(self.differences.values())

    @property
    def std(self) -> float:
        """Their standard deviation (n - 1); NaN for a single one."""
        return std_of(list(self.differences.values()))


@dataclass(frozen=True)
class TableRow:
    """One cell of a table.

    Attributes:
        cell: the cell's id, as in the records.
        at: its place.
        planned: whether it is the experiment's own cell (True), or records that deviate from one.
        seeds: those that the experiment asks for; empty where not planned.
        errors: seed -> error in percent of the finished runs, by the table's protocol.
        unfinished: seeds of runs that have begun and are not finished.
        deviations: what differs from the experiment, in words; together they are the line's footnote.
        published: the paper's number for this cell.
        paired: against the baseline; None for what is not ISDA, or where no seed is common.
        note: a word on the line ('chosen on validation'), or ''.
        runs: directories of the finished runs, by seed.
        generators: runs of the generators, where the line's runs used images of different ones.
        mixed: conditions in which the line's runs differ (device types, torch versions, ...), in words.
    """

    cell: str
    at: Coordinates
    planned: bool
    seeds: tuple[int, ...] = ()
    errors: dict[int, float] = field(default_factory=dict)
    unfinished: tuple[int, ...] = ()
    deviations: tuple[str, ...] = ()
    published: Published | None = None
    paired: Paired | None = None
    note: str = ""
    runs: dict[int, Path] = field(default_factory=dict)
    generators: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """The note, that different generators were used, and what else differs between the runs."""
        count = len(self.generators)
        told = f"made with {count} different generators: {', '.join(self.generators)}" if count else ""
        return "; ".join(filter(None, (self.note, told, *self.mixed)))

    @property
    def n(self) -> int:
        """Finished runs."""
        return len(self.errors)

    @property
    def mean(self) -> float:
        """Mean error; NaN without a finished run."""
        return statistics.fmean(self.errors.values()) if self.errors else math.nan

    @property
    def std(self) -> float:
        """Standard deviation over seeds (n - 1); NaN below two runs."""
        return std_of(list(self.errors.values()))

    @property
    def missing(self) -> tuple[int, ...]:
        """Seeds that the experiment asks for and that have not finished."""
        return tuple(seed for seed in self.seeds if seed not in self.errors)

    @property
    def footnote(self) -> str:
        """The deviations as one text."""
        return "; ".join(self.deviations)

    @property
    def difference(self) -> float:
        """Ours less the published one, in points; NaN where one is not there."""
        return self.mean - self.published.mean if self.published else math.nan


@dataclass(frozen=True)
class Table:
    """What is known of an experiment.

    Attributes:
        name: the experiment's ('comparison', of which comparison_wgan.yaml is a part).
        title: the head of its YAML.
        protocol: which error of a run is taken: 'last_10', 'final' or 'best' (results.PROTOCOLS).
        source: where the published numbers are printed; '' where there are none.
        lines: the planned cells in the experiment's order, then the deviating ones.
        notes: sentences that belong under the table (which settings were fixed, which chosen on validation).
    """

    name: str
    title: str
    protocol: str
    source: str
    lines: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def footnotes(self) -> dict[str, str]:
        """Mark ('a', 'b', ...) -> deviations of the lines that carry it."""
        return {mark: text for text, mark in self._marks.items()}

    def mark(self, line: TableRow) -> str:
        """The mark of the line's footnote; '' where it has none."""
        return self._marks.get(line.footnote, "")

    @cached_property
    def _marks(self) -> dict[str, str]:
        texts = dict.fromkeys(line.footnote for line in self.lines if line.deviations)
        return {text: _mark(i) for i, text in enumerate(texts)}

    @property
    def split(self) -> str:
        """What the errors are measured on: 'test' or 'validation'."""
        return self.lines[0].at.split

    @property
    def without_deviations(self) -> "Table":
        """The experiment's own lines; a note counts the runs that deviate from it."""
        count = sum(line.n for line in self.lines if not line.planned)
        told = f"{count} more runs deviate from this experiment; deviations=true shows them below it."
        own = tuple(line for line in self.lines if line.planned)
        return replace(self, lines=own, notes=(*self.notes, told) if count else self.notes)

    @property
    def has_runs(self) -> bool:
        """Whether anything of it has finished."""
        return any(line.errors for line in self.lines)


def _mark(index: int) -> str:
    """'a' to 'z', 'aa', 'ab', ..."""
    head, last = divmod(index, 26)
    return (_mark(head - 1) if head else "") + chr(ord("a") + last)


def std_of(values: list[float]) -> float:
    """Standard deviation (n - 1); NaN below two values."""
    return statistics.stdev(values) if len(values) > 1 else math.nan
