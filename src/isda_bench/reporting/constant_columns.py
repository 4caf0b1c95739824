"""Columns that are the same in every row: their value stands once, beside the table."""

from collections.abc import Collection, Sequence
from typing import NamedTuple


class Parted(NamedTuple):
    """A table without its constant columns.

    Attributes:
        header: of the remaining columns.
        rows: their texts.
        constants: (header, text) of the others, in their order.
    """

    header: list[str]
    rows: list[list[str]]
    constants: list[tuple[str, str]]


def without_constants(
    header: Sequence[str], rows: Sequence[Sequence[str]], candidates: Collection[str]
) -> Parted:
    """The table without the candidate columns whose text is one and the same, or empty, in all rows.

    Args:
        header: names of the columns, each once.
        rows: at least one.
        candidates: columns that may be left out.
    """
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    constant = {
        name: texts[0] for name, texts in columns.items() if name in candidates and len(set(texts)) == 1
    }
    kept = [name for name in header if name not in constant]
    left = [[row[i] for i, name in enumerate(header) if name in kept] for row in rows]
    return Parted(kept, left, [(name, text) for name, text in constant.items() if text])
