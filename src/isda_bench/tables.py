"""Statistics as tables: pure functions of records."""

import math

import pandas as pd

from isda_bench.results import PROTOCOLS, cell_statistics


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
    return f"{_markdown([header, *rows])}\n\n{note}\n"


def mean_and_std(mean: float, std: float) -> str:
    """'7.39 +- 0.10', without the second part where there is a single run."""
    return f"{mean:.2f}" if math.isnan(std) else f"{mean:.2f} +- {std:.2f}"


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
