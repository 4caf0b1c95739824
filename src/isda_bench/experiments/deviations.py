"""The deviations of records that are no cell of an experiment from its nearest cell, if there is one."""

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from isda_bench.config.folders import choice_file
from isda_bench.config.grids import composed_jobs
from isda_bench.config.run_config import ADDED_LATER, OLDER_FUNCTIONS, flat, identity
from isda_bench.config.settings import TASK_COMPONENTS
from isda_bench.errors import ConfigError
from isda_bench.experiments.coordinates import Coordinates
from isda_bench.experiments.planned import PlannedCell


class Match(NamedTuple):
    """The planned cell that records deviate from, and in what; the place of the cell in the plan."""

    place: int
    deviations: tuple[str, ...]


class Matcher:
    """Finds the planned cell that records belong beside.

    Data set, augmentation, method and split have to be the cell's. Deviations are a training subset or how it
    is drawn, another network (unless the table is about networks), a component's older function, and other
    settings.

    Args:
        plan: the experiment's cells.
        fixed_networks: whether only the plan's networks belong there.
    """

    def __init__(self, plan: Iterable[PlannedCell], fixed_networks: bool) -> None:
        self.fixed_networks = fixed_networks
        self.alike: dict[tuple[str, ...], list[tuple[int, PlannedCell]]] = {}
        for index, cell in enumerate(plan):
            self.alike.setdefault(_kind(cell.at), []).append((index, cell))

    def match(self, at: Coordinates, record: dict[str, Any]) -> Match | None:
        """The cell that a record's deviates least from; None where it belongs to none."""
        candidates = self.alike.get(_kind(at), [])
        if self.fixed_networks:
            candidates = [(i, cell) for i, cell in candidates if cell.at.model == at.model]
        nearest = sorted(
            candidates, key=lambda c: (c[1].at.model != at.model, c[1].at.train_size != at.train_size)
        )
        for index, cell in nearest:
            found = self._deviations(cell, at, record)
            if found is not None:
                return Match(index, found)
        return None

    def _deviations(
        self, cell: PlannedCell, at: Coordinates, record: dict[str, Any]
    ) -> tuple[str, ...] | None:
        deviations_text = []
        reference: dict[str, Any] | None = cell.settings
        if cell.at.model != at.model:
            deviations_text.append(f"another network, {at.model}")
            reference = _with_model(cell.job, record["names"]["model"])
        if reference is None:
            return None
        for key, (ours, theirs) in _differences(flat(record["identity"]), reference).items():
            if key == "dataset.train_size":
                deviations_text.append(_subset(ours, theirs))
            elif key == "dataset.resample":
                deviations_text.append(_draws(bool(ours)))
            elif key in OLDER_FUNCTIONS and ours == OLDER_FUNCTIONS[key].value:
                deviations_text.append(f"older function ({key}={ours})")
            elif key.partition(".")[0] in TASK_COMPONENTS:
                return None  # another cell; elsewhere (schedule, precision, ...) it is a deviation
            else:
                deviations_text.append(_in_words(key, ours, theirs))
        return tuple(deviations_text)


def _kind(at: Coordinates) -> tuple[str, ...]:
    return at.dataset, at.augment, at.method, at.split


@cache
def _with_model(job: tuple[str, ...], model: str) -> dict[str, Any] | None:
    """The settings that the job would have with another network, which brings its own schedule."""
    if choice_file("model", model) is None:
        return None
    try:
        lines = [line for line in job if not line.startswith("model=")]
        ((_, run),) = composed_jobs([[*lines, f"model={model}"]])
    except ConfigError:
        return None
    return flat(identity(run.config))


def _differences(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = dict.fromkeys([*ours, *theirs])
    both = {key: tuple(one.get(key, ADDED_LATER.get(key)) for one in (ours, theirs)) for key in keys}
    return {key: (mine, its) for key, (mine, its) in both.items() if mine != its and key != "seed"}


def _subset(ours: int | None, theirs: int | None) -> str:
    return f"{_count(ours)} training images, not {_count(theirs)}"


def _draws(resampled: bool) -> str:
    return "a subset of its own for each seed" if resampled else "one subset for all seeds"


def _count(images: int | None) -> str:
    return f"{images:,}" if images else "all"


def _in_words(key: str, ours: Any, theirs: Any) -> str:
    if key == "schedule.epochs":
        return f"{ours} epochs, not {theirs}"
    if key == "compile":
        return "compiled" if ours else "not compiled"
    if key == "evaluate.every":
        return f"evaluated every {ours} epochs, not every {theirs}"
    name = key.removeprefix("schedule.").replace("_", " ")
    return f"{name} {ours}, not {theirs}"
