"""The experiments' files: which belong to one table, and what a table says of itself.

An experiment with a section `table` is a table. Without one, `<table>_<part>.yaml` is a part of the table
whose experiment is `<table>.yaml`: a table that is more than one grid has a file for each further grid.
"""

import os
import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from isda_bench.config.folders import PUBLISHED, choice_file, choice_names
from isda_bench.config.problems import did_you_mean, problems_of
from isda_bench.config.settings import TableSection
from isda_bench.config.yaml_files import read_yaml
from isda_bench.errors import ConfigError


def experiment_names() -> list[str]:
    """Every experiment, parts too."""
    return choice_names("experiment")


def table_names() -> list[str]:
    """The experiments that are a table, or its main part."""
    return [name for name in experiment_names() if table_of(name) == name]


def table_of(experiment: str) -> str:
    """The table that the experiment belongs to.

    Raises:
        ConfigError: there is no such experiment.
    """
    names = experiment_names()
    if experiment not in names:
        raise ConfigError([f"experiment={experiment}: no such experiment{did_you_mean(experiment, names)}"])
    around = [name for name in names if experiment == name or experiment.startswith(f"{name}_")]
    own = [name for name in around if _has_section(_file(name))]
    return max(own, key=len) if own else min(around, key=len)


def parts(experiment: str) -> list[str]:
    """The experiments that make up what `experiment` names: a table has all of its parts.

    Raises:
        ConfigError: there is no such experiment.
    """
    table = table_of(experiment)
    longer = (name for name in experiment_names() if name.startswith(f"{experiment}_"))
    return [experiment, *(name for name in longer if table_of(name) == table)]


def table_section(experiment: str) -> TableSection:
    """The section `table` of the experiment; a part has that of its table.

    Raises:
        ConfigError: there is no such experiment, or its section is wrong.
    """
    name = table_of(experiment)
    content = content_of(_file(name)).get("table", {"title": name.replace("_", " ")})
    problems = problems_of(lambda: TableSection.model_validate(content), "table.")
    if problems:
        raise ConfigError([f"experiment={name}: {problem}" for problem in problems])
    return TableSection.model_validate(content)


def title(experiment: str) -> str:
    """The table's title; a part's names the part."""
    table = table_of(experiment)
    part = experiment.removeprefix(table).replace("_", " ")
    return f"{table_section(table).title}:{part}" if part else table_section(table).title


def published_file(experiment: str) -> Path | None:
    """The file of published values beside the experiment of a table; None where there is none.

    Raises:
        ConfigError: something else has its name.
    """
    path = _file(experiment).with_name(f"{experiment}{PUBLISHED}")
    if not os.path.lexists(path):
        return None
    if not path.is_file():
        raise ConfigError([f"{path}: is no file"])
    return path


def content_of(path: Path) -> dict[str, Any]:
    """The content of a YAML file.

    Raises:
        ConfigError: it cannot be read, or is no section.
    """
    content = OmegaConf.to_container(read_yaml(path))
    if not isinstance(content, dict):
        raise ConfigError([f"{path}: should be a section with keys"])
    return {str(key): value for key, value in content.items()}


def _has_section(path: Path) -> bool:
    """Whether the file has a section `table`; other experiments' files need not be right."""
    return re.search(r"^table:", path.read_text("utf-8", errors="replace"), re.MULTILINE) is not None


def _file(experiment: str) -> Path:
    path = choice_file("experiment", experiment)
    assert path is not None
    return path
