"""The text of a YAML file: a user's own file, or somebody else's, is bounded before it is parsed."""

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from isda_bench.runtime.atomic_files import read_file

LARGEST = 100_000
"""Values of a file, its repeated parts (`*name`) written out: nine levels of nine repetitions are endless."""
LARGEST_FILE = 10_000_000


def yaml_text(path: Path) -> str:
    """The text; YAML's parser ends on it within seconds.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is not UTF-8, too large, or has a part that contains itself or is endless.
        yaml.YAMLError: it is not YAML; without repeated parts that shows when it is parsed.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"larger than {LARGEST_FILE:,} bytes")
    text = read_file(path).decode()
    if text.count(",") + text.count("\n") > LARGEST:  # YAML's parser takes minutes for a million
        raise ValueError(f"more than {LARGEST:,} values")
    if "&" in text and "*" in text:  # parts may be repeated; parsing twice takes time
        _size(yaml.compose(text, yaml.SafeLoader), [], {})
    return text


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


def reason_of(error: Exception) -> str:
    """Why a file cannot be read, in a line."""
    if isinstance(error, RecursionError):
        return "too many levels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return (str(error).splitlines() or [type(error).__name__])[0]
