"""An experiment's table as the page shows it: its answer, its rows by setting, planned rows folded."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from isda_bench.reporting.answers import answers, headline, setting_text
from isda_bench.reporting.class_errors import ClassErrors
from isda_bench.reporting.columns import MISSING, text_rows
from isda_bench.reporting.constant_columns import without_constants
from isda_bench.reporting.table import Table, TableRow
from isda_bench.reporting.table_notes import notes_of

PLACES = ("data set", "network", "augmentation", "training images", "images drawn")
"""Columns that say where a row stands: its setting."""
METHOD = "method"
FEW_ANSWERS = 6
"""Comparisons that are listed openly."""
FEW_CLASSES = 10
"""Classes that are compared between methods."""


def page_table(
    table: Table, shared: set[str], by_class: Mapping[str, ClassErrors], seen: set[str]
) -> dict[str, Any]:
    """The template's variables about a table with runs.

    Args:
        table: with at least one finished run.
        shared: notes that the page has once for all tables.
        by_class: cell -> errors by class, where its runs have recorded them.
        seen: cells whose classes an earlier table has compared; those of this one are added.
    """
    begun = [bool(line.errors or line.unfinished) for line in table.lines]
    folded = [line for line, own in zip(table.lines, begun, strict=True) if not own]
    found = answers(table)
    return {
        "name": table.name,
        "title": table.title or table.name,
        "headline": headline(table),
        "kind": found[0].kind if len(found) == 1 else "",
        "answers": found if len(found) > 1 else [],
        "few": len(found) <= FEW_ANSWERS,
        **_rows(table, begun),
        "planned": _by_setting(table, folded),
        "planned_count": len(folded),
        "notes": [signs(note) for note in _gathered(_notes(table)) if note not in shared],
        "finished": table.finished,
        "wanted": table.wanted,
        "classes": _class_tables(table, by_class, seen),
    }


def shared_notes(tables: Iterable[Table]) -> list[str]:
    """Notes that several tables have: the page has them once."""
    counts = Counter(note for table in tables for note in notes_of(table) if not note.startswith("["))
    return [note for note, count in counts.items() if count > 1]


def signs(text: str) -> str:
    """A real plus-minus sign; a dash for what is missing."""
    text = text.replace("+-", "±")
    return text.replace(MISSING, "–") if text.startswith(MISSING) else text


def _notes(table: Table) -> list[str]:
    """The table's notes, and the conditions in which the runs of a line differ."""
    conditions = {line.method: replace(line, note="").remark for line in table.lines if line.errors}
    return notes_of(table) + [f"{method}: {text}." for method, text in conditions.items() if text]


def _gathered(notes: list[str]) -> list[str]:
    """The notes; several that say one thing of different settings ('lq, resnet8: ...') are one."""
    saying: dict[str, list[str]] = {}
    for note in notes:
        subject, colon, text = note.partition(": ")
        saying.setdefault(text if colon else note, []).append(subject)
    found = []
    for text, subjects in saying.items():
        whole = [note for note in notes if note.endswith(text)]
        found += (
            whole[:1] if len(subjects) == 1 else [f"{text[0].upper()}{text[1:-1]}: {'; '.join(subjects)}."]
        )
    return found


def _rows(table: Table, begun: list[bool]) -> dict[str, Any]:
    """Caption, header and rows by setting: the caption says what all rows share, a heading what a group does.

    The method's column comes first: it stays in sight while the others scroll.
    """
    header, *rows = text_rows(table)
    for line, row in zip(table.lines, rows, strict=True):
        row[header.index(METHOD)] = ", ".join(filter(None, (line.method, line.note)))
    own = [row for row, wanted in zip(rows, begun, strict=True) if wanted]
    parted = without_constants(header, own, PLACES)
    places = [name for name in parted.header if name in PLACES]
    columns = [METHOD, *(name for name in parted.header if name not in (*PLACES, METHOD))]
    columns = [name for name in columns if any(row[header.index(name)] for row in own)]
    groups: dict[str, list[list[str]]] = {}
    for row in own:
        at = dict(zip(header, row, strict=True))
        heading = ", ".join(_place(name, at[name]) for name in places if at[name])
        groups.setdefault(heading, []).append([signs(at[name]) for name in columns])
    caption = ", ".join(_place(name, text) for name, text in parted.constants)
    return {"caption": caption, "header": columns, "groups": list(groups.items())}


def _place(column: str, text: str) -> str:
    """'network resnet8', '1,000 training images'."""
    return f"{text} {column}" if column == "training images" else f"{column} {text}"


def _by_setting(table: Table, lines: list[TableRow]) -> list[dict[str, str]]:
    """The methods of each setting that are planned and have no run."""
    methods: dict[str, list[str]] = {}
    for line in lines:
        methods.setdefault(setting_text(table, line), []).append(line.method)
    return [{"setting": setting, "methods": ", ".join(names)} for setting, names in methods.items()]


def _class_tables(table: Table, by_class: Mapping[str, ClassErrors], seen: set[str]) -> list[dict[str, Any]]:
    """For each setting whose runs have recorded them: the errors of the worst classes by method."""
    settings: dict[str, list[TableRow]] = {}
    for line in table.lines:
        if line.errors and line.cell in by_class:
            settings.setdefault(setting_text(table, line), []).append(line)
    new = {setting: lines for setting, lines in settings.items() if {line.cell for line in lines} - seen}
    seen.update(line.cell for lines in settings.values() for line in lines)
    return [
        _class_table(setting, {line.method: by_class[line.cell] for line in lines})
        for setting, lines in new.items()
    ]


def _class_table(setting: str, known: dict[str, ClassErrors]) -> dict[str, Any]:
    first = next(iter(known.values()))
    alike = {method: each for method, each in known.items() if len(each.names) == len(first.names)}
    rows = [
        [first.names[c], *(f"{each.errors[c]:.1f}" for each in alike.values())]
        for c in first.worst(FEW_CLASSES)
    ]
    return {"setting": setting, "header": ["class", *alike], "rows": rows, "count": len(first.names)}
