"""Records into an experiment's table."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from isda_bench.config.experiment_files import parts, table_of, title
from isda_bench.config.run_config import identity
from isda_bench.experiments.coordinates import coordinates
from isda_bench.experiments.deviations import Matcher
from isda_bench.experiments.planned import PlannedCell, planned
from isda_bench.experiments.published import (
    also_published,
    also_source,
    has_fixed_networks,
    published,
    source,
)
from isda_bench.experiments.selection import (
    CHOSEN,
    HyperparameterSelection,
    hyperparameter_selections,
    with_settings,
)
from isda_bench.reporting.cautions import schedule_caution
from isda_bench.reporting.measures import measures
from isda_bench.reporting.mixing import (
    has_generator_of_other_data,
    mixed_conditions,
    refuse_other_data,
)
from isda_bench.reporting.pairing import BASELINE, Entry, with_baselines
from isda_bench.reporting.table import Table, TableRow
from isda_bench.storage.records import UnfinishedRun

RANKS = {BASELINE: 0, "isda": 2}
"""Of the losses in a table; any other is 1."""


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
        """What a footnote says of the runs: in which conditions they differ, and generators of other data."""
        if not self.of_other_data:
            return mixed_conditions(self.records)
        count = f"{self.of_other_data} of {len(self.records)} runs"
        return (*mixed_conditions(self.records), f"{count} used generators that were trained on other data")

    @property
    def mixed(self) -> tuple[str, ...]:
        """The generators' runs where there are several: generator.run=null takes the newest of its day."""
        return tuple(sorted(self.generators.values())) if len(self.generators) > 1 else ()


def experiment_table(
    experiment: str,
    records: pd.DataFrame,
    unfinished: Iterable[UnfinishedRun] = (),
    protocol: str = "last_10",
) -> Table:
    """What the records say of an experiment; its parts belong to it.

    Args:
        experiment: its name.
        records: as read_records gives them; those of other experiments do no harm.
        unfinished: as unfinished_runs gives them.
        protocol: which error of a run counts.

    Raises:
        ConfigError: there is no such experiment, or it does not compose.
        UserError: runs of one data set's name were trained on different data.
    """
    groups = grouped(records, protocol)
    begun: dict[str, set[int]] = defaultdict(set)
    for run in unfinished:
        begun[run.cell].add(run.seed)
    own = _distinct([cell for part in parts(experiment) for cell in planned(part)])
    errors = {cell: group.errors for cell, group in groups.items()}
    selections = hyperparameter_selections(errors, own)
    plan = _with_choices(own, selections)
    name = table_of(experiment)
    entries = [_planned_entry(name, cell, groups, begun, protocol) for cell in plan]
    entries = _in_reading_order(entries) + _deviating_entries(name, plan, groups, protocol)
    lines = tuple(with_baselines(entries))
    notes = _notes(own, selections)
    _refuse_other_data(experiment, lines, groups)
    return Table(experiment, title(experiment), protocol, source(name), lines, notes, also_source(name))


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
        decided = [contest for contest in selections if contest.winner and contest.is_about(cell)]
        cells.append(cell)
        for contest in decided:
            if contest.values(cell.config) == contest.chosen:
                cells[-1] = replace(cell, note=CHOSEN)
            else:
                cells[-1] = replace(cell, note="fixed; validation chose other settings")
                cells.append(with_settings(cell, contest.chosen, CHOSEN))
    return _distinct(cells)


def _planned_entry(
    table: str, cell: PlannedCell, groups: dict[str, Group], begun: dict[str, set[int]], protocol: str
) -> Entry:
    group = groups.get(cell.config.cell) or Group({})
    line = TableRow(
        cell=cell.config.cell,
        at=cell.at,
        planned=True,
        seeds=cell.seeds,
        unfinished=tuple(sorted(begun[cell.config.cell] - set(group.errors))),
        published=published(table, cell.at),
        also_published=also_published(table, cell.at),
        note=cell.note,
        generators=group.mixed,
        mixed=group.conditions,
    )
    line = _with_results(line, group, cell.config.config["schedule"], protocol)
    return Entry(line, cell.config.names, identity(cell.config.config))


def _deviating_entries(
    table: str, plan: list[PlannedCell], groups: dict[str, Group], protocol: str
) -> list[Entry]:
    """Records beside the plan: those of one network and subset together, methods in the plan's order."""
    matcher = Matcher(plan, has_fixed_networks(table))
    own = {cell.config.cell for cell in plan}
    found = []
    for cell, group in groups.items():
        if cell in own:
            continue
        at = coordinates(group.record["names"], group.record["config"])
        match = matcher.match(at, group.record)
        if match is None:
            continue
        comparable = plan[match.place].at == at
        line = TableRow(
            cell=cell,
            at=at,
            planned=False,
            deviations=match.deviations,
            published=published(table, at) if comparable else None,
            also_published=also_published(table, at) if comparable else None,
            generators=group.mixed,
            mixed=group.conditions,
        )
        line = _with_results(line, group, group.record["config"]["schedule"], protocol)
        entry = Entry(line, group.record["names"], group.record["identity"])
        found.append((match.deviations, match.place, entry))
    return _in_reading_order([entry for _, _, entry in sorted(found, key=lambda item: item[:2])])


def _with_results(line: TableRow, group: Group, schedule: dict[str, Any], protocol: str) -> TableRow:
    caution = schedule_caution(schedule, protocol)
    return replace(
        line,
        errors=dict(sorted(group.errors.items())),
        runs=group.runs,
        measures=measures(group.runs, line.at.split, protocol),
        cautions=(caution,) if caution and group.errors else (),
    )


def _in_reading_order(entries: list[Entry]) -> list[Entry]:
    """Networks, data sets, ... as they first come, sizes rising; of each the baseline first and ISDA last."""
    firsts: tuple[dict[Any, int], ...] = ({}, {}, {})
    keys = []
    for entry in entries:
        at = entry.line.at
        place = (at.model, at.dataset, at.augment)
        ranks = [first.setdefault(name, len(first)) for first, name in zip(firsts, place, strict=True)]
        size = math.inf if at.train_size is None else at.train_size
        rank = RANKS.get(entry.names["loss"], 1)
        keys.append((*ranks, size, at.resample, "; ".join(entry.line.deviations), rank))
    order = sorted(range(len(entries)), key=lambda i: keys[i])
    return [entries[i] for i in order]


def _notes(plan: list[PlannedCell], selections: list[HyperparameterSelection]) -> tuple[str, ...]:
    """Which settings were chosen on held-out images, and which are fixed."""
    if any(cell.at.split == "validation" for cell in plan):
        return tuple(_outcome(selection) for selection in selections if selection.is_tried_by(plan))
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


def _outcome(selection: HyperparameterSelection) -> str:
    at = selection.cells[0].at
    what = f"{selection.component[1]}, {at.model}, {at.dataset}"
    if selection.winner is None:
        return f"{what}: not all candidates have their runs; nothing is chosen yet."
    return f"{what}: chosen {_in_words(selection.chosen)}."


def _in_words(values: dict[str, Any]) -> str:
    """'alpha 0.5, gamma 1'."""
    shown = {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in values.items()}
    return ", ".join(f"{key.partition('.')[2]} {value}" for key, value in shown.items())
