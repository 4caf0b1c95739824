"""A table's lines as papers lay them out: data sets across, methods or networks down."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from isda_bench.reporting.columns import images_text
from isda_bench.reporting.display_names import display_name
from isda_bench.reporting.table import Table, TableRow

Texts = tuple[str, ...]
Parts = dict[str, Callable[[TableRow], str]]
USUAL = ("all images", "Standard augmentation", "the same images for all seeds", "")
"""What a caption need not say."""


@dataclass(frozen=True)
class GridRow:
    """A row of a grid.

    Attributes:
        label: the method, or the network where there is one method.
        cells: column -> line.
    """

    label: str
    cells: dict[str, TableRow]


@dataclass(frozen=True)
class GridGroup:
    """Rows whose values are compared with each other.

    Attributes:
        heading: what they share and other groups do not; '' for the only group.
        rows: in the table's order.
    """

    heading: str
    rows: list[GridRow]


@dataclass(frozen=True)
class Grid:
    """A table as papers lay it out.

    Attributes:
        stub: header of the labels, 'Method' or 'Network'.
        columns: across, as printed.
        groups: of rows.
        everywhere: what all cells share and a caption has to say ('ResNet-110', '1,000 images').
    """

    stub: str
    columns: Texts
    groups: list[GridGroup]
    everywhere: Texts


def grid(table: Table, lines: Sequence[TableRow], room: int) -> Grid:
    """The layout of some lines of a table.

    Args:
        table: with the labels.
        lines: at least one.
        room: columns across; what makes more goes down, but for data sets.
    """
    parts = _parts(table)
    varying = [name for name, part in parts.items() if len(set(map(part, lines))) > 1]
    across = _across(varying, parts, lines, room)
    row = "network" if "method" not in varying and "network" in varying else "method"
    down = [name for name in varying if name not in (*across, row)]
    constant = [name for name in parts if name not in (*across, *down, row)]
    return Grid(
        stub=row.capitalize(),
        columns=_texts(across, parts, lines),
        groups=_groups(lines, parts, across, down, row),
        everywhere=tuple(text for name in constant if (text := parts[name](lines[0])) not in USUAL),
    )


def _parts(table: Table) -> Parts:
    """The printed parts in which lines differ."""

    def printed(name: str) -> str:
        return table.labels.get(name) or display_name(name)

    drawn = {True: "new images for each seed", False: "the same images for all seeds"}
    return {
        "data set": lambda line: printed(line.at.dataset),
        "network": lambda line: printed(line.at.model),
        "augmentation": lambda line: printed(line.at.augment.removeprefix("standard + ")),
        "size": lambda line: f"{images_text(line.at.train_size)} images",
        "drawn": lambda line: drawn[line.at.resample],
        "method": lambda line: line.label or display_name(line.at.method),
    }


def _groups(
    lines: Iterable[TableRow], parts: Parts, across: list[str], down: list[str], row: str
) -> list[GridGroup]:
    """The rows; lines of one place that deviate differently are in groups of their own."""
    groups: dict[tuple[str, Texts], GridGroup] = {}
    for line in lines:
        heading, column = (_text(names, parts, line) for names in (down, across))
        group = groups.setdefault((heading, line.deviations), GridGroup(heading, []))
        label = parts[row](line)
        found = next((r for r in group.rows if r.label == label and column not in r.cells), None)
        if found is None:
            group.rows.append(found := GridRow(label, {}))
        found.cells[column] = line
    return list(groups.values())


def _across(varying: list[str], parts: Parts, lines: Sequence[TableRow], room: int) -> list[str]:
    """The columns: data sets, and augmentations or sizes while there is room."""
    across = ["data set"]
    for name in ("augmentation", "size"):
        if name in varying and len(_texts([*across, name], parts, lines)) <= room:
            across.append(name)
    return across[1:] if len(across) > 1 and "data set" not in varying else across


def _texts(names: list[str], parts: Parts, lines: Iterable[TableRow]) -> Texts:
    return tuple(dict.fromkeys(_text(names, parts, line) for line in lines))


def _text(names: list[str], parts: Parts, line: TableRow) -> str:
    return ", ".join(filter(None, (parts[name](line) for name in names)))
