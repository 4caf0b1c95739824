"""Reads a YAML file: one that cannot be read is one error that names it, a user's file too."""

from io import StringIO
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import Container, OmegaConf

from isda_bench.errors import ConfigError

LARGEST = 100_000
"""Values of a file, its repeated parts (`*name`) written out: nine levels of nine repetitions are endless."""
LARGEST_FILE = 10_000_000


def read_yaml(path: Path) -> Container:
    """What a YAML file holds.

    Raises:
        ConfigError: it cannot be read, is not YAML, or has a part that contains itself or is endless.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"larger than {LARGEST_FILE:,} bytes")
        text = path.read_text(encoding="utf-8")
        if text.count(",") + text.count("\n") > LARGEST:  # YAML's parser takes minutes for a million
            raise ValueError(f"more than {LARGEST:,} values")
        if "&" in text and "*" in text:  # parts may be repeated; parsing twice takes time
            _size(yaml.compose(text, yaml.SafeLoader), [], {})
        content: Container = OmegaConf.load(StringIO(text))
    except Exception as error:  # YAML's and OmegaConf's are of many classes
        raise ConfigError([f"{path}: cannot be read: {_reason(error)}"]) from error
    return content


def _size(node: Any, around: list[int], sizes: dict[int, int]) -> int:
    """Values in a node, its repeated parts written out.

    Args:
        node: of a YAML document.
        around: id of each node that it lies in.
        sizes: id -> size of the nodes that were counted already; they are added to it.

    Raises:
        ValueError: it contains itself, or is endless.
    """
    if id(node) in around:
        raise ValueError("a part of it contains itself")
    if id(node) not in sizes:
        pairs = node.value if isinstance(node, yaml.CollectionNode) else []
        items = [item for pair in pairs for item in (pair if isinstance(pair, tuple) else [pair])]
        sizes[id(node)] = 1 + sum(_size(item, [*around, id(node)], sizes) for item in items)
    if sizes[id(node)] > LARGEST:
        raise ValueError(f"more than {LARGEST:,} values")
    return sizes[id(node)]


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "too many levels"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return (str(error).splitlines() or [type(error).__name__])[0]
