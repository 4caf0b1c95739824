"""The paper's numbers (published.yaml) and curves (published_curves.csv), found by their place in a table."""

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from isda_bench.experiments.coordinates import Coordinates, own_dropout


@dataclass(frozen=True)
class Published:
    """A number of the paper.

    Attributes:
        mean: error in percent.
        std: standard deviation over runs; None where none is printed.
        checked: whether it was read from the published table itself; where not, it is shown with a mark.
        decimals: as printed.
        top5_error: top-5 error in percent; None where none is printed.
        contradicted: whether another number of the paper does not bear it out; it is shown with a mark.
    """

    mean: float
    std: float | None
    checked: bool
    decimals: int = 2
    top5_error: float | None = None
    contradicted: bool = False


FILE = Path(__file__).with_name("published.yaml")
CURVES = Path(__file__).with_name("published_curves.csv")


def source(table: str) -> str:
    """The publication of the table's numbers; '' for a table that the paper does not have."""
    return str(_tables().get(table, {}).get("source", ""))


def also_source(table: str) -> str:
    """The publication of the numbers beside the table's own; '' where there are none."""
    return source(str(_tables().get(table, {}).get("also", "")))


def contradictions(table: str) -> str:
    """Which of the paper's numbers for a table other numbers of the paper contradict, in words; or ''."""
    return str(_tables().get(table, {}).get("contradictions", ""))


def published_curves(dataset: str, model: str) -> dict[str, list[tuple[int, float]]]:
    """Method -> (epoch, test error in percent) of the curves in figure 3 of the supplement; {} for others."""
    return _curves().get((dataset, model), {})


def has_fixed_networks(table: str) -> bool:
    """Whether the table is about networks, so that records of another one do not belong there."""
    return _tables().get(table, {}).get("networks") == "fixed"


def published(table: str, at: Coordinates) -> Published | None:
    """The paper's number for a cell of a table, if it has one."""
    values = _values(table)
    for method in _methods(at):
        value = values.get(frozenset((at.dataset, at.model, at.augment, method)))
        value = value or values.get(frozenset((at.dataset, at.model, method)))
        if value is not None:
            return value
    return None


def also_published(table: str, at: Coordinates) -> Published | None:
    """The number that stands beside the table's own for a cell, as a figure's beside a table's."""
    return published(str(_tables().get(table, {}).get("also", "")), at)


def _methods(at: Coordinates) -> list[str]:
    """The names under which the paper may print a method, the most exact first."""
    loss = re.sub(r" \([^)]*\)", "", at.method)
    dropout = " + dropout" if own_dropout(at.model) else ""
    return [at.method + dropout, at.method, loss + dropout, loss]


@cache
def _values(table: str) -> dict[frozenset[str], Published]:
    """Words of column and row -> value."""
    content = _tables().get(table, {})
    top5 = content.get("top5_error", {})
    return {
        frozenset((*row.split("/"), *column.split("/"))): Published(
            mean=value[0],
            std=value[1],
            checked=content["checked"],
            decimals=content.get("decimals", 2),
            top5_error=top5[row][index] if row in top5 else None,
            contradicted="contradicted" in value,
        )
        for row, values in content.get("rows", {}).items()
        for index, (column, value) in enumerate(zip(content["columns"], values, strict=True))
        if value is not None
    }


@cache
def _curves() -> dict[tuple[str, str], dict[str, list[tuple[int, float]]]]:
    with CURVES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    found: dict[tuple[str, str], dict[str, list[tuple[int, float]]]] = {}
    for row in rows:
        curves = found.setdefault((row["dataset"], row["model"]), {})
        curves.setdefault(row["method"], []).append((int(row["epoch"]), float(row["test_error"])))
    return found


@cache
def _tables() -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(FILE))
    assert isinstance(content, dict)
    return {str(name): table for name, table in content.items()}
