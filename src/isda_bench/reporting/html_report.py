"""The report: one HTML page that needs nothing but itself: answers, tables, claims, figures, every run."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from isda_bench.reporting.claims import FAILS, HOLDS, OPEN, Claim, chance_text
from isda_bench.reporting.class_errors import ClassErrors, class_errors
from isda_bench.reporting.durations import duration_text, moment_text
from isda_bench.reporting.gallery import Picture
from isda_bench.reporting.interactive import interactive
from isda_bench.reporting.questions import AnsweredQuestion
from isda_bench.reporting.report_cells import page_cells
from isda_bench.reporting.report_tables import page_table, shared_notes, signs
from isda_bench.reporting.table import Table
from isda_bench.runtime.terminal import printable_lines


def report(
    title: str,
    tables: Iterable[Table],
    claims: Iterable[Claim],
    pictures: Iterable[Picture],
    records: pd.DataFrame,
    left_out: Sequence[str] = (),
    questions: Sequence[AnsweredQuestion] = (),
) -> str:
    """The page; the same input gives the same page.

    Args:
        title: of the page.
        tables: in full where something has run, else by name.
        claims: of the paper; may be empty.
        pictures: in their order.
        records: of the runs that are listed, as `read_records` gives them; may be empty.
        left_out: what the page lacks, and why: damaged records, tables that cannot be made.
        questions: of the evidence, with their answers.
    """
    all_tables, all_claims = list(tables), list(claims)
    begun = [table for table in all_tables if table.has_runs]
    shared = shared_notes(begun)
    by_class = _by_class(records)
    seen: set[str] = set()
    only = all_tables[0] if len(all_tables) == 1 else None  # labels of several tables may differ
    groups = page_cells(records, by_class, only.method_labels if only else {}, only.labels if only else {})
    return (
        _environment()
        .get_template("html_report.html.jinja")
        .render(
            title=title,
            tables=[page_table(table, set(shared), by_class, seen) for table in begun],
            shared_notes=[signs(note) for note in shared],
            not_begun=[table for table in all_tables if not table.has_runs],
            claims=all_claims,
            verdicts=_verdicts(all_claims),
            chance_text=chance_text,
            questions=questions,
            answered=_counted(question.verdict for question in questions),
            hash_source=_hash_source,
            groups=groups,
            cell_count=sum(len(group["cells"]) for group in groups),
            runs=len(records),
            left_out=list(left_out),
            **_figures(pictures),
            **_extent(records),
        )
    )


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("isda_bench.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    """Text without control characters; Jinja then escapes it. Markup is escaped where it was made."""
    return printable_lines(value) if type(value) is str else value


def _hash_source(text: str) -> Markup:
    """The source expression of a Content-Security-Policy that allows an element with this content alone."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(f"'sha256-{digest}'")


def _figures(pictures: Iterable[Picture]) -> dict[str, Any]:
    """The figures, and the methods that several of them explain."""
    drawn = [_picture(picture, f"figure-{i}") for i, picture in enumerate(pictures, 1)]
    return {"pictures": drawn, "explained": _shared_entries(drawn)}


def _counted(verdicts: Iterable[str]) -> str:
    """'2 yes, 1 undecided'."""
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(verdicts).items())


def _extent(records: pd.DataFrame) -> dict[str, Any]:
    """When the newest run ended, and how long all of them trained."""
    newest = max((record.get("ended") or "" for record in records["record"]), default="")
    trained = duration_text(sum(records["seconds"])) if len(records) else ""
    return {"newest": moment_text(newest) if newest else "", "trained": trained}


def _verdicts(claims: list[Claim]) -> str:
    """'1 holds, 4 are undecided'."""
    counts = Counter(claim.verdict for claim in claims)
    words = {HOLDS: ("holds", "hold"), FAILS: ("does not hold", "do not hold")}
    words[OPEN] = ("is undecided", "are undecided")
    return ", ".join(
        f"{counts[verdict]} {one if counts[verdict] == 1 else several}"
        for verdict, (one, several) in words.items()
        if counts[verdict]
    )


def _by_class(records: pd.DataFrame) -> dict[str, ClassErrors]:
    """Cell -> errors by class, where its runs have recorded them."""
    found = {cell: class_errors(runs["record"], runs["path"]) for cell, runs in records.groupby("cell")}
    return {str(cell): errors for cell, errors in found.items() if errors is not None}


def _shared_entries(pictures: list[dict[str, Any]]) -> dict[str, Markup]:
    """The entries that the legends of several pictures share, taken out of them: the page has them once."""
    counts = Counter(label for picture in pictures for label in picture["explained"])
    shared = {
        label: s for picture in pictures for label, s in picture["explained"].items() if counts[label] > 1
    }
    for picture in pictures:
        picture["explained"] = {label: s for label, s in picture["explained"].items() if label not in shared}
    return shared


def _picture(picture: Picture, name: str) -> dict[str, Any]:
    drawn = interactive(picture.figure, name)
    return {
        "caption": picture.caption,
        "panels": [{"svg": Markup(panel.drawing.svg), "data": panel.data} for panel in drawn.panels],
        "curves": [{"label": curve.label, "sample": Markup(curve.sample.svg)} for curve in drawn.curves],
        "explained": {note.label: Markup(note.sample.svg) for note in drawn.explained},
        "labels": json.dumps([curve.label for curve in drawn.curves]),
        "css": Markup(drawn.css),  # svg and css are escaped where they were made
    }
