"""Checks a composed configuration as a whole, and names the run that it describes."""

import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from isda_bench.config.places import configuration
from isda_bench.config.problems import problems_of
from isda_bench.config.settings import COMPONENTS, Settings
from isda_bench.errors import ConfigError

CONF = configuration()
GENERATOR_CONF = CONF.with_name("conf_generator")

NOT_IN_IDENTITY = (
    *("device", "capture", "runs_dir", "logger", "checkpoint", "dataset.root", "dataset.download", "plan"),
    "evaluate.metrics",
    *("dataset.workers", "dataset.unreadable_limit", "dataset.in_memory"),
    *("samples", "classifier", "allow"),  # of a generator's run
    *("rerun", "table"),
)
"""Keys that do not change a run's result."""

DEBUG_FOLDER = "debug"
"""Folder in `runs_dir` of the runs with `debug=true`; readers of runs look for <runs_dir>/<run id> alone."""

PATHS_TO_RUNS = ("generator.run", "model.weights")
"""Keys whose value is a path: its last part, a run's directory or a file, is what counts."""


class OlderFunction(NamedTuple):
    """The function that components had before a correction.

    Attributes:
        components: the corrected classes, as `_target_` names them.
        value: of the correction's key, for the older function.
    """

    components: tuple[str, ...]
    value: Any


OLDER_FUNCTIONS = {
    "model.skip": OlderFunction(("isda_bench.models.shake_shake.ShakeShake",), "one_path"),
}
"""Dotted key of a correction -> the function before it: append only.

A component whose function is corrected gets such a key: its YAML and its constructor's default have the new
value. The key counts in the identity of new runs. A configuration without it keeps its id and is read with
the older value, so that a stored run is evaluated as it was trained; tables footnote it "older function".
"""

SGD = "torch.optim.SGD"
"""The class of every run's optimizer before there was a choice; later keys of the optimizer are its own."""

ADDED_LATER: dict[str, Any] = {
    **{key: older.value for key, older in OLDER_FUNCTIONS.items()},
    "loss.rank": None,
    "plan": False,
    "debug": False,  # it counts: a debug run has another id and another cell than the run itself
    "checkpoint.every_minutes": None,
    "compile": False,
    "capture": "auto",
    "rerun": False,
    "model.initialisation": "fan_in",
    "dataset.resample": False,
    "dataset.imbalance": None,
    "dataset.decoding": "pillow",
    "augment.operations": "torchvision",
    "optimizer._target_": SGD,
    "optimizer.nesterov": True,
    "schedule.cosine_from": 1,
    "schedule.warmup_epochs": 0,
    "schedule.floor": 0.0,
    "schedule.per_step": False,
    "mix": {},
}
"""Dotted key -> default of every key (a whole section, if that is new) that the configuration did not have at
first: append only.

The identity omits a key that has this value, so that older runs keep theirs.
"""

ADDED_LATER_TO_GENERATORS: dict[str, Any] = {"schedule.average": 0.0, "rerun": False, "allow": []}
"""The same for the configuration of a generator's training."""


@dataclass(frozen=True)
class RunConfig:
    """A checked configuration and the names under which its parts were chosen.

    Attributes:
        config: the resolved configuration, plain values.
        names: chosen name of each group (dataset, model, loss, ...).
    """

    config: dict[str, Any]
    names: dict[str, str]

    conf: ClassVar[Path] = CONF
    titled_by: ClassVar[tuple[str, ...]] = ("dataset", "model", "loss")
    result: ClassVar[str] = "error"  # key of every record of such a run

    @cached_property
    def settings(self) -> Settings:
        """The configuration with its types."""
        return settings_of(self.config)

    @property
    def directory(self) -> Path:
        """The run's directory."""
        folder = Path(self.settings.runs_dir).expanduser()
        return (folder / DEBUG_FOLDER if self.settings.debug else folder) / self.run_id

    def setting_problems(self) -> list[str]:
        """Problems of the keys outside the components, which check themselves."""
        return problems_of(lambda: Settings.model_validate(self.config), "")

    def check(self, component_problems: Callable[[Any], list[str]]) -> None:
        """Checks every key, and the components where the other keys are right.

        Args:
            component_problems: settings -> problems of the components.

        Raises:
            ConfigError: listing all problems.
        """
        problems = self.setting_problems() or component_problems(self.settings)
        if problems:
            raise ConfigError(problems)

    @property
    def cell(self) -> str:
        """The run's id without the seed: runs of one cell differ in nothing else."""
        parts = {key: value for key, value in identity(self.config).items() if key != "seed"}
        return f"{self._title}-{_hash(parts)}"

    @property
    def run_id(self) -> str:
        """<dataset>-<model>-<loss>-s<seed>-<hash8>."""
        return f"{self._title}-s{self.config['seed']}-{_hash(identity(self.config))}"

    @property
    def _title(self) -> str:
        return "-".join(self.names[group] for group in self.titled_by)

    def as_dict(self) -> dict[str, Any]:
        """Its content as stored in files."""
        return {
            "run_id": self.run_id,
            "cell": self.cell,
            "names": self.names,
            "identity": identity(self.config),
            "config": {key: value for key, value in self.config.items() if key != "table"},
        }


def settings_of(config: dict[str, Any]) -> Settings:
    """The types of a configuration that an older version may have written: later keys have their defaults.

    Those of components are in the constructors; only a component's older function is filled in.
    """
    return Settings.model_validate(_with_older_functions(completed(config, ADDED_LATER)))


def older_functions(config: dict[str, Any]) -> dict[str, Any]:
    """Dotted key -> value of each correction that the configuration's components do not have."""
    found = {}
    for key, (components, value) in OLDER_FUNCTIONS.items():
        section, _, name = key.partition(".")
        node = config.get(section) or {}
        if isinstance(node, dict) and node.get("_target_") in components and node.get(name, value) == value:
            found[key] = value
    return found


def _with_older_functions(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration, in place, with the older values that it means by lacking a key."""
    for key, value in older_functions(config).items():
        section, _, name = key.partition(".")
        config[section][name] = value
    return config


def completed(config: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """The configuration completed by the keys in `later` that it lacks."""
    complete = deepcopy(config)
    for key, default in later.items():
        *sections, name = key.split(".")
        if sections and sections[0] in COMPONENTS:
            continue
        node = complete
        for section in sections:
            node = node.setdefault(section, {}) if isinstance(node, dict) else node
        if isinstance(node, dict):  # else the check of the types reports it
            node.setdefault(name, deepcopy(default))
    return complete


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration that decides a result: without `NOT_IN_IDENTITY` and later keys at their default.

    Whole floats become integers, so that 1 and 1.0 are one value.
    """
    return _identity(config, "")


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value."""
    found: dict[str, Any] = {}
    for name, value in node.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def _identity(node: dict[str, Any], prefix: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    later = ADDED_LATER | ADDED_LATER_TO_GENERATORS
    of_another = prefix == "optimizer." and node.get("_target_", SGD) != SGD  # whose keys mean other things
    for name, value in node.items():
        key = prefix + name
        if key in NOT_IN_IDENTITY or (key in later and later[key] == value and not of_another):
            continue
        if key in PATHS_TO_RUNS and isinstance(value, str):
            value = Path(value).name
        if not isinstance(value, dict):
            kept[name] = _canonical(value)
        elif (section := _identity(value, f"{key}.")) or not value:
            kept[name] = section  # a section of later keys alone is omitted
    return kept


def _canonical(value: Any) -> Any:
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _hash(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]
