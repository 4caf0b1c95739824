"""Reads a YAML file: one that cannot be read is one error that names it, a user's file too."""

from io import StringIO
from pathlib import Path

from omegaconf import Container, OmegaConf

from isda_bench.config.yaml_text import reason_of, yaml_text
from isda_bench.errors import ConfigError


def read_yaml(path: Path) -> Container:
    """The content of a YAML file.

    Raises:
        ConfigError: it cannot be read, is not YAML, or has a part that contains itself or is endless.
    """
    try:
        text = yaml_text(path)
        content: Container = OmegaConf.load(StringIO(text))
    except Exception as error:  # YAML's and OmegaConf's are of many classes
        raise ConfigError([f"{path}: cannot be read: {reason_of(error)}"]) from error
    return content
