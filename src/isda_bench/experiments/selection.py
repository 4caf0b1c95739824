"""Selection: which settings the held-out images chose. The test set has no say in it.

The experiments whose cells are evaluated on held-out images (`strength_selection`, `baseline_selection`) try
settings of a loss or a generator for a data set and a network. The choice is the lowest mean error; there is
none before every candidate has all the runs that its experiment asks for.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import Any

from isda_bench.config.experiment_files import parts, table_of
from isda_bench.config.grids import chosen_names
from isda_bench.config.run_config import RunConfig, flat
from isda_bench.experiments.coordinates import Coordinates
from isda_bench.experiments.planned import PlannedCell, planned

EXPERIMENTS = ("strength_selection", "baseline_selection", "evidence_selection")
CHOSEN = "chosen on validation"
DROPOUT = "model.dropout"


@dataclass(frozen=True)
class HyperparameterSelection:
    """Candidates that differ in some settings of one component alone.

    Attributes:
        experiment: where they are tried.
        component: section and name, ('loss', 'isda').
        keys: the dotted keys that differ.
        cells: the candidates.
        winner: the chosen one; None while a run of any is missing.
    """

    experiment: str
    component: tuple[str, str]
    keys: tuple[str, ...]
    cells: tuple[PlannedCell, ...]
    winner: PlannedCell | None = None

    @property
    def chosen(self) -> dict[str, Any]:
        """Dotted key -> chosen value; nothing while it is open."""
        return self.values(self.winner.config) if self.winner else {}

    def values(self, config: RunConfig) -> dict[str, Any]:
        """Dotted key -> the value that a configuration has."""
        settings = flat(config.config)
        return {key: settings[key] for key in self.keys}

    def is_about(self, cell: PlannedCell) -> bool:
        """Whether this chooses for `cell`: it differs in the keys and the held-out images alone.

        A network without dropout is a method of its own: no choice of a rate is about it, unless it is a try.
        """
        if cell.config.cell in {candidate.config.cell for candidate in self.cells}:
            return True
        mine, its = self.cells[0].settings, cell.settings
        if DROPOUT in self.keys and not its.get(DROPOUT):
            return False
        ignored = {*self.keys, "dataset.val_size", "seed"}
        return all(mine.get(key) == its.get(key) for key in (mine.keys() | its.keys()) - ignored)

    def is_tried_by(self, plan: list[PlannedCell]) -> bool:
        """Whether its candidates are cells of `plan`."""
        return self.cells[0].config.cell in {cell.config.cell for cell in plan}


def hyperparameter_selections(
    errors: dict[str, dict[int, float]], plan: Iterable[PlannedCell] | None = None
) -> list[HyperparameterSelection]:
    """All selections, each with its winner if its runs are finished.

    Args:
        errors: cell id -> seed -> error of the finished runs.
        plan: cells; only selections about their losses and generators are wanted. None: all.
    """
    wanted = (
        None
        if plan is None
        else {_component(cell) for cell in plan} | {("loss", cell.config.names["loss"]) for cell in plan}
    )
    experiments = [part for experiment in EXPERIMENTS for part in parts(experiment)]
    if wanted is not None:
        experiments = [name for name in experiments if wanted & set(_tried(name))]
    return [_decided(selection, errors) for selection in _open_selections(tuple(experiments))]


def with_settings(cell: PlannedCell, chosen: dict[str, Any], note: str) -> PlannedCell:
    """The cell with other values of some dotted keys."""
    config = deepcopy(cell.config.config)
    for key, value in chosen.items():
        section, _, name = key.partition(".")
        config[section][name] = value
    job = (*cell.job, *(f"{key}={value}" for key, value in chosen.items()))
    return PlannedCell(RunConfig(config, cell.config.names), cell.seeds, job, note)


def _decided(
    selection: HyperparameterSelection, errors: dict[str, dict[int, float]]
) -> HyperparameterSelection:
    means = []
    for cell in selection.cells:
        found = errors.get(cell.config.cell, {})
        if not set(cell.seeds) <= set(found):
            return selection
        means.append(fmean(found[seed] for seed in cell.seeds))
    return replace(selection, winner=selection.cells[means.index(min(means))])  # of equals the first


def _tried(experiment: str) -> list[tuple[str, str]]:
    """The components whose settings an experiment tries."""
    generators = [name for name in chosen_names(experiment, "generator") if name != "none"]
    if generators:
        return [("generator", name) for name in generators]
    return [("loss", name) for name in chosen_names(experiment, "loss")]


@cache
def _open_selections(experiments: tuple[str, ...]) -> tuple[HyperparameterSelection, ...]:
    groups: dict[tuple[str, Coordinates, tuple[str, str]], list[PlannedCell]] = {}
    for experiment in experiments:
        for cell in planned(experiment):
            place = cell.at._replace(method="")
            groups.setdefault((table_of(experiment), place, _component(cell)), []).append(cell)
    return tuple(
        HyperparameterSelection(experiment, component, _differing_keys(cells), tuple(cells))
        for (experiment, _, component), cells in groups.items()
    )


def _component(cell: PlannedCell) -> tuple[str, str]:
    names = cell.config.names
    generator = names.get("generator", "none")
    return ("loss", names["loss"]) if generator == "none" else ("generator", generator)


def _differing_keys(cells: list[PlannedCell]) -> tuple[str, ...]:
    settings = [cell.settings for cell in cells]
    return tuple(key for key in settings[0] if any(s.get(key) != settings[0][key] for s in settings))
