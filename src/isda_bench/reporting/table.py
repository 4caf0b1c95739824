"""The table of an experiment: its cells, what the records say of each, and what the paper does.

A `Table` is a list of `TableRow`s. A row is one cell: runs that differ in the seed alone, so that runs of
different settings never share one; its place are its `Coordinates`. There is a line for every cell that the
experiment plans, also where nothing has run yet, and after those one for every group of records that would
belong there but for named deviations (fewer epochs, a subset, another precision, another network where the
table is not about networks). Renderers (render_tables.py, a report) need nothing but these objects;
`build_tables.experiment_table(name, records, unfinished)` makes them.
"""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from isda_bench.experiments.coordinates import Coordinates
from isda_bench.experiments.published import Published
from isda_bench.reporting.inference import interval, paired_p


@dataclass(frozen=True)
class Paired:
    """A method against its baseline: runs of the same seed.

    Attributes:
        differences: seed -> the method's error less the baseline's, in points; over the common seeds.
        baseline: the baseline's method, as the table prints it.
        family: the baseline's cell. Comparisons with one baseline are a family of tests.
        tests: of the family, how many have a p.
        holm_p: the paired t-test's p, adjusted by Holm's method over the family; None where there is no p.
        welch_p: Welch's two-sided t-test over all runs of both; None below two runs each or without variance.
    """

    differences: dict[int, float]
    baseline: str
    family: str = ""
    tests: int = 0
    holm_p: float | None = None
    welch_p: float | None = None

    @property
    def n(self) -> int:
        """Common seeds."""
        return len(self.differences)

    @property
    def mean(self) -> float:
        """Mean of the differences; below 0 where the method is better."""
        return statistics.fmean(self.differences.values())

    @property
    def std(self) -> float:
        """Their standard deviation (n - 1); NaN for a single one."""
        return std_of(list(self.differences.values()))

    @property
    def p_value(self) -> float | None:
        """Of the paired t-test, two-sided; None for a single difference or without variance."""
        return number_or_none(float(paired_p(list(self.differences.values()))))

    @property
    def interval(self) -> tuple[float, float] | None:
        """95% t interval of the mean, not adjusted for other comparisons; None as for the p."""
        low, high = (float(bound) for bound in interval(list(self.differences.values())))
        return None if math.isnan(low) else (low, high)


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
        also_published: another number of the paper's for it (a curve's last ten epochs).
        paired: against the baseline; None for the baseline itself, or where no seed is common.
        measures: name ('loss', 'ece', 'top5_error') -> seed -> value, over the same epochs as the error.
        cautions: what a reader of the error has to know, in words; they stand in the line's footnote.
        label: how the table prints the method; '' for its name.
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
    also_published: Published | None = None
    paired: Paired | None = None
    measures: dict[str, dict[int, float]] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()
    label: str = ""
    note: str = ""
    runs: dict[int, Path] = field(default_factory=dict)
    generators: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The method, as the table prints it."""
        return self.label or self.at.method

    @property
    def remark(self) -> str:
        """The note, that different generators were used, and what else differs between the runs."""
        count = len(self.generators)
        note_text = f"made with {count} different generators: {', '.join(self.generators)}" if count else ""
        return "; ".join(filter(None, (self.note, note_text, *self.mixed)))

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
        """The deviations and the cautions as one text."""
        return "; ".join((*self.deviations, *self.cautions))

    @property
    def difference(self) -> float:
        """Ours less the published one, in points; NaN where one is missing or a setting deviates."""
        comparable = self.published is not None and not self.deviations
        return self.mean - self.published.mean if self.published and comparable else math.nan


@dataclass(frozen=True)
class Table:
    """The table of an experiment: its lines, their labels, the published values and the notes.

    Attributes:
        name: the experiment's ('comparison', of which comparison_wgan.yaml is a part).
        title: the head of its YAML.
        protocol: which error of a run is taken: 'last_10', 'final' or 'best' (storage.records.PROTOCOLS).
        source: where the published numbers are printed; '' where there are none.
        also_source: where the rows' `also_published` are printed.
        labels: name of a network or data set -> how the table prints it.
        lines: the planned cells in the experiment's order, then the deviating ones.
        notes: sentences that belong under the table (which settings were fixed, which chosen on validation).
    """

    name: str
    title: str
    protocol: str
    source: str
    lines: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()
    also_source: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def footnotes(self) -> dict[str, str]:
        """Mark ('a', 'b', ...) -> deviations and cautions of the lines that carry it."""
        return {mark: text for text, mark in self._marks.items()}

    def mark(self, line: TableRow) -> str:
        """The mark of the line's footnote; '' where it has none."""
        return self._marks.get(line.footnote, "")

    @cached_property
    def _marks(self) -> dict[str, str]:
        return marks_of(line.footnote for line in self.lines)

    def label(self, name: str) -> str:
        """The label of a network or a data set in the table."""
        return self.labels.get(name, name)

    @property
    def method_labels(self) -> dict[str, str]:
        """Cell -> how the table prints its method, where the experiment says so."""
        return {line.cell: line.label for line in self.lines if line.label}

    @property
    def split(self) -> str:
        """The images on which the errors are measured: 'test' or 'validation'."""
        return self.lines[0].at.split

    @property
    def wanted(self) -> int:
        """Runs that the experiment plans."""
        return sum(len(line.seeds) for line in self.lines)

    @property
    def finished(self) -> int:
        """Finished runs of those planned; seeds beyond the plan do not count."""
        return self.wanted - sum(len(line.missing) for line in self.lines)

    @property
    def without_deviations(self) -> "Table":
        """The experiment's own lines; a note counts the runs that deviate from it."""
        count = sum(line.n for line in self.lines if not line.planned)
        several = f"{count} more runs deviate" if count != 1 else "1 more run deviates"
        note_text = f"{several} from this experiment; deviations=true adds a line for each cell below it."
        own = tuple(line for line in self.lines if line.planned)
        return replace(self, lines=own, notes=(*self.notes, note_text) if count else self.notes)

    @property
    def has_runs(self) -> bool:
        """Whether anything of it has finished."""
        return any(line.errors for line in self.lines)


def marks_of(texts: Iterable[str]) -> dict[str, str]:
    """Footnote -> its mark ('a', 'b', ...), in their order; '' has none."""
    return {text: _mark(i) for i, text in enumerate(dict.fromkeys(filter(None, texts)))}


def _mark(index: int) -> str:
    """'a' to 'z', 'aa', 'ab', ..."""
    head, last = divmod(index, 26)
    return (_mark(head - 1) if head else "") + chr(ord("a") + last)


def std_of(values: list[float]) -> float:
    """Standard deviation (n - 1); NaN below two values."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def number_or_none(value: float) -> float | None:
    """None for NaN."""
    return None if math.isnan(value) else value
