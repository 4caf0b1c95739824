"""The folders that configurations come from: conf/, conf_generator/ and a user's own."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isda_bench.config.run_config import CONF, GENERATOR_CONF
from isda_bench.errors import ConfigError

PUBLISHED = ".published.yaml"
"""Ending of a file of published values beside an experiment; it is no choice."""

_users_folders: list[Path] = []


@contextmanager
def users_folder(folder: Path | None) -> Iterator[None]:
    """Adds the folder of a user's own groups and choices to the search path: theirs come after ours.

    Raises:
        ConfigError: there is no such folder.
    """
    if folder and not folder.is_dir():
        raise ConfigError([f"--config-dir={folder}: no such folder"])
    added = [] if folder is None else [folder.resolve()]
    _users_folders.extend(added)
    try:
        yield
    finally:
        del _users_folders[len(_users_folders) - len(added) :]


@contextmanager
def importing_from_here() -> Iterator[None]:
    """Finds `_target_: mine.Network` in mine.py of the current folder, after all that is installed."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield
    finally:
        if sys.path[-1] == here:
            sys.path.pop()


def users_folders() -> list[Path]:
    """Those that are added at present."""
    return list(_users_folders)


def config_folders(conf: Path = CONF) -> list[Path]:
    """The folders that a configuration is composed from, the first one first."""
    return [conf, *([CONF] if conf == GENERATOR_CONF else []), *_users_folders]


def choice_names(group: str) -> list[str]:
    """Every choice of a group of the runs' configuration, sorted."""
    files = [path for folder in config_folders() for path in (folder / group).glob("*.yaml")]
    return sorted({path.stem for path in files if path.is_file() and not path.name.endswith(PUBLISHED)})


def choice_file(group: str, name: str) -> Path | None:
    """The file of a choice; None where there is none."""
    paths = (folder / group / f"{name}.yaml" for folder in config_folders())
    return next((path for path in paths if path.is_file()), None)
