"""The documentation in a component's source: docstring, arguments, their ranges. Read from the syntax tree.

Nothing is imported: the page of a loss is there before torch would be.
"""

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import isda_bench

TYPES = {
    "int": "integer",
    "float": "number",
    "bool": "true or false",
    "str": "text",
    "None": "null",
    "Any": "",
    "PositiveInt": "integer > 0",
    "NonNegativeInt": "integer >= 0",
    "PositiveFloat": "number > 0",
    "NonNegativeFloat": "number >= 0",
}
"""Annotation -> the values that a user may give."""
BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
MOST_STEPS = 8
"""From a name to its definition, through imports and base classes."""


@dataclass(frozen=True)
class Definition:
    """A class, a function or a type that has a name.

    Attributes:
        node: its syntax tree; of a type the annotation.
        file: where it is.
    """

    node: ast.AST
    file: Path

    @property
    def docstring(self) -> str:
        """Its docstring; empty where it has none."""
        if not isinstance(self.node, ast.ClassDef | ast.FunctionDef):
            return ""
        return ast.get_docstring(self.node) or ""

    @property
    def summary(self) -> str:
        """The first sentence of the docstring; of the module's where that is a formula."""
        sentence = first_sentence(self.docstring)
        return first_sentence(ast.get_docstring(_tree(self.file)) or "") if " = " in sentence else sentence


def first_sentence(text: str) -> str:
    """The first sentence of a text, without its full stop; the one of "et al." does not end it."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"\.(?= [A-Z]|$)", paragraph)[0]


def definition(target: str) -> Definition | None:
    """The class or function that `_target_` names; None where its source is not found.

    Args:
        target: dotted path.
    """
    module, _, name = target.rpartition(".")
    file = _file(module)
    return _named(name, file) if file else None


def argument_text(found: Definition, name: str) -> str:
    """An argument's text in the docstring, its own or that of a base class."""
    classes = list(_ancestry(found))
    for one in classes:
        text = _documented(one.docstring).get(name, "")
        referred = re.match(r"as in `(\w+)`", text)
        others = [_named(referred[1], other.file) for other in classes] if referred else []
        meant = next((other for other in others if other is not None and other.node is not one.node), None)
        text = (argument_text(meant, name) if meant else "") or text
        if text:
            return text
    return ""


def argument_range(found: Definition, name: str) -> str:
    """The range of an argument in words; of several classes the narrowest."""
    ranges = [
        words(annotation, one.file)
        for one in _ancestry(found)
        if (annotation := _annotations(one.node).get(name)) is not None
    ]
    bounded = [text for text in ranges if re.search(r"[<>\[]|one of", text)]
    return (bounded or ranges or [""])[0]


def words(annotation: ast.AST, file: Path) -> str:
    """An annotation in words: `Annotated[float, Field(ge=0, lt=1)] | None` -> number in [0, 1), or null."""
    match annotation:
        case ast.Constant(value=None):
            return "null"
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return f"{words(left, file)}, or {words(right, file)}"
        case ast.Name(id=name) if name in TYPES:
            return TYPES[name]
        case ast.Name(id=name):
            named = _named(name, file)
            is_type = named is not None and not isinstance(named.node, ast.ClassDef | ast.FunctionDef)
            return words(named.node, named.file) if named and is_type else name
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return "one of " + ", ".join(map(_plain, _elements(choices)))
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[kind, *notes])):
            return _bounded(words(kind, file), [note for note in notes if isinstance(note, ast.Call)])
        case ast.Subscript(value=ast.Name(id="list" | "tuple" | "Sequence"), slice=kinds):
            parts = [words(kind, file) for kind in _elements(kinds) if _plain(kind) != "Ellipsis"]
            return f"list of {', '.join(dict.fromkeys(parts))}"
    return ast.unparse(annotation)


def _bounded(kind: str, notes: list[ast.Call]) -> str:
    bounds = {
        keyword.arg: _plain(keyword.value)
        for note in notes
        for keyword in note.keywords
        if keyword.arg in BOUNDS
    }
    lower = next((key for key in ("ge", "gt") if key in bounds), None)
    upper = next((key for key in ("le", "lt") if key in bounds), None)
    if lower and upper:
        brackets = "[("[lower == "gt"], "])"[upper == "lt"]
        return f"{kind} in {brackets[0]}{bounds[lower]}, {bounds[upper]}{brackets[1]}"
    return " ".join([kind, *(f"{BOUNDS[key]} {value}" for key, value in bounds.items() if key)])


def _plain(node: ast.AST) -> str:
    """A constant as a user types it."""
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else ast.unparse(node)


def _elements(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _documented(docstring: str) -> dict[str, str]:
    """Name -> text of each entry below `Args:` or `Attributes:`."""
    section = re.search(r"^(?:Args|Attributes):\n((?: {4}.*\n?|\n)+)", docstring, re.MULTILINE)
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in section[1].splitlines() if section else []:
        entry = re.match(r" {4}([\w, *]+): ?(.*)", line)
        if entry and not line.startswith("     "):
            names = [name.strip(" *") for name in entry[1].split(",")]
            texts |= dict.fromkeys(names, entry[2])
        else:
            texts |= {name: f"{texts[name]} {line.strip()}".strip() for name in names}
    return texts


def _annotations(node: ast.AST) -> dict[str, ast.expr]:
    """Name -> annotation of the arguments of a function or constructor, or of a pydantic section's keys."""
    body = node.body if isinstance(node, ast.ClassDef) else []
    keys = {
        part.target.id: part.annotation
        for part in body
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    }
    constructors = [part for part in body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    for function in [node] if isinstance(node, ast.FunctionDef) else constructors:
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        keys |= {argument.arg: argument.annotation for argument in arguments if argument.annotation}
    return keys


def _ancestry(found: Definition) -> Iterator[Definition]:
    """The definition, and the classes that it is derived from, nearest first."""
    for _ in range(MOST_STEPS):
        yield found
        bases = found.node.bases if isinstance(found.node, ast.ClassDef) else []
        base = _named(bases[0].id, found.file) if bases and isinstance(bases[0], ast.Name) else None
        if base is None:
            return
        found = base


def _named(name: str, file: Path, steps: int = MOST_STEPS) -> Definition | None:
    """The definition of a name in a file, followed through its imports."""
    for node in _tree(file).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return Definition(node, file)
        if isinstance(node, ast.Assign) and any(_plain(target) == name for target in node.targets):
            return Definition(node.value, file)
        if isinstance(node, ast.ImportFrom) and steps:
            for alias in node.names:
                source = _file(node.module or "") if (alias.asname or alias.name) == name else None
                if source is not None:
                    return _named(alias.name, source, steps - 1)
    return None


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _file(module: str) -> Path | None:
    """The source of a module; only the first part of its name is looked up in the usual way."""
    first, *rest = module.split(".")
    if first == isda_bench.__name__:
        root: Path | None = Path(isda_bench.__file__).parent
    else:
        root = _root(first)
    if root is None:
        return None
    path = root.joinpath(*rest)
    candidates = [path / "__init__.py", path.with_suffix(".py")] if rest else [path / "__init__.py", path]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _root(name: str) -> Path | None:
    """The folder of a package, or the file of a module, of other people."""
    beside = Path.cwd()
    if str(beside) not in sys.path:
        for path in (beside / name, beside / f"{name}.py"):
            if (path / "__init__.py").is_file() or path.is_file():
                return path
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin
