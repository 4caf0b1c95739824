"""The paper's numbers (published.yaml), each found by its place in a table."""

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
    """

    mean: float
    std: float | None
    checked: bool


FILE = Path(__file__).with_name("published.yaml")


def source(table: str) -> str:
    """Where the table's numbers are printed; '' for a table that the paper does not have."""
    return str(_tables().get(table, {}).get("source", ""))


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


def _methods(at: Coordinates) -> list[str]:
    """The names under which the paper may print a method, the most exact first."""
    loss = re.sub(r" \([^)]*\)", "", at.method)
    dropout = " + dropout" if own_dropout(at.model) else ""
    return [at.method + dropout, at.method, loss + dropout, loss]


@cache
def _values(table: str) -> dict[frozenset[str], Published]:
    """Words of column and row -> value."""
    content = _tables().get(table)
    if content is None:
        return {}
    return {
        frozenset((*row.split("/"), *column.split("/"))): Published(value[0], value[1], content["checked"])
        for row, values in content["rows"].items()
        for column, value in zip(content["columns"], values, strict=True)
        if value is not None
    }


@cache
def _tables() -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(FILE))
    assert isinstance(content, dict)
    return {str(name): table for name, table in content.items()}
