"""Statistics as tables: pure functions of records."""

import csv
import io
import math
from collections.abc import Callable

import pandas as pd

from isda_bench.reporting.cells import cell_statistics
from isda_bench.reporting.escape import csv_cell, latex_comment, latex_text, markdown_text
from isda_bench.reporting.table import Table, TableRow
from isda_bench.storage.records import PROTOCOLS

UNCHECKED = "†"
MISSING = "missing"


def markdown_table(records: pd.DataFrame, protocol: str = "last_10") -> str:
    """Errors of every cell, mean +- standard deviation over seeds, in Markdown, with the protocol named."""
    statistics = cell_statistics(records, protocol)
    header = ["data set", "network", "loss", "epochs", "error on", "error in % (mean +- std)", "runs"]
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


def latex(table: Table) -> str:
    """An experiment's table in LaTeX, for the package booktabs, with its notes below it."""
    header, *rows = [[latex_text(text) for text in row] for row in text_rows(table)]
    lines = [
        latex_comment(f"% {table.name}: {table.title}"),
        rf"\begin{{tabular}}{{{'l' * len(header)}}}",
        r"\toprule",
        " & ".join(header) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        "",
        *(rf"{{\footnotesize {latex_text(note)}}}\\" for note in notes_of(table)),
    ]
    return "\n".join(lines) + "\n"


def csv_table(table: Table) -> str:
    """An experiment's table for programs: a line a cell, numbers to four decimals or empty."""
    out = io.StringIO()
    rows = [_csv_row(line) for line in table.lines]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def text_rows(table: Table) -> list[list[str]]:
    """The header and a row for each line, as plain text; columns that would tell nothing are left out."""
    columns = [(name, text) for name, (text, shown) in _COLUMNS.items() if shown(table)]
    split = f"{table.split} error in %"
    header = [split if name == "error" else name for name, _ in columns]
    return [header, *([text(table, line) for _, text in columns] for line in table.lines)]


def notes_of(table: Table) -> list[str]:
    """What belongs under the table: protocol, sources, footnotes."""
    what = PROTOCOLS[table.protocol]
    notes = [f"Error: {what}; mean +- standard deviation (n - 1) over the runs (their number)."]
    if _any_published(table):
        notes.append(f"Published: {table.source}.")
        if any(line.published and not line.published.checked for line in table.lines):
            notes.append(f"{UNCHECKED} transcribed, not yet checked against the paper.")
    if _any_paired(table):
        notes.append(
            "ISDA - baseline: differences of runs with the same seed that differ in the loss alone, mean +- "
            "standard deviation (their number); p: Welch's t-test, two-sided, over all runs of both."
        )
    notes += table.notes
    return notes + [f"[{mark}] {text}." for mark, text in table.footnotes.items()]


def mean_and_std(mean: float, std: float) -> str:
    """'7.39 +- 0.10', without the second part where there is a single run."""
    return f"{mean:.2f}" if math.isnan(std) else f"{mean:.2f} +- {std:.2f}"


def error_text(line: TableRow) -> str:
    """'7.39 +- 0.10 (5)', '7.12 (1 of 5, 2 unfinished)' or 'missing'."""
    unfinished = f"{len(line.unfinished)} unfinished" if line.unfinished else ""
    if not line.errors:
        return f"{MISSING} ({unfinished})" if unfinished else MISSING
    count = f"{line.n} of {line.n + len(line.missing)}" if line.missing else str(line.n)
    told = ", ".join(filter(None, (count, unfinished)))
    return f"{mean_and_std(line.mean, line.std)} ({told})"


def published_text(line: TableRow) -> str:
    """'6.46 +- 0.20', with a mark where it is not checked."""
    value = line.published
    if value is None:
        return ""
    text = mean_and_std(value.mean, math.nan if value.std is None else value.std)
    return text if value.checked else text + UNCHECKED


def difference_text(line: TableRow) -> str:
    """'+0.12': ours less the published one."""
    return "" if math.isnan(line.difference) else f"{line.difference:+.2f}"


def paired_text(line: TableRow) -> str:
    """'-0.26 +- 1.09 (3)': ISDA less its baseline over common seeds."""
    if line.paired is None:
        return ""
    spread = "" if math.isnan(line.paired.std) else f" +- {line.paired.std:.2f}"
    return f"{line.paired.mean:+.2f}{spread} ({len(line.paired.differences)})"


def p_text(line: TableRow) -> str:
    """'0.031', '< 0.001' or nothing."""
    p = line.paired.p_value if line.paired else None
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def images_text(size: int | None) -> str:
    """'1,000' or 'all' training images."""
    return "all" if size is None else f"{size:,}"


def _ours(table: Table, line: TableRow) -> str:
    mark = table.mark(line)
    return f"{error_text(line)} [{mark}]" if mark else error_text(line)


def _method(table: Table, line: TableRow) -> str:
    return f"{line.at.method}, {line.remark}" if line.remark else line.at.method


def _any_published(table: Table) -> bool:
    return any(line.published for line in table.lines)


def _any_paired(table: Table) -> bool:
    return any(line.paired for line in table.lines)


def _always(table: Table) -> bool:
    return True


_Column = tuple[Callable[[Table, TableRow], str], Callable[[Table], bool]]
_COLUMNS: dict[str, _Column] = {
    "data set": (lambda _, line: line.at.dataset, _always),
    "network": (lambda _, line: line.at.model, _always),
    "augmentation": (
        lambda _, line: line.at.augment,
        lambda table: any(line.at.augment != "standard" for line in table.lines),
    ),
    "training images": (
        lambda _, line: images_text(line.at.train_size),
        lambda table: any(line.at.train_size for line in table.lines),
    ),
    "method": (_method, _always),
    "error": (_ours, _always),
    "published": (lambda _, line: published_text(line), _any_published),
    "ours - published": (lambda _, line: difference_text(line), _any_published),
    "ISDA - baseline": (lambda _, line: paired_text(line), _any_paired),
    "p": (lambda _, line: p_text(line), _any_paired),
}
"""Column -> its text for a line, and whether a table shows it."""


def _csv_row(line: TableRow) -> dict[str, object]:
    value, paired = line.published, line.paired
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
        "published_mean": _number(value.mean if value else None),
        "published_std": _number(value.std if value else None),
        "published_checked": value.checked if value else "",
        "difference": _number(line.difference),
        "paired_n": len(paired.differences) if paired else "",
        "paired_mean": _number(paired.mean if paired else None),
        "paired_std": _number(paired.std if paired else None),
        "p_value": _number(paired.p_value if paired else None),
        "deviations": line.footnote,
    }


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"


def markdown_rows(rows: list[list[str]]) -> str:
    """A header and rows of plain text as a Markdown table."""
    rows = [[markdown_text(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
