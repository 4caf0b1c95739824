"""Records into an experiment's table."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from isda_bench.config.experiment_files import parts, table_of, title
from isda_bench.config.run_config import identity
from isda_bench.experiments.coordinates import coordinates
from isda_bench.experiments.deviations import Matcher
from isda_bench.experiments.methods import Methods
from isda_bench.experiments.planned import PlannedCell, planned
from isda_bench.experiments.published import also_published, also_source, has_fixed_networks
from isda_bench.experiments.published_values import PublishedValues
from isda_bench.experiments.selection import (
    CHOSEN,
    HyperparameterSelection,
    hyperparameter_selections,
    with_settings,
)
from isda_bench.reporting.cautions import cautions
from isda_bench.reporting.groups import Group, grouped
from isda_bench.reporting.measures import measures
from isda_bench.reporting.mixing import refuse_other_data
from isda_bench.reporting.pairing import BASELINE, Entry, with_baselines
from isda_bench.reporting.table import Table, TableRow
from isda_bench.storage.records import UnfinishedRun

RANKS = {BASELINE: 0, "isda": 2}
"""Of the losses in a table; any other is 1."""
LONG = 20
"""Epochs from which on the mean of the last ten leads: they are at most the second half of the training."""


def experiment_table(
    experiment: str,
    records: pd.DataFrame,
    unfinished: Iterable[UnfinishedRun] = (),
    protocol: str | None = None,
) -> Table:
    """The table of an experiment and its parts, from the records.

    Args:
        experiment: its name.
        records: as read_records gives them; those of other experiments do no harm.
        unfinished: as unfinished_runs gives them.
        protocol: which error of a run counts; null: that of `usual_protocol`.

    Raises:
        ConfigError: there is no such experiment, it does not compose, or its section `table` or its published
            values are wrong.
        UserError: runs of one data set's name were trained on different data.
    """
    own = _distinct([cell for part in parts(experiment) for cell in planned(part)])
    protocol = protocol or usual_protocol(own)
    groups = grouped(records, protocol)
    begun: dict[str, set[int]] = defaultdict(set)
    for run in unfinished:
        begun[run.cell].add(run.seed)
    errors = {cell: group.errors for cell, group in groups.items()}
    selections = hyperparameter_selections(errors, own)
    builder = _Builder(table_of(experiment), _with_choices(own, selections), groups, protocol)
    entries = builder.planned(begun) + builder.deviating()
    lines = tuple(with_baselines(entries, builder.methods))
    _refuse_other_data(experiment, lines, groups)
    labels = builder.methods.section.networks | builder.methods.section.datasets
    return Table(
        name=experiment,
        title=title(experiment),
        protocol=protocol,
        source=builder.published.source,
        lines=lines,
        notes=(*_declared_differences(builder.methods.section.also_differ), *_notes(own, selections, labels)),
        also_source=also_source(builder.table),
        labels=labels,
    )


def usual_protocol(plan: Iterable[PlannedCell]) -> str:
    """'final' where no run is long enough for a mean of the last epochs, else the paper's 'last_10'."""
    epochs = max((cell.config.config["schedule"]["epochs"] for cell in plan), default=LONG)
    return "final" if epochs < LONG else "last_10"


def _refuse_other_data(experiment: str, lines: tuple[TableRow, ...], groups: dict[str, Group]) -> None:
    """Makes sure that the lines of one data set are of the same data, so that differences mean something."""
    of_data_set: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        if line.cell in groups:
            of_data_set[line.at.dataset] += groups[line.cell].records
    for name, records in of_data_set.items():
        refuse_other_data(f"experiment={experiment}, {name}", records)


def _distinct(cells: list[PlannedCell]) -> list[PlannedCell]:
    return list({cell.config.cell: cell for cell in reversed(cells)}.values())[::-1]


def _with_choices(plan: list[PlannedCell], selections: list[HyperparameterSelection]) -> list[PlannedCell]:
    """The plan; behind a cell for which the held-out images chose other settings, the cell with those."""
    cells = []
    for cell in plan:
        decided = [selection for selection in selections if selection.winner and selection.is_about(cell)]
        cells.append(cell)
        for selection in decided:
            if selection.values(cell.config) == selection.chosen:
                cells[-1] = replace(cell, note=CHOSEN)
            else:
                cells[-1] = replace(cell, note="fixed; validation chose other settings")
                cells.append(with_settings(cell, selection.chosen, CHOSEN))
    return _distinct(cells)


class _Builder:
    """Makes the lines of a table.

    Args:
        table: its experiment.
        plan: the experiment's cells.
        groups: the finished runs by cell.
        protocol: which error of a run counts.
    """

    def __init__(self, table: str, plan: list[PlannedCell], groups: dict[str, Group], protocol: str) -> None:
        self.table, self.plan, self.groups, self.protocol = table, plan, groups, protocol
        self.methods = Methods(table, plan)
        self.published = PublishedValues(table, plan, self.methods)

    def planned(self, begun: dict[str, set[int]]) -> list[Entry]:
        """A line for each cell of the plan.

        Args:
            begun: cell -> seeds of the runs that have begun and are not finished.
        """
        entries = []
        for cell in self.plan:
            config = cell.config
            group = self.groups.get(config.cell) or Group({})
            unfinished = tuple(sorted(begun[config.cell] - set(group.errors)))
            line = TableRow(
                config.cell, cell.at, planned=True, seeds=cell.seeds, unfinished=unfinished, note=cell.note
            )
            line = self._filled(line, group, config.config["schedule"])
            entries.append(Entry(line, config.names, identity(config.config)))
        return self._in_reading_order(entries)

    def deviating(self) -> list[Entry]:
        """Records beside the plan: those of one network and subset together, methods in the plan's order."""
        matcher = Matcher(self.plan, has_fixed_networks(self.table))
        own = {cell.config.cell for cell in self.plan}
        found = []
        for cell, group in self.groups.items():
            if cell in own:
                continue
            record = group.record
            at = coordinates(record["names"], record["config"])
            match = matcher.match(at, record)
            if match is None:
                continue
            line = TableRow(cell, at, planned=False, deviations=match.deviations)
            comparable = self.plan[match.place].at == at
            line = self._filled(line, group, record["config"]["schedule"], comparable)
            entry = Entry(line, record["names"], record["identity"])
            found.append((match.deviations, match.place, entry))
        return self._in_reading_order([entry for _, _, entry in sorted(found, key=lambda item: item[:2])])

    def _filled(
        self, line: TableRow, group: Group, schedule: dict[str, Any], comparable: bool = True
    ) -> TableRow:
        """The line with the results of its runs, and the published values where they can be compared."""
        at = line.at
        return replace(
            line,
            at=self.methods.place(at),
            errors=dict(sorted(group.errors.items())),
            runs=group.runs,
            measures=measures(group.runs, at.split, self.protocol),
            cautions=cautions(group.records, schedule, self.protocol),
            published=self.published.of(at) if comparable else None,
            also_published=also_published(self.table, at) if comparable else None,
            generators=group.mixed,
            mixed=group.conditions,
            label=self.methods.label(at),
        )

    def _in_reading_order(self, entries: list[Entry]) -> list[Entry]:
        """Networks, data sets, ... as they first come, sizes rising; of each the baseline first, ISDA last.

        The methods that the experiment's section `table` names come first, in its order.
        """
        firsts: tuple[dict[Any, int], ...] = ({}, {}, {})
        keys = []
        for entry in entries:
            at = entry.line.at
            place = (at.model, at.dataset, at.augment)
            ranks = [first.setdefault(name, len(first)) for first, name in zip(firsts, place, strict=True)]
            size = math.inf if at.train_size is None else at.train_size
            order = (self.methods.rank(at), RANKS.get(entry.names["loss"], 1))
            keys.append((*ranks, size, at.resample, "; ".join(entry.line.deviations), order))
        order_of_lines = sorted(range(len(entries)), key=lambda i: keys[i])
        return [entries[i] for i in order_of_lines]


def _declared_differences(keys: Sequence[str]) -> tuple[str, ...]:
    """A sentence for settings besides the method in which a planned method and its baseline may differ."""
    if not keys:
        return ()
    return (f"Exception, declared by the experiment: they may differ in {', '.join(keys)} too.",)


def _notes(
    plan: list[PlannedCell], selections: list[HyperparameterSelection], labels: dict[str, str]
) -> tuple[str, ...]:
    """Which settings were chosen on held-out images, and which are fixed."""
    if any(cell.at.split == "validation" for cell in plan):
        return tuple(_outcome(selection, labels) for selection in selections if selection.is_tried_by(plan))
    fixed: dict[str, None] = {}
    for cell in plan:
        names = set(cell.config.names.values())
        about = [selection for selection in selections if _is_of(selection, names)]
        if not about or any(selection.winner and selection.is_about(cell) for selection in about):
            continue
        fixed[f"{about[0].component[1]} {_in_words(about[0].values(cell.config))}"] = None
    return (f"Fixed, not chosen on validation: {'; '.join(fixed)}.",) if fixed else ()


def _is_of(selection: HyperparameterSelection, names: set[str]) -> bool:
    """Whether it selects settings of a loss or generator of these names, and not of the network beside it."""
    section, name = selection.component
    return name in names and all(key.startswith(f"{section}.") for key in selection.keys)


def _outcome(selection: HyperparameterSelection, labels: dict[str, str]) -> str:
    at = selection.cells[0].at
    what = ", ".join([selection.component[1], *(labels.get(name, name) for name in (at.model, at.dataset))])
    if selection.winner is None:
        return f"{what}: not all candidates have their runs; nothing is chosen yet."
    return f"{what}: chosen {_in_words(selection.chosen)}."


def _in_words(values: dict[str, Any]) -> str:
    """'alpha 0.5, gamma 1'."""
    shown = {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in values.items()}
    return ", ".join(f"{key.partition('.')[2]} {value}" for key, value in shown.items())
