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

    def place(self, methods: Methods) -> str:
        """All settings but the methods'."""
        return all_but(self.settings, methods.settings)

    def baseline_place(self, methods: Methods) -> str:
        """`place` of its baseline: for cross-entropy with dropout that of the network's own rate."""
        if methods.baselines or not self.is_plain:
            return self.place(methods)
        own = own_dropout(self.names["model"])
        model = self.settings["model"] | {"dropout": int(own) if own.is_integer() else own}
        return all_but(self.settings | {"model": model}, methods.settings)

    def is_baseline(self, methods: Methods) -> bool:
        """Whether others are compared with it: the table's baseline, else plain cross-entropy."""
        return methods.is_baseline(self.line.at) if methods.baselines else self.is_plain


def with_baselines(entries: Sequence[Entry], methods: Methods) -> list[TableRow]:
    """The lines with their comparisons, each p adjusted over all methods against the same baseline."""
    baselines = {entry.place(methods): entry.line for entry in entries if entry.is_baseline(methods)}
    lines = [_compared(entry, baselines.get(entry.baseline_place(methods))) for entry in entries]
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
