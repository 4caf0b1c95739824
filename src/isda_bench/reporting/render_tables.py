"""Tables in Markdown and CSV: pure functions of records. LaTeX is in latex_table.py."""

import csv
import io
import math
import statistics

import pandas as pd

from isda_bench.reporting.cells import cell_statistics
from isda_bench.reporting.columns import mean_and_std, text_rows
from isda_bench.reporting.escape import csv_cell, markdown_rows, markdown_text
from isda_bench.reporting.inference import LEVEL, detectable
from isda_bench.reporting.table import Paired, Table, TableRow, std_of
from isda_bench.reporting.table_notes import notes_of
from isda_bench.storage.records import PROTOCOLS

WIDE = ("mean", "std", "n", "published mean", "published std")
"""Columns of each data set in the wide CSV."""


def markdown_table(records: pd.DataFrame, protocol: str = "last_10") -> str:
    """Errors of every cell, mean ± standard deviation over seeds, in Markdown, with the protocol named."""
    statistics = cell_statistics(records, protocol)
    header = ["data set", "network", "loss", "epochs", "error on", "error in % (mean ± std)", "runs"]
    rows = [
        [
            cell.dataset,
            cell.model,
            f"{cell.loss} ({cell.variant})" if cell.variant else cell.loss,
            str(cell.epochs),
            cell.split,
            mean_and_std(cell.mean, cell.std),
            str(cell.n),
        ]
        for cell in statistics.itertuples()
    ]
    note = f"Error: {PROTOCOLS[protocol]}; standard deviation over seeds (n - 1)."
    return f"{markdown_rows([header, *rows])}\n\n{note}\n"


def markdown(table: Table) -> str:
    """An experiment's table in Markdown, with its notes."""
    notes = "\n".join(f"- {markdown_text(note)}" for note in notes_of(table))
    return f"{markdown_rows(text_rows(table))}\n\n{markdown_text(table.title)}\n\n{notes}\n"


def csv_table(table: Table) -> str:
    """An experiment's table for programs: a line a cell, numbers to four decimals or empty."""
    return _csv([_csv_row(line) for line in table.lines])


def wide_csv(table: Table) -> str:
    """An experiment's table for a spreadsheet: a row for each method in its place, data sets across."""
    datasets = list(dict.fromkeys(line.at.dataset for line in table.lines))
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    for line in table.lines:
        at = line.at
        size = "all" if at.train_size is None else at.train_size
        place = {
            "network": table.label(at.model),
            "augmentation": at.augment,
            "training images": size,
            "images drawn": "for each seed" if at.resample else "once",
            "method": line.method,
            "footnote": "; ".join(filter(None, (line.footnote, line.remark))),
        }
        row = rows.setdefault(tuple(place.values()), place | _empty(table, datasets))
        row |= _wide_cells(table.label(at.dataset), line)
    return _csv(list(rows.values()))


def _empty(table: Table, datasets: list[str]) -> dict[str, object]:
    return {f"{table.label(name)} {part}": "" for name in datasets for part in WIDE}


def _wide_cells(dataset: str, line: TableRow) -> dict[str, object]:
    published = line.published
    values = (
        _number(line.mean),
        _number(line.std),
        line.n or "",
        _number(published.mean if published else None),
        _number(published.std if published else None),
    )
    return {f"{dataset} {part}": value for part, value in zip(WIDE, values, strict=True)}


def _csv(rows: list[dict[str, object]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writerow({name: csv_cell(name) for name in rows[0]})
    writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _csv_row(line: TableRow) -> dict[str, object]:
    value, beside = line.published, line.also_published
    return {
        **{key: "" if part is None else part for key, part in line.at._asdict().items()},
        "note": line.remark,
        "cell": line.cell,
        "planned": line.planned,
        "n": line.n,
        "missing": len(line.missing),
        "unfinished": len(line.unfinished),
        "mean": _number(line.mean),
        "std": _number(line.std),
        **_csv_measures(line),
        "published_mean": _number(value.mean if value else None),
        "published_std": _number(value.std if value else None),
        "published_top5_error": _number(value.top5_error if value else None),
        "published_checked": value.checked if value else "",
        "published_contradicted": value.contradicted if value else "",
        "also_published_mean": _number(beside.mean if beside else None),
        "also_published_std": _number(beside.std if beside else None),
        "difference": _number(line.difference),
        **_csv_comparison(line.paired),
        "deviations": "; ".join(line.deviations),
        "cautions": "; ".join(line.cautions),
    }


def _csv_measures(line: TableRow) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in ("loss", "ece", "top5_error"):
        values = list(line.measures.get(name, {}).values())
        found[f"{name}_mean"] = _number(statistics.fmean(values) if values else None)
        found[f"{name}_std"] = _number(std_of(values))
    return found


def _csv_comparison(paired: Paired | None) -> dict[str, object]:
    """`p_value` is the paired t-test's; the interval is not adjusted for the number of comparisons."""
    names: tuple[str, ...] = (
        "baseline",
        "paired_n",
        "paired_mean",
        "paired_std",
        "interval_low",
        "interval_high",
        "p_value",
    )
    names += ("holm_p_value", "holm_tests", "welch_p_value", "detectable", "detectable_at_holms_first_step")
    if paired is None:
        return dict.fromkeys(names, "")
    low, high = paired.interval or (None, None)
    first_step = detectable(paired.std, paired.n, LEVEL / paired.tests) if paired.tests else None
    numbers = (paired.mean, paired.std, low, high, paired.p_value, paired.holm_p)
    powers = (paired.welch_p, detectable(paired.std, paired.n), first_step)
    values = (paired.baseline, paired.n, *map(_number, numbers), paired.tests, *map(_number, powers))
    return dict(zip(names, values, strict=True))


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"
