"""Hydra's search path: conf/, groups that generators share with classifiers, a user's folder.

Hydra parses a file anew for each configuration that it composes, in pure Python. Here each is parsed once.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import Container, DictConfig, OmegaConf

from isda_bench.config.folders import PUBLISHED, users_folders
from isda_bench.config.places import SHARED_GROUPS
from isda_bench.config.run_config import CONF, GENERATOR_CONF
from isda_bench.config.yaml_files import read_yaml

EMPTY = "_empty_"
"""A hidden choice of each of our groups, without content: its section has only the other files' keys."""


class YamlFiles(ConfigSource):
    """The YAML files of a folder, each parsed once."""

    @staticmethod
    def scheme() -> str:
        """How its paths begin."""
        return "yaml"

    def load_config(self, config_path: str) -> ConfigResult:
        """A file's content, which the caller may change.

        Raises:
            ConfigLoadError: there is no such file.
            ConfigError: it cannot be read.
        """
        path = self._file(config_path)
        if not self.is_config(config_path):
            raise ConfigLoadError(f"Config not found : {path}")
        header, content = ("", OmegaConf.create()) if path.stem == EMPTY else parsed(path)
        return ConfigResult(
            provider=self.provider,
            path=self.full_path(),
            config=deepcopy(content),
            header=self._get_header_dict(header),
        )

    def available(self) -> bool:
        """Whether the folder exists."""
        return Path(self.path).is_dir()

    def is_group(self, config_path: str) -> bool:
        """Whether it is a folder of choices."""
        return _is_there(Path.is_dir, Path(self.path, config_path))

    def is_config(self, config_path: str) -> bool:
        """Whether it is a file, with or without its `.yaml`."""
        path = self._file(config_path)
        return _is_there(Path.is_file, path) or (path.stem == EMPTY and _is_there(Path.is_dir, path.parent))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Names of groups and choices below `config_path`."""
        found: list[str] = []
        names = sorted(path.name for path in Path(self.path, config_path).iterdir())
        for name in (name for name in names if not name.endswith(PUBLISHED)):
            self._list_add_result(found, f"{config_path}/{name}".lstrip("/"), name, results_filter)
        return sorted(set(found))

    def _file(self, config_path: str) -> Path:
        return Path(self.path, self._normalize_file_name(config_path))


class SharedGroups(YamlFiles):
    """`SHARED_GROUPS` of a folder."""

    @staticmethod
    def scheme() -> str:
        """How its paths begin."""
        return "shared"

    def is_group(self, config_path: str) -> bool:
        """Whether it is a folder of choices, of a shared group."""
        return _is_shared(config_path) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        """Whether it is a choice of a shared group."""
        return _is_shared(config_path) and super().is_config(config_path)


class OwnFolders(SearchPathPlugin):
    """Has Hydra read our folders through `YamlFiles`, and adds those that belong to them."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra for each search path that it makes; changes only our own."""
        for element in search_path.get_path():
            path = str(element.path).removeprefix("file://")
            if element.provider == "main" and path in (str(CONF), str(GENERATOR_CONF)):
                element.path = f"yaml://{path}"
                if path == str(GENERATOR_CONF):
                    search_path.append("isda_bench", f"shared://{CONF}")
                for folder in users_folders():
                    search_path.append("command-line", f"yaml://{folder}")
                return


def _is_there(kind: Callable[[Path], bool], path: Path) -> bool:
    try:
        return kind(path)
    except OSError:  # a typed name can be too long for a path
        return False


def _is_shared(config_path: str) -> bool:
    return not config_path or config_path.partition("/")[0] in SHARED_GROUPS


def choices(group: str) -> list[str]:
    """The names that can be chosen from a group. Within `hydra_context`."""
    loader = GlobalHydra.instance().config_loader()
    return [str(name) for name in loader.get_group_options(group, ObjectType.CONFIG)]


def is_group(key: str) -> bool:
    """Whether the search path has a group of this name, other than Hydra's own. Within `hydra_context`."""
    sources = GlobalHydra.instance().config_loader().get_sources()
    ours = [source for source in sources if source.provider != "hydra"]
    return key.partition("/")[0] != "hydra" and any(source.is_group(key) for source in ours)


def content_of(group: str, name: str | None) -> DictConfig:
    """The content of a choice's file, empty where it has none. Within `hydra_context`."""
    for source in GlobalHydra.instance().config_loader().get_sources():
        if name and source.is_config(f"{group}/{name}"):
            content = source.load_config(f"{group}/{name}").config
            return content if isinstance(content, DictConfig) else OmegaConf.create()
    return OmegaConf.create()


def parsed(path: Path) -> tuple[str, Container]:
    """The beginning of a file, where its package is named, and its content: not to be changed.

    Raises:
        ConfigError: it cannot be read.
    """
    return _parsed(path, path.stat().st_mtime_ns)


@cache
def _parsed(path: Path, changed: int) -> tuple[str, Container]:
    """As `parsed`, once for each time `changed` of a file."""
    content = read_yaml(path)
    return path.read_text(encoding="utf-8")[:512], content


for plugin in (YamlFiles, SharedGroups, OwnFolders):
    Plugins.instance().register(plugin)
