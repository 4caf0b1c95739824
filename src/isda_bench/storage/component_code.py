"""A checksum of the code of a run's components, so that a finished run whose loss was edited is noticed.

It covers the syntax trees, without docstrings, comments and imports, of the component's module and of the
modules of its own package that it imports: a file may be moved or formatted anew, and the rest of the
framework may change.
"""

import ast
import hashlib
import json
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OURS = "isda_bench"
SECTIONS = ("dataset", "model", "loss", "augment")
SECTIONS_OF_GENERATORS = ("dataset", "generator")
WITHOUT_MEANING = ("ctx", "kind", "type_comment")


def component_code(config: dict[str, Any]) -> dict[str, str]:
    """Section -> checksum of its component's code; without sections whose source cannot be read.

    Args:
        config: of the user's own command line: the packages of its components are imported.
    """
    sections = SECTIONS if "loss" in config else SECTIONS_OF_GENERATORS
    found = {section: code_of(config[section]["_target_"].rpartition(".")[0]) for section in sections}
    return {section: checksum for section, checksum in found.items() if checksum is not None}


def changed_sections(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The sections whose code differs; sections in only one of them do not count."""
    return [section for section in now if before.get(section, now[section]) != now[section]]


def code_of(module: str) -> str | None:
    """SHA-256 of the code of a module and of those of its own package that it imports; None without source.

    The own package of a module of isda_bench is the one in which it lies (isda_bench.losses); that of another
    module is everything below its first name.
    """
    package = module.rpartition(".")[0] if is_ours(module) else module.partition(".")[0]
    codes: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        source = _source(name)
        if name in codes or source is None:
            continue
        codes[name], imported = _parsed(source, name, source.stat().st_mtime_ns)
        waiting += [other for other in imported if other == package or other.startswith(f"{package}.")]
    if module not in codes:
        return None
    return hashlib.sha256(json.dumps(sorted(codes.values())).encode()).hexdigest()


def is_ours(module: str) -> bool:
    """Whether it is a module of isda_bench."""
    return module.partition(".")[0] == OURS


def _source(module: str) -> Path | None:
    """The module's file; None where there is no such module or no source."""
    spec = _spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _spec(module: str) -> ModuleSpec | None:
    """The spec of a module. Of a module in a package only the packages are imported."""
    package = module.rpartition(".")[0]
    around = _spec(package) if package else None
    if package and (around is None or around.submodule_search_locations is None):
        return None  # a function or a class: `find_spec` would import the module that has it
    try:
        return find_spec(module)
    except (ImportError, ValueError):
        return None


@cache
def _parsed(source: Path, module: str, changed: int) -> tuple[str, tuple[str, ...]]:
    """The module's code as text, and the names that it imports, which may be modules.

    Args:
        source: the module's file.
        module: its name.
        changed: when the file was last changed.
    """
    tree = ast.parse(source.read_bytes())
    package = module if source.name == "__init__.py" else module.rpartition(".")[0]
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            words = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*words, *([node.module] if node.module else [])])
            names += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    return json.dumps(_plain(tree)), tuple(dict.fromkeys(names))


def _plain(node: Any) -> Any:
    """The tree in lists and text, the same for every version of Python."""
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if name not in WITHOUT_MEANING)
        return [type(node).__name__, *([name, _plain(v)] for name, v in fields if v is not None and v != [])]
    if isinstance(node, list):
        return [_plain(item) for item in node if not _without_effect(item)]
    return repr(node)


def _without_effect(node: Any) -> bool:
    """Whether it is an import or a text that stands for itself: a docstring."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
