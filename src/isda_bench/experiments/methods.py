"""The methods of a table: what tells them apart, their labels, and which one is the baseline."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from isda_bench.config.experiment_files import content_of, table_section
from isda_bench.config.folders import choice_file
from isda_bench.config.problems import did_you_mean
from isda_bench.config.run_config import flat
from isda_bench.errors import ConfigError
from isda_bench.experiments.coordinates import Coordinates
from isda_bench.experiments.planned import PlannedCell

ALWAYS_THE_METHODS = ("loss", "generator", "seed")
"""Settings in which a method and its baseline may differ in every table."""


class Methods:
    """The methods of a table, by the names in its experiment's section `table`.

    Args:
        experiment: the table's.
        plan: its cells.

    Raises:
        ConfigError: the section is wrong, or a name in it is no method, network or data set of the plan;
            lists all of them.
    """

    def __init__(self, experiment: str, plan: Iterable[PlannedCell]) -> None:
        self.section = section = table_section(experiment)
        self.plan = list(plan)
        self.baselines = frozenset(self._named(section.baseline)) if section.baseline else frozenset()
        self._labels = {text: label for name, label in section.methods.items() for text in self._named(name)}
        if problems := self._problems():
            raise ConfigError([f"experiment={experiment}: {problem}" for problem in problems])

    def place(self, at: Coordinates) -> Coordinates:
        """A cell's place in the table: where methods bring an augmentation, it is a part of their name."""
        if not self.bring_augmentations or not at.augment:
            return at
        return at._replace(method=f"{at.method}, {at.augment}", augment="")

    def label(self, at: Coordinates) -> str:
        """A method's label in the table; '' where the section has none."""
        return self._labels.get(self.place(at).method, "")

    def rank(self, at: Coordinates) -> int:
        """The method's place in the section; those that it does not name come last."""
        name = self.place(at).method
        return [*self._labels, name].index(name)

    def is_baseline(self, at: Coordinates) -> bool:
        """Whether it is the baseline that the section names."""
        return self.place(at).method in self.baselines

    @cached_property
    def settings(self) -> tuple[str, ...]:
        """Dotted keys and sections in which a method and its baseline may differ."""
        if not self.section.baseline:
            return ALWAYS_THE_METHODS
        return (*ALWAYS_THE_METHODS, "model.dropout", *self._set_by_files)

    @property
    def planned_settings(self) -> tuple[str, ...]:
        """`settings` and those that the section declares: planned cells may differ in both."""
        return (*self.settings, *self.section.also_differ)

    @cached_property
    def bring_augmentations(self) -> bool:
        """Whether a method that the section names sets how images are augmented or mixed."""
        return any(key.partition(".")[0] in ("augment", "mix") for key in self._set_by_files)

    @cached_property
    def _set_by_files(self) -> tuple[str, ...]:
        """Sections that the files of the named methods choose, and keys that they set."""
        names = {*self.section.methods, *filter(None, [self.section.baseline])}
        files = [choice_file("method", name) for name in names if self._chosen_as(name)]
        return tuple(sorted({key for path in files if path for key in _keys(content_of(path))}))

    def _chosen_as(self, name: str) -> list[PlannedCell]:
        return [cell for cell in self.plan if cell.config.names.get("method") == name]

    def _named(self, name: str) -> list[str]:
        """The methods of this name."""
        cells = self._chosen_as(name) or [cell for cell in self.plan if cell.at.method == name]
        return list(dict.fromkeys(self.place(cell.at).method for cell in cells))

    def _problems(self) -> list[str]:
        section, places = self.section, [cell.at for cell in self.plan]
        methods = [*(at.method for at in places), *(c.config.names.get("method", "") for c in self.plan)]
        named = {
            "baseline": ([section.baseline] if section.baseline else [], methods),
            "also_differ": (section.also_differ, [key for cell in self.plan for key in cell.settings]),
            "methods": (section.methods, methods),
            "networks": (section.networks, [at.model for at in places]),
            "datasets": (section.datasets, [at.dataset for at in places]),
        }
        return [
            f"table.{key}: {name} is none of the experiment's{did_you_mean(name, _distinct(known))}"
            for key, (names, known) in named.items()
            for name in names
            if name not in known
        ]


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, names)))


def _keys(content: dict[str, Any]) -> list[str]:
    """The sections that a method's file chooses, and the dotted keys that it sets."""
    chosen = [key for entry in content.pop("defaults", []) if isinstance(entry, dict) for key in entry]
    return [key.removeprefix("override").strip(" /") for key in chosen] + list(flat(content))
