"""Composes configurations outside hydra.main."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from itertools import chain
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isda_bench.config.run_config import RunConfig
from isda_bench.errors import ConfigError
from isda_bench.runtime.file_checksums import file_checksum

# The files of conf/hydra/launcher have the names of the plugins' own, which check them: that is meant.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/", UserWarning)


def run_config(composed: DictConfig, choices: dict[str, Any], kind: type[RunConfig] = RunConfig) -> RunConfig:
    """The plain configuration of a composed one.

    Args:
        composed: without Hydra's own node.
        choices: chosen name of each group.
        kind: what it describes.

    Raises:
        ConfigError: a value is missing, or an interpolation does not resolve.
    """
    names = {
        group: str(name)
        for group, name in choices.items()
        if name and "/" not in group  # neither Hydra's own nor method/settings, which follows from others
    }
    try:
        missing = sorted(OmegaConf.missing_keys(composed))
        config = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError([_first_line(error)]) from error
    if missing:
        raise ConfigError([f"{key}: not given" for key in missing])
    assert isinstance(config, dict)
    return kind(_with_checksum_of_weights({str(key): value for key, value in config.items()}), names)


def _with_checksum_of_weights(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration, in place, with the checksum of the file that the network starts from."""
    model = config.get("model") or {}
    weights = model.get("weights") if isinstance(model, dict) else None
    if isinstance(weights, str) and model.get("weights_sha256", "") is None:
        with suppress(OSError):  # which the check reports
            model["weights_sha256"] = file_checksum(Path(weights).expanduser())
    return config


def compose_run(overrides: list[str], kind: type[RunConfig] = RunConfig) -> RunConfig:
    """The configuration of one run, as the command line `overrides` would give it.

    Args:
        overrides: `key=value`.
        kind: what it describes.

    Raises:
        ConfigError: it does not compose.
    """
    with hydra_context(kind):
        return run_config_of(compose_overrides(overrides), kind)


def grid_runs(overrides: list[str]) -> list[RunConfig]:
    """The configurations of all runs of a grid, as `python train.py -m overrides` would run them.

    Raises:
        ConfigError: one of them does not compose.
    """
    return [config for _, config in grid(overrides)]


def grid(overrides: list[str]) -> list[tuple[list[str], RunConfig]]:
    """As `grid_runs`, each with the command line of its job.

    Raises:
        ConfigError: one of them does not compose.
    """
    with hydra_context():
        parsed, problems = parse(overrides)
        if problems:
            raise ConfigError(problems)
        parsed = [override for override in parsed if not override.is_hydra_override()]  # how, not what
        composed = compose_overrides([str(o.input_line) for o in parsed if not o.is_sweep_override()])
        varied, _ = parse([f"{key}={value}" for key, value in sweep_of(composed).items()])
        try:
            batches = BasicSweeper.split_arguments([*varied, *parsed], None)
        except HydraException as error:
            raise ConfigError([_first_line(error)]) from error
        jobs = [list(job) for job in chain.from_iterable(batches)]
        composer = _TableComposer()
        configs = [composer.run(job) for job in jobs]
        if jobs and configs[-1] != run_config_of(compose_overrides(jobs[-1])):
            configs = [run_config_of(compose_overrides(job)) for job in jobs]
        return list(zip(jobs, configs, strict=True))


class Composer:
    """Composes jobs, once what they choose alike. Within `hydra_context`.

    Hydra takes a tenth of a second for each, and sets plain values last of all: jobs that differ in these
    alone are composed once.

    Args:
        kind: what the jobs configure.
    """

    def __init__(self, kind: type[RunConfig] = RunConfig) -> None:
        self.kind = kind
        self.composed: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, lines: list[str]) -> DictConfig:
        """As `compose_overrides`, once for the same lines: not to be changed.

        Raises:
            ConfigError: it does not compose.
        """
        key = tuple(lines)
        if key not in self.composed:
            self.composed[key] = compose_overrides(lines)
        return self.composed[key]

    def run(self, job: list[str]) -> RunConfig:
        """The configuration of a job, given as its command line.

        Raises:
            ConfigError: it does not compose.
        """
        parsed, _ = parse(job)
        config, choices = self._chosen([override for override in parsed if not self._is_value(override)])
        OmegaConf.set_struct(config, True)
        try:
            for override in filter(self._is_value, parsed):
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException:
            return run_config_of(
                compose_overrides(job), self.kind
            )  # whose error is the one that a user knows
        return run_config(config, choices, self.kind)

    def _chosen(self, overrides: list[Override]) -> tuple[DictConfig, dict[str, Any]]:
        """The configuration under these choices, a copy, and the chosen names."""
        composed = self.compose([str(override.input_line) for override in overrides])
        return deepcopy(without_hydra(composed)), _choices(composed)

    def _is_value(self, override: Override) -> bool:
        """Whether it sets a key that the configuration has, and chooses or adds nothing."""
        changes = override.is_add() or override.is_force_add() or override.is_delete()
        is_group = (self.kind.conf / override.key_or_group).is_dir()
        return not (changes or is_group or override.is_hydra_override() or override.package is not None)


class _TableComposer(Composer):
    """Composes many jobs of train.py, also those that differ in components, as one.

    A component's file that has no defaults list is its whole section, unless another file touches that.
    `grid` composes the last job in full to see that this is so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bases: dict[tuple[str, ...], tuple[dict[str, str], DictConfig, dict[str, Any]]] = {}
        self.touched: set[str] = set()
        self.sections: dict[Path, DictConfig | None] = {}

    def _chosen(self, overrides: list[Override]) -> tuple[DictConfig, dict[str, Any]]:
        names = {o.key_or_group: str(o.value()) for o in overrides if o.key_or_group not in self.touched}
        if self._has_settings(names.get("method")):
            names.pop("dataset", None)
        files = {group: name for group, name in names.items() if self._section(group, name) is not None}
        key = (*files, *(str(o.input_line) for o in overrides if o.key_or_group not in files))
        if key not in self.bases:
            self.bases[key] = files, *super()._chosen(overrides)
            composed = self.bases[key][1]
            self.touched |= {
                group for group in files if composed[group] != self._section(group, files[group])
            }
            if "method" not in names and self._has_settings(self.bases[key][2].get("method")):
                self.touched.add("dataset")
        base_files, base, choices = self.bases[key]
        config = deepcopy(base)
        for group, name in files.items():
            if name != base_files[group]:
                config[group] = self._section(group, name)
        return config, choices | files

    def _has_settings(self, method: str | None) -> bool:
        """Whether the method has settings for single pairs of network and data set."""
        return method is not None and any((self.kind.conf / "method/settings").glob(f"{method}-*.yaml"))

    def _section(self, group: str, name: str) -> DictConfig | None:
        """What the file holds; None where it is more, or not, its section."""
        path = self.kind.conf / group / f"{name}.yaml"
        if path not in self.sections:
            self.sections[path] = None
            if path.exists() and "@package" not in path.read_text():
                content = OmegaConf.load(path)
                if isinstance(content, DictConfig) and "defaults" not in content:
                    self.sections[path] = content
        return self.sections[path]


def parse(overrides: list[str]) -> tuple[list[Override], list[str]]:
    """The overrides that can be read, and a problem for each of the others. Within `hydra_context`."""
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    parsed: list[Override] = []
    problems = []
    for text in overrides:
        try:
            found = parser.parse_overrides([text])
        except (HydraException, ValueError):  # ValueError: a number of thousands of digits
            found = []
        parsed += [override for override in found if override.key_or_group]
        if not found or not found[0].key_or_group:
            problems.append(f"{text}: cannot be read; should be key=value, special characters in quotes")
    return parsed, problems


def compose_overrides(overrides: list[str]) -> DictConfig:
    """The configuration with Hydra's own node. Within `hydra_context`.

    Raises:
        ConfigError: it does not compose.
    """
    try:
        return compose("config", overrides, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError, AssertionError) as error:  # as Hydra does
        raise ConfigError([_first_line(error)]) from error


def run_config_of(composed: DictConfig, kind: type[RunConfig] = RunConfig) -> RunConfig:
    """The plain configuration of what `compose_overrides` gives.

    Raises:
        ConfigError: as `run_config`.
    """
    return run_config(without_hydra(composed), _choices(composed), kind)


def _choices(composed: DictConfig) -> dict[str, Any]:
    """The chosen name of each group."""
    return {str(group): name for group, name in composed.hydra.runtime.choices.items()}


def without_hydra(composed: DictConfig) -> DictConfig:
    """The configuration without Hydra's own node."""
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def sweep_of(composed: DictConfig) -> dict[str, Any]:
    """What the configuration itself, an experiment's, varies: key -> values as typed."""
    return dict(composed.hydra.sweeper.params or {})


@contextmanager
def hydra_context(kind: type[RunConfig] = RunConfig) -> Iterator[None]:
    """Hydra's global state over the groups of `kind`, put back afterwards."""
    if GlobalHydra.instance().is_initialized():
        yield
        return
    with initialize_config_dir(str(kind.conf), version_base="1.3"):
        yield


def _first_line(error: Exception) -> str:
    """What is wrong, after the dotted key where the error knows it."""
    line = str(error).splitlines()[0]
    key = getattr(error, "full_key", None)
    return f"{key}: {line}" if key else line
