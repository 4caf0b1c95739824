"""The help of the training commands: a line for each choice, and the keys of a choice with their ranges.

It is read from YAML files and sources (`component_docs`): neither Hydra nor torch is imported.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill, shorten
from typing import Any

import yaml  # type: ignore[import-untyped]

from isda_bench.cli.component_docs import (
    Definition,
    argument_range,
    argument_text,
    definition,
    first_sentence,
)
from isda_bench.config.places import SHARED_GROUPS, configuration
from isda_bench.config.yaml_text import reason_of, yaml_text
from isda_bench.runtime.terminal import printable, printable_lines

WIDEST = 100  # characters of a line, also where the terminal has more
NARROWEST = 40
SECTIONS = {"schedule": "isda_bench.config.settings.TrainingRecipe"}
"""Group without a component -> the class that has its keys."""
HIDDEN = ("hydra", "tuned")
"""Groups that need a page of their own, or that are not chosen by hand."""


class NoSuchChoice(Exception):
    """The message lists the choices."""


class Unreadable(Exception):
    """A choice's file cannot be read, or names no class; the message says why."""


def help_page(command: str, arguments: list[str]) -> str:
    """The page for `--help` and the arguments beside it.

    Args:
        command: `train` or `generator`.
        arguments: beside `--help`: nothing for the overview, groups and `group=choice` for their pages.

    Raises:
        NoSuchChoice: one of them names no choice.
        Unreadable: a choice has no page.
    """
    folders = _folders(command, arguments)
    groups = _groups(folders)
    asked = [argument for argument in arguments if argument.partition("=")[0] in groups]
    if not asked:
        return _overview(folders, groups)
    pages = []
    for argument in asked:
        group, _, name = argument.partition("=")
        if not name:
            pages.append(_group_page(group, groups[group]))
        elif name in groups[group]:
            pages.append(_choice_page(group, groups[group][name]))
        else:
            raise NoSuchChoice(f"{argument}: no such {group}; there are: {', '.join(groups[group])}")
    return "\n\n".join(pages)


def _folders(command: str, arguments: list[str]) -> list[Path]:
    """The folders of YAML files: ours, and a user's own."""
    conf = configuration()
    own = [conf] if command == "train" else [conf.parent / "conf_generator", conf]
    line = " ".join(arguments)
    users = re.search(r"(?:--config-dir|-cd)[= ](\S+)", line)
    return [*own, *([Path(users[1])] if users else [])]


def _groups(folders: list[Path]) -> dict[str, dict[str, Path]]:
    """Group -> choice -> file; generators share some groups of conf/."""
    groups: dict[str, dict[str, Path]] = {}
    for folder in folders:
        shares_all = folder != configuration() or folder == folders[0]
        for path in sorted(folder.glob("*/*.yaml")):
            group = path.parent.name
            if group not in HIDDEN and (shares_all or group in SHARED_GROUPS):
                groups.setdefault(group, {}).setdefault(path.stem, path)
    return groups


def _overview(folders: list[Path], groups: dict[str, dict[str, Path]]) -> str:
    text = (folders[0] / "config.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    chosen = [entry for entry in content["defaults"] if isinstance(entry, dict)]
    defaults = {group: name for entry in chosen for group, name in entry.items()}
    parts = [str(content["hydra"]["help"]["header"]).rstrip()]
    parts.append("Groups: group=name chooses; --help group=name shows the keys of a choice.")
    for group in [
        *(group for group in defaults if group in groups),
        *sorted(groups.keys() - defaults.keys()),
    ]:
        parts.append(f"{_title(group, defaults.get(group))}\n{_lines(groups[group])}")
    keys = text.partition("\n\n")[2].partition("\nhydra:")[0].rstrip()
    parts.append("Keys: key=value sets one; a nested one by its dotted name.\n\n" + _indented(keys))
    flags = (
        "-m runs a grid: loss=cross_entropy,isda seed=0,1,2. --cfg job --resolve prints the resolved "
        "configuration. --hydra-help says more of the flags."
    )
    parts.append(fill(flags, text_width()))
    return "\n\n".join(parts)


def text_width() -> int:
    """Characters of a line that fit the terminal; WIDEST where there is none."""
    columns = shutil.get_terminal_size((WIDEST, 24)).columns
    return max(NARROWEST, min(WIDEST, columns))


def _title(group: str, default: object) -> str:
    return f"{group}  (default: {default})" if default else group


def _group_page(group: str, choices: dict[str, Path]) -> str:
    return f"{group}\n{_lines(choices)}"


def _lines(choices: dict[str, Path]) -> str:
    width = max(map(len, choices)) + 2
    contents: dict[str, dict[str, Any]] = {}
    broken: dict[str, str] = {}
    for name, path in choices.items():
        try:
            contents[name] = _content(path)
        except Unreadable as error:  # the other choices have their lines
            broken[name] = str(error).removeprefix(f"{path}: ")
    targets = [content.get("_target_") for content in contents.values()]
    return "\n".join(
        f"  {name:{width}}"
        + shorten(
            broken.get(name)
            or _description(path, contents[name], targets.count(contents[name].get("_target_")) > 1),
            text_width() - width - 2,
            placeholder=" ...",
        )
        for name, path in choices.items()
    )


def _description(path: Path, content: dict[str, Any], shared: bool) -> str:
    """The first sentence of a class's docstring; of the file's comment where choices share a class.

    An experiment's is the title of its table.
    """
    table = content.get("table")
    if isinstance(table, dict) and "title" in table:
        return str(table["title"])
    found = _component(content)
    comment = _comment(path)
    if found is None or not found.summary or (shared and comment):
        return comment
    values = [
        f"{key}={value}"
        for key, value in content.items()
        if shared and isinstance(value, int | float) and not isinstance(value, bool) and value
    ]
    return f"{', '.join(values)}: {found.summary}" if values else found.summary


def _component(content: dict[str, Any]) -> Definition | None:
    """The class that a choice makes."""
    target = content.get("_target_")
    return definition(target) if isinstance(target, str) else None


def _comment(path: Path) -> str:
    """The first sentence of the comment at the head of a file; a line that starts anew ends it too."""
    head: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#")
        if text == line or (head and re.match(r" [A-Z`]|   ", text)):
            break
        if not text.startswith(" @package"):
            head.append(text.strip())
    return first_sentence(" ".join(head))


def _choice_page(group: str, path: Path) -> str:
    """A choice's description, its class's docstring, and a paragraph for each key."""
    content = _content(path)
    found = _component(content)
    if found is None and "_target_" in content:
        raise Unreadable(f"{path}: _target_: should be the path of a class: no source of one is found")
    section = definition(SECTIONS[group]) if group in SECTIONS else None
    comment = _comment(path)
    about = (
        re.split(r"\n(?=(?:Args|Attributes|Raises|Returns):)", found.docstring)[0].strip() if found else ""
    )
    parts = [f"{group}={path.stem}", *(_prose(text) for text in (comment, about) if text)]
    described = found or section
    if described is None:
        return "\n\n".join([*parts, _indented(_body(path))])
    paragraphs = list(_keys(group, content, described, _comments(path)))
    return "\n\n".join([*parts, *(paragraphs or ["  It has no keys."])])


def _keys(group: str, content: dict[str, Any], found: Definition, comments: dict[str, str]) -> Iterator[str]:
    for key, value in content.items():
        if key in ("_target_", "defaults") or isinstance(value, dict):
            continue
        allowed = argument_range(found, key)
        text = argument_text(found, key) or comments.get(key, "")
        head = f"  {group}.{key}={_shown(value)}"
        beside = f"{head:36}  {allowed}" if allowed else head
        head = beside if len(beside) <= text_width() else f"{head}\n{_indented(f'    {allowed}')}"
        body = fill(text, text_width(), initial_indent="      ", subsequent_indent="      ")
        yield f"{head}\n{body}" if text else head


def _shown(value: object) -> str:
    """A value as a user types it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    return re.sub(r"^\$\{(.*)\}$", r"<\1>", str(value))


def _comments(path: Path) -> dict[str, str]:
    """Key -> the comment behind it."""
    found = re.findall(r"^(\w+):.*? # (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)


def _content(path: Path) -> dict[str, Any]:
    """The content of a choice's file.

    Raises:
        Unreadable: it cannot be read, or is no section.
    """
    try:
        content = yaml.safe_load(yaml_text(path)) or {}
    except Exception as error:  # YAML's are of many classes
        raise Unreadable(f"{path}: cannot be read: {reason_of(error)}") from error
    if not isinstance(content, dict):
        raise Unreadable(f"{path}: should be a section with keys")
    return {str(key): value for key, value in content.items()}


def _body(path: Path) -> str:
    """A file without its header."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("#")).strip()


def _indented(text: str) -> str:
    """The lines two columns to the right; one too long for the terminal continues further right."""
    lines = []
    for line in text.splitlines():
        margin = " " * (len(line) - len(line.lstrip()) + 6)
        lines.append(fill(line, text_width(), initial_indent="  ", subsequent_indent=margin))
    return "\n".join(line.rstrip() for line in lines)


def _prose(text: str) -> str:
    """Paragraphs of a docstring, broken for the terminal; what is indented in them keeps its lines."""
    parts = []
    for part in text.split("\n\n"):
        is_plain = not re.search(r"^(\s|[-*] )", part, re.MULTILINE)
        words = " ".join(part.split())
        filled = fill(words, text_width(), initial_indent="  ", subsequent_indent="  ")
        parts.append(filled if is_plain else _indented(part))
    return "\n\n".join(parts)


def print_help(command: str, arguments: list[str]) -> None:
    """Prints the page; exits with 2 where a requested choice does not exist or has no page."""
    try:
        print(printable_lines(help_page(command, arguments)))
    except (NoSuchChoice, Unreadable) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
