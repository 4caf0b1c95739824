"""The reference of groups and keys, as Markdown: made from conf/ and the classes that its files name."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.utils import get_class
from pydantic import TypeAdapter

CONF = Path(__file__).resolve().parents[1] / "conf"
GROUPS = {
    "model": "The network. Each choice brings its schedule.",
    "dataset": "The images.",
    "loss": "The loss.",
    "augment": "What is done to the images of a training batch.",
    "generator": "Generated images in a training batch.",
    "schedule": "Epochs, batch size and learning rate: the paper's Table 1. The model chooses it.",
    "method": "A row of the paper's comparison: sets loss, generator and dropout together.",
    "experiment": "A whole table.",
    "optimizer": "How the weights are updated.",
    "logger": "Where metrics are sent beside the run's own files.",
    "hydra/launcher": "Where the runs of a grid are trained.",
}
TITLES_ONLY = ("method", "experiment")
WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


class Choice(NamedTuple):
    """A file of a group."""

    name: str
    comment: str
    """Its first comment lines, or those of its class."""
    target: str | None
    values: dict[str, Any]
    notes: dict[str, str]
    """Key -> the comment beside it."""


def reference() -> str:
    """All groups, then the keys outside of them."""
    defaults = {
        name: value
        for entry in yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
        if isinstance(entry, dict)
        for name, value in entry.items()
    }
    found = sorted(path.relative_to(CONF).as_posix() for path in CONF.iterdir() if path.is_dir())
    names = [*GROUPS, *(name for name in found if name not in (*GROUPS, "hydra"))]
    sections = [_group(name, defaults.get(name)) for name in names if (CONF / name).is_dir()]
    return "\n\n".join([*sections, _other_keys()])


def _group(name: str, default: str | None) -> str:
    choices = [_choice(path) for path in sorted((CONF / name).glob("*.yaml"), key=_natural)]
    listed = [c for c in choices if name != "experiment" or not _is_part(c.name, choices)]
    rows = [
        [
            ", ".join(
                _code(c.name) + " *default*" * (c.name == default) for c in listed if c.comment == text
            ),
            text,
        ]
        for text in dict.fromkeys(c.comment for c in listed)
    ]
    parts = [f"## {name}", GROUPS.get(name, ""), _table(["choice", "what it is"], rows)]
    if name not in TITLES_ONLY:
        parts += _keys_of_classes(name, choices)
    return "\n\n".join(part for part in parts if part)


def _natural(path: Path) -> list[Any]:
    """Sorts resnet8 before resnet20."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.stem)]


def _is_part(name: str, choices: list[Choice]) -> bool:
    """Whether a file is the second part of an experiment, as comparison_wgan is of comparison."""
    return any(name.startswith(f"{other.name}_") for other in choices)


def _keys_of_classes(group: str, choices: list[Choice]) -> Iterator[str]:
    for target in dict.fromkeys(choice.target for choice in choices):
        members = [choice for choice in choices if choice.target == target]
        keys = list(dict.fromkeys(key for c in members for key in c.values))
        if keys:
            names = ", ".join(_code(choice.name) for choice in members)
            yield f"### {group}: {names}"
            yield from _tables_of_keys(group, members, keys, target)


def _tables_of_keys(group: str, members: list[Choice], keys: list[str], target: str | None) -> Iterator[str]:
    documents = _arguments(target)
    types = _types(target)
    same = {key for key in keys if len({str(choice.values.get(key)) for choice in members}) == 1}
    prefix = group.replace("/", ".")
    yield _table(
        ["key", "default", "values", "meaning"],
        [
            [
                _code(f"{prefix}.{key}"),
                _code(_shown(members[0].values[key])) if key in same else "by choice",
                types.get(key, ""),
                _meaning(documents.get(key, ""), next((c.notes[key] for c in members if key in c.notes), "")),
            ]
            for key in keys
        ],
    )
    differing = [key for key in keys if key not in same]
    if differing:
        rows = [[_code(c.name), *(_code(_shown(c.values.get(key))) for key in differing)] for c in members]
        yield _table(["choice", *differing], rows)


def _choice(path: Path) -> Choice:
    text = path.read_text()
    content = yaml.safe_load(text) or {}
    comments = [line[2:] for line in text.splitlines() if line.startswith("# ") and "@package" not in line]
    comments = [content["table"]["title"]] if "table" in content else comments
    target = content.get("_target_")
    summary = comments[0] if comments else _summary(target)
    values = {key: value for key, value in content.items() if key not in ("_target_", "defaults")}
    return Choice(path.stem, summary, target, values, _notes(text))


def _notes(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+): .*? # (.*)$", text, re.MULTILINE))


def _other_keys() -> str:
    text = (CONF / "config.yaml").read_text().split("\nhydra:")[0]
    rows, section = [], ""
    for line in text[text.index("\nseed:") :].splitlines():
        read = re.match(r"( *)(\w+):(?: ([^#]*))?(?:# (.*))?$", line)
        if read is None:
            continue
        indent, key, value, note = read.groups()
        if not (value or "").strip():
            section = f"{key}."
            continue
        name = f"{section}{key}" if indent else key
        rows.append([_code(name), _code((value or "").strip()), note or ""])
    return "\n\n".join(["## Other keys", _table(["key", "default", "meaning"], rows)])


def _class(target: str | None) -> Any:
    return get_class(target) if target is not None and target.startswith("isda_bench.") else None


def _summary(target: str | None) -> str:
    document = inspect.getdoc(_class(target)) or "" if _class(target) else ""
    return " ".join(document.split("\n\n")[0].split())


def _arguments(target: str | None) -> dict[str, str]:
    """Argument -> its text in the docstring of the class and of those that it extends."""
    found: dict[str, str] = {}
    for owner in reversed(_class(target).__mro__) if _class(target) else ():
        document = inspect.cleandoc(owner.__dict__.get("__doc__") or "")
        section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", document, re.DOTALL | re.MULTILINE)
        for names, text in re.findall(
            r"^    (\w[\w, ]*): (.*?)(?=^    \w|\Z)", section[1] if section else "", re.DOTALL | re.MULTILINE
        ):
            found |= {name.strip(): " ".join(text.split()) for name in names.split(",")}
    return {name: text for name, text in found.items() if not text.startswith("as in `")}


def _types(target: str | None) -> dict[str, str]:
    if _class(target) is None:
        return {}
    signature = inspect.signature(_class(target).__init__, eval_str=True)
    return {
        name: _words(TypeAdapter(parameter.annotation).json_schema())
        for name, parameter in signature.parameters.items()
        if parameter.annotation is not parameter.empty and name != "self"
    }


def _words(schema: dict[str, Any]) -> str:
    """A JSON schema in words, as "number, ≥ 0, < 1, or null"."""
    if "anyOf" in schema:
        return ", or ".join(_words(option) for option in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(_code(value) for value in schema["enum"])
    if "const" in schema:
        return _code(schema["const"])
    if schema.get("type") == "array":
        return f"list of: {_words(schema.get('items', {}))}"
    kind = schema.get("type", "")
    limits = [f"{sign} {schema[limit]:g}" for limit, sign in LIMITS.items() if limit in schema]
    return ", ".join([WORDS.get(kind, kind), *limits])


def _meaning(document: str, note: str) -> str:
    return "; ".join(part.rstrip(".") for part in (document, note) if part)


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _code(text: Any) -> str:
    return f"`{text}`"


def _cell(text: str) -> str:
    """A table's cell: `<file>` outside of code is no HTML."""
    text = re.sub("`[^`]*`|<", lambda found: "&lt;" if found[0] == "<" else found[0], text)
    return text.replace("|", "\\|")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
