"""A table's columns as plain text."""

import math
import statistics
from collections.abc import Callable

from isda_bench.experiments.coordinates import images_text
from isda_bench.experiments.published import Published
from isda_bench.reporting.table import Table, TableRow, std_of

UNCHECKED, CONTRADICTED = "†", "‡"
MISSING = "missing"
Column = tuple[str, Callable[[TableRow], str]]
"""A header and its text for a line."""


def text_rows(table: Table) -> list[list[str]]:
    """The header and a row for each line; columns that are empty, or the same by default, are left out."""
    columns = [
        (name, [text(line) for line in table.lines])
        for name, text in (*_places(table), *_results(table), *_published(table), *_comparisons(table))
    ]
    shown = [(name, texts) for name, texts in columns if any(texts)]
    return [[name for name, _ in shown], *map(list, zip(*(texts for _, texts in shown), strict=True))]


def baselines(table: Table) -> list[str]:
    """The baselines' methods, as the lines first name them."""
    return list(dict.fromkeys(line.paired.baseline for line in table.lines if line.paired))


def difference_header(baseline: str) -> str:
    """'difference to cross_entropy'."""
    return f"difference to {baseline}"


def mean_and_std(mean: float, std: float, decimals: int = 2) -> str:
    """'7.39 ± 0.10', without the second part where there is a single run."""
    return f"{mean:.{decimals}f}" if math.isnan(std) else f"{mean:.{decimals}f} ± {std:.{decimals}f}"


def error_text(line: TableRow) -> str:
    """'7.39 ± 0.10 (5)', '7.12 (1 of 5, 2 unfinished)' or 'missing'."""
    unfinished = f"{len(line.unfinished)} unfinished" if line.unfinished else ""
    if not line.errors:
        return f"{MISSING} ({unfinished})" if unfinished else MISSING
    count = f"{line.n} of {line.n + len(line.missing)}" if line.missing else str(line.n)
    counts = ", ".join(filter(None, (count, unfinished)))
    return f"{mean_and_std(line.mean, line.std)} ({counts})"


def measure_text(line: TableRow, name: str, decimals: int = 2) -> str:
    """'1.380 ± 0.021', or nothing where no run has the measure."""
    values = list(line.measures.get(name, {}).values())
    return mean_and_std(statistics.fmean(values), std_of(values), decimals) if values else ""


def published_text(value: Published | None) -> str:
    """'6.46 ± 0.20', as printed, with marks where it is not checked or contradicted."""
    if value is None:
        return ""
    text = mean_and_std(value.mean, math.nan if value.std is None else value.std, value.decimals)
    return text + UNCHECKED * (not value.checked) + CONTRADICTED * value.contradicted


def top5_text(line: TableRow) -> str:
    """'6.8', the published top-5 error, or nothing."""
    value = line.published
    return f"{value.top5_error:.{value.decimals}f}" if value and value.top5_error is not None else ""


def difference_text(line: TableRow) -> str:
    """'+0.12': ours less the published one."""
    return "" if math.isnan(line.difference) else f"{line.difference:+.2f}"


def paired_text(line: TableRow, baseline: str) -> str:
    """'-0.26 ± 1.09 (3)': the method less this baseline over common seeds."""
    if line.paired is None or line.paired.baseline != baseline:
        return ""
    spread = "" if math.isnan(line.paired.std) else f" ± {line.paired.std:.2f}"
    return f"{line.paired.mean:+.2f}{spread} ({line.paired.n})"


def interval_text(line: TableRow) -> str:
    """'[-1.90, -0.26]' or nothing."""
    bounds = line.paired.interval if line.paired else None
    return f"[{bounds[0]:+.2f}, {bounds[1]:+.2f}]" if bounds else ""


def p_text(p: float | None) -> str:
    """'0.031', '< 0.001' or nothing."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _places(table: Table) -> list[Column]:
    sized = any(line.at.train_size for line in table.lines)
    augmented = any(line.at.augment not in ("standard", "") for line in table.lines)
    resampled = any(line.at.resample for line in table.lines)
    drawn = {True: "new for each seed", False: "one for all seeds"}
    return [
        ("data set", lambda line: table.label(line.at.dataset)),
        ("network", lambda line: table.label(line.at.model)),
        ("augmentation", lambda line: line.at.augment if augmented else ""),
        ("training images", lambda line: images_text(line.at.train_size) if sized else ""),
        ("images drawn", lambda line: drawn[line.at.resample] if resampled else ""),
        ("method", lambda line: f"{line.method}, {line.remark}" if line.remark else line.method),
    ]


def _results(table: Table) -> list[Column]:
    marks = {line.cell: f" [{mark}]" for line in table.lines if (mark := table.mark(line))}
    with_top5 = any(line.published and line.published.top5_error for line in table.lines) or any(
        line.at.dataset.startswith("imagenet") for line in table.lines
    )
    return [
        (f"{table.split} error in %", lambda line: error_text(line) + marks.get(line.cell, "")),
        ("top-5 error in %", lambda line: measure_text(line, "top5_error") if with_top5 else ""),
        (f"{table.split} loss", lambda line: measure_text(line, "loss", 3)),
        ("ECE in %", lambda line: measure_text(line, "ece")),
    ]


def _published(table: Table) -> list[Column]:
    return [
        ("published", lambda line: published_text(line.published)),
        ("ours - published", difference_text),
        ("published top-5", top5_text),
        ("also published", lambda line: published_text(line.also_published)),
    ]


def _comparisons(table: Table) -> list[Column]:
    differences: list[Column] = [
        (difference_header(name), lambda line, name=name: paired_text(line, name))  # type: ignore[misc]
        for name in baselines(table)
    ]
    return [
        *differences,
        ("95% interval", interval_text),
        ("p", lambda line: p_text(line.paired.p_value if line.paired else None)),
        ("Holm's p", lambda line: p_text(line.paired.holm_p if line.paired else None)),
    ]
