"""The report: one HTML page that needs nothing but itself, with tables, claims, figures and every run."""

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from omegaconf import OmegaConf

from isda_bench.reporting.claims import Claim, chance_text
from isda_bench.reporting.columns import MISSING, mean_and_std, text_rows
from isda_bench.reporting.figures.files import drawing
from isda_bench.reporting.gallery import Picture
from isda_bench.reporting.table import Table
from isda_bench.reporting.table_notes import notes_of
from isda_bench.runtime.terminal import printable_lines


def report(
    title: str,
    tables: Iterable[Table],
    claims: Iterable[Claim],
    pictures: Iterable[Picture],
    records: pd.DataFrame,
) -> str:
    """The page; the same input gives the same page.

    Args:
        title: of the page.
        tables: in full where something has run, else by name.
        claims: of the paper; may be empty.
        pictures: in their order.
        records: of the runs that are listed, as results.read_records gives them.
    """
    environment = Environment(
        loader=PackageLoader("isda_bench.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    all_tables = list(tables)
    drawn = [_picture(picture, f"figure-{i}") for i, picture in enumerate(pictures, 1)]
    template = environment.get_template("html_report.html.jinja")
    return template.render(
        title=title,
        tables=[_table(table) for table in all_tables if table.has_runs],
        not_begun=[table.name for table in all_tables if not table.has_runs],
        claims=list(claims),
        chance_text=chance_text,
        pictures=drawn,
        hash_source=_hash_source,
        cells=_cells(records),
        runs=len(records),
        newest=max((record.get("ended") or "" for record in records["record"]), default=""),
    )


def _shown(value: Any) -> Any:
    """Text without control characters; Jinja then escapes it. Markup is escaped where it was made."""
    return printable_lines(value) if type(value) is str else value


def _hash_source(text: str) -> Markup:
    """The source expression of a Content-Security-Policy that allows an element with this content alone."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(f"'sha256-{digest}'")


def _table(table: Table) -> dict[str, Any]:
    header, *rows = text_rows(table)
    missing = [not line.errors for line in table.lines]
    return {
        "name": table.name,
        "title": table.title,
        "header": header,
        "rows": [([_signs(text) for text in row], absent) for row, absent in zip(rows, missing, strict=True)],
        "notes": [_signs(note) for note in notes_of(table)],
        "finished": sum(line.n for line in table.lines if line.planned),
        "wanted": sum(len(line.seeds) for line in table.lines),
    }


def _picture(picture: Picture, name: str) -> dict[str, Any]:
    drawn = drawing(picture.figure, name)
    return {
        "caption": picture.caption,
        "svg": Markup(drawn.svg),  # escaped where it was made
        "css": Markup(drawn.css),
        "panels": len(picture.figure.axes) > 1,
    }


def _signs(text: str) -> str:
    return (
        text.replace("+-", "±").replace(MISSING, "–") if text.startswith(MISSING) else text.replace("+-", "±")
    )


def _cells(records: pd.DataFrame) -> list[dict[str, Any]]:
    """Each cell with its runs; what its runs share stands once."""
    return [_cell(runs) for _, runs in records.groupby("cell", sort=False)]


def _cell(runs: pd.DataFrame) -> dict[str, Any]:
    first = runs["record"].iloc[0]
    config = {key: value for key, value in first["config"].items() if key not in ("seed", "runs_dir")}
    error = runs["last_10"]
    return {
        "id": first["cell"],
        "split": first["split"],
        "error": mean_and_std(error.mean(), error.std()).replace("+-", "±"),
        "config": OmegaConf.to_yaml(OmegaConf.create(config)),
        "generated": any(record.get("generator") for record in runs["record"]),
        "runs": [_run(record) for record in sorted(runs["record"], key=lambda r: r["config"]["seed"])],
    }


def _run(record: dict[str, Any]) -> dict[str, Any]:
    git, device, versions = (record.get(key) or {} for key in ("git", "device", "versions"))
    memory, rate = record.get("peak_memory_bytes"), record.get("images_per_second")
    return {
        "id": record["run_id"],
        "seed": record["config"]["seed"],
        "errors": [f"{record['error'][name]:.2f}" for name in ("last_10", "final", "best")],
        "epochs": record["epochs"],
        "seconds": f"{record['seconds']:,.0f}",
        "rate": f"{rate:,.0f}" if rate else "",
        "memory": f"{memory / 1e6:,.0f}" if memory else "",
        "device": f"{device.get('name', '')} ({device.get('type', '')})" if device else "",
        "code": (git.get("commit") or "unknown")[:10] + (" with changes" if git.get("dirty") else ""),
        "versions": ", ".join(f"{name} {value}" for name, value in versions.items() if value),
        "ended": record.get("ended") or "",
        "data": (record.get("data_sha256") or "")[:12],
        "generator": (record.get("generator") or {}).get("run", ""),
    }
