"""Each method against its baseline: the cell that differs in the method alone."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isda_bench.config.run_config import flat
from isda_bench.experiments.coordinates import own_dropout
from isda_bench.experiments.methods import Methods
from isda_bench.reporting.inference import holm, welch_p
from isda_bench.reporting.table import Paired, TableRow, number_or_none

BASELINE = "cross_entropy"


@dataclass(frozen=True)
class Entry:
    """A line of a table and the settings that find its baseline.

    Attributes:
        line: without the comparison.
        names: chosen name of each group.
        settings: identity of its runs.
    """

    line: TableRow
    names: dict[str, str]
    settings: dict[str, Any]

    @property
    def is_plain(self) -> bool:
        """Whether it is cross-entropy on real images alone, with dropout or without."""
        return self.names["loss"] == BASELINE and self.names.get("generator", "none") == "none"

    def place(self, left_out: tuple[str, ...]) -> str:
        """All settings but these."""
        return all_but(self.settings, left_out)

    def baseline_place(self, methods: Methods, left_out: tuple[str, ...]) -> str:
        """`place` of its baseline: for cross-entropy with dropout that of the network's own rate."""
        if methods.baselines or not self.is_plain:
            return self.place(left_out)
        own = own_dropout(self.names["model"])
        model = self.settings["model"] | {"dropout": int(own) if own.is_integer() else own}
        return all_but(self.settings | {"model": model}, left_out)

    def is_baseline(self, methods: Methods) -> bool:
        """Whether others are compared with it: the table's baseline, else plain cross-entropy."""
        return methods.is_baseline(self.line.at) if methods.baselines else self.is_plain


def with_baselines(entries: Sequence[Entry], methods: Methods) -> list[TableRow]:
    """The lines with their comparisons."""
    baselines = [entry for entry in entries if entry.is_baseline(methods)]
    found = _baseline_of_each(entries, baselines, methods, methods.settings)
    if methods.section.also_differ:  # the plan's own pairs before runs that deviate from it
        planned, others = ([entry for entry in group if entry.line.planned] for group in (entries, baselines))
        for settings in (methods.planned_settings, methods.settings):
            found |= _baseline_of_each(planned, others, methods, settings)
    return with_holm([_compared(entry, found.get(entry.line.cell)) for entry in entries])


def with_planned_seeds(lines: Sequence[TableRow]) -> list[TableRow]:
    """The planned lines and their comparisons without the seeds that other experiments added."""
    return with_holm([_without_other_seeds(line) for line in lines if line.planned])


def with_holm(lines: list[TableRow]) -> list[TableRow]:
    """The lines, each p adjusted over all methods against the same baseline."""
    families: dict[str, list[int]] = defaultdict(list)
    for index, line in enumerate(lines):
        if line.paired is not None and line.paired.p_value is not None:
            families[line.paired.family].append(index)
    for members in families.values():
        pairs = [pair for index in members if (pair := lines[index].paired) is not None]
        adjusted = holm(np.array([pair.p_value for pair in pairs], float))
        for index, pair, p in zip(members, pairs, adjusted, strict=True):
            lines[index] = replace(
                lines[index], paired=replace(pair, tests=len(members), holm_p=number_or_none(float(p)))
            )
    return lines


def _without_other_seeds(line: TableRow) -> TableRow:
    errors = {seed: line.errors[seed] for seed in line.errors if seed in line.seeds}
    if line.paired is None:
        return replace(line, errors=errors)
    differences = {seed: d for seed, d in line.paired.differences.items() if seed in line.seeds}
    paired = replace(line.paired, differences=differences, holm_p=None) if differences else None
    return replace(line, errors=errors, paired=paired)


def _baseline_of_each(
    entries: Sequence[Entry], baselines: Sequence[Entry], methods: Methods, left_out: tuple[str, ...]
) -> dict[str, TableRow]:
    """Cell -> the line of its baseline, the one with the same settings but those left out."""
    places: dict[str, list[TableRow]] = defaultdict(list)
    for entry in baselines:
        places[entry.place(left_out)].append(entry.line)
    wanted = {entry.line.cell: entry.baseline_place(methods, left_out) for entry in entries}
    return {cell: places[place][0] for cell, place in wanted.items() if len(places[place]) == 1}


def _compared(entry: Entry, baseline: TableRow | None) -> TableRow:
    if baseline is None or baseline is entry.line:
        return entry.line
    ours, theirs = entry.line.errors, baseline.errors
    differences = {seed: ours[seed] - theirs[seed] for seed in ours if seed in theirs}
    if not differences:
        return entry.line
    welch = number_or_none(float(welch_p(list(ours.values()), list(theirs.values()))))
    paired = Paired(differences, baseline.method, baseline.cell, welch_p=welch)
    return replace(entry.line, paired=paired)


def all_but(settings: dict[str, Any], left_out: tuple[str, ...]) -> str:
    """The settings as text, without these dotted keys and sections."""
    rest = {
        key: value
        for key, value in flat(settings).items()
        if not any(f"{key}.".startswith(f"{prefix}.") for prefix in left_out)
    }
    return json.dumps(rest, sort_keys=True)
