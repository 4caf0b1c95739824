"""Composes configurations outside hydra.main."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isda_bench.config import search_path  # noqa: F401 - Hydra reads our folders through it
from isda_bench.config.grid_size import check_values
from isda_bench.config.override_text import parse
from isda_bench.config.run_config import RunConfig
from isda_bench.config.several_choices import expanded, with_plain_sections
from isda_bench.config.weights_checksum import add_checksum_of_weights
from isda_bench.errors import ConfigError

# The files of conf/hydra/launcher have the names of the plugins' own, which check them: that is meant.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/", UserWarning)


def run_config(composed: DictConfig, choices: dict[str, Any], kind: type[RunConfig] = RunConfig) -> RunConfig:
    """The plain configuration of a composed one.

    Args:
        composed: without Hydra's own node.
        choices: chosen name of each group.
        kind: of the configured run.

    Raises:
        ConfigError: a value is missing, or an interpolation does not resolve.
    """
    # "/", "@": neither Hydra's own groups nor what follows from others
    names = {group: str(name) for group, name in choices.items() if name and not set("/@") & set(group)}
    try:
        config: Any = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError([_first_line(error)]) from error
    # the exact search is slow, and there is seldom one
    missing = sorted(OmegaConf.missing_keys(composed)) if "'???'" in str(config) else []
    if missing:
        raise ConfigError([f"{key}: not given" for key in missing])
    add_checksum_of_weights(config.get("model"))
    return kind(with_plain_sections(config), names)


def compose_run(overrides: list[str], kind: type[RunConfig] = RunConfig) -> RunConfig:
    """The configuration of one run, as the command line `overrides` would give it.

    Raises:
        ConfigError: it does not compose.
    """
    with hydra_context(kind):
        composed = compose_overrides(overrides)
        return run_config(without_hydra(composed), choices_of(composed), kind)


def compose_overrides(overrides: list[str]) -> DictConfig:
    """The configuration with Hydra's own node. Within `hydra_context`.

    Raises:
        ConfigError: it does not compose.
    """
    try:
        return compose("config", expanded(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError, AssertionError) as error:  # as Hydra does
        raise ConfigError([_first_line(error)]) from error


def choices_of(composed: DictConfig) -> dict[str, Any]:
    """The chosen name of each group."""
    return {str(group): name for group, name in composed.hydra.runtime.choices.items()}


def without_hydra(composed: DictConfig) -> DictConfig:
    """The configuration without Hydra's own node."""
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def sweep_of(composed: DictConfig) -> dict[str, Any]:
    """Keys that the configuration itself, an experiment's, varies: key -> values as typed.

    Raises:
        ConfigError: a key has too many values.
    """
    varied = dict(composed.hydra.sweeper.params or {})
    check_values(varied)
    return varied


def varied_by(composed: DictConfig) -> list[Override]:
    """`sweep_of` as overrides; without those that cannot be read. Within `hydra_context`."""
    return parse([f"{key}={value}" for key, value in sweep_of(composed).items()])[0]


@contextmanager
def hydra_context(kind: type[RunConfig] = RunConfig) -> Iterator[None]:
    """Hydra's global state over the groups of `kind`, restored afterwards."""
    if GlobalHydra.instance().is_initialized():
        yield
        return
    with initialize_config_dir(str(kind.conf), version_base="1.3"):
        yield


def _first_line(error: Exception) -> str:
    """The error's first line, after the dotted key where the error has it."""
    line = str(error).splitlines()[0]
    key = getattr(error, "full_key", None)
    return f"{key}: {line}" if key else line
