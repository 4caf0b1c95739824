"""Records into panels of curves: one panel for each network, data set and kind of data, one curve a cell."""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from isda_bench.experiments.coordinates import Coordinates, coordinates
from isda_bench.reporting.cells import with_variants
from isda_bench.reporting.figures.method_styles import in_order
from isda_bench.storage.records import errors_by_epoch


class Curve(NamedTuple):
    """The runs of a cell.

    Attributes:
        label: the method; with its settings where another curve of the panel has the same method.
        cell: the cell's id.
        errors: in percent, a row for each epoch that all runs evaluated, a column a run.
        finals: of each run, by the protocol; finite.
        printed: the method as the experiment prints it; '' where it does not say.
    """

    label: str
    cell: str
    errors: pd.DataFrame
    finals: tuple[float, ...]
    printed: str = ""

    @property
    def name(self) -> str:
        """The name in a figure."""
        return self.printed or self.label

    @property
    def single(self) -> bool:
        """Whether it is one run, without anything to say of the spread."""
        return self.errors.shape[1] == 1


class Panel(NamedTuple):
    """Curves that can be compared.

    Attributes:
        at: where they were measured; its method is ''.
        curves: in the methods' order.
        labels: name of a network or data set -> how the experiment prints it.
    """

    at: Coordinates
    curves: tuple[Curve, ...] = ()
    labels: Mapping[str, str] = MappingProxyType({})

    @property
    def title(self) -> str:
        """'resnet8 on cifar10, 1,000 images (n = 1-3)'."""
        at = self.at
        network, dataset = (self.labels.get(name, name) for name in (at.model, at.dataset))
        parts = [f"{network} on {dataset}"]
        parts += [f"{at.train_size:,} images"] if at.train_size else []
        parts += ["a new subset each seed"] if at.resample else []
        parts += [at.augment] if at.augment != "standard" else []
        counts = sorted({curve.errors.shape[1] for curve in self.curves})
        runs = f"n = {'-'.join(map(str, counts[:: len(counts) - 1 or 1]))}" if counts else "no runs yet"
        return f"{', '.join(parts)} ({runs})"

    @property
    def cells(self) -> frozenset[str]:
        """The cells that it shows."""
        return frozenset(curve.cell for curve in self.curves)

    @property
    def last_epoch(self) -> int:
        """The last epoch that any curve shows; 0 where there is none."""
        return max((int(curve.errors.index[-1]) for curve in self.curves if len(curve.errors)), default=0)


def panels(
    records: pd.DataFrame,
    protocol: str = "last_10",
    printed: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> list[Panel]:
    """The panels of some runs.

    Args:
        records: as read_records gives them.
        protocol: which final error counts.
        printed: cell -> how the experiment prints its method; a cell without one has the method's name.
        labels: name of a network or data set -> how the experiment prints it; others have their names.

    Raises:
        UserError: metrics of a run are damaged.
    """
    places = [coordinates(record["names"], record["config"]) for record in records["record"]]
    runs = with_variants(records).assign(at=places)
    grouped: dict[Coordinates, list[pd.DataFrame]] = {}
    for _, cell in runs.groupby("cell", sort=False):
        grouped.setdefault(cell["at"].iloc[0]._replace(method=""), []).append(cell)
    ordered = sorted(grouped, key=lambda at: (at.dataset, at.model, at.augment, at.train_size or np.inf, at))
    return [Panel(at, _curves(grouped[at], protocol, printed or {}), labels or {}) for at in ordered]


def methods_of(records: pd.DataFrame) -> list[str]:
    """The names of all methods among these runs."""
    return in_order(coordinates(r["names"], r["config"]).method for r in records["record"])


def labels_of(drawn: Iterable[Panel]) -> list[str]:
    """The labels of all curves, each once, in the methods' order."""
    return in_order(curve.label for panel in drawn for curve in panel.curves)


def _curves(cells: list[pd.DataFrame], protocol: str, printed: Mapping[str, str]) -> tuple[Curve, ...]:
    methods = [str(cell["at"].iloc[0].method) for cell in cells]
    labels = _apart(methods, cells)
    names = _apart([printed.get(_cell(c), "") or m for c, m in zip(cells, methods, strict=True)], cells)
    found = {
        label: _curve(label, cell, protocol)._replace(printed=name if name != label else "")
        for label, name, cell in zip(labels, names, cells, strict=True)
    }
    return tuple(found[label] for label in in_order(found))


def _curve(label: str, cell: pd.DataFrame, protocol: str) -> Curve:
    pairs = zip(cell["path"], cell["split"], strict=True)
    errors = pd.concat([errors_by_epoch(path, split) for path, split in pairs], axis=1).dropna()
    finals = tuple(float(value) for value in cell[protocol] if np.isfinite(value))
    return Curve(label, _cell(cell), errors, finals)


def _apart(labels: list[str], cells: list[pd.DataFrame]) -> list[str]:
    """The labels; settings, epochs and at last the cell's id are added where two would be equal."""
    for detail in (_variant, _epochs, _id):
        counts = Counter(labels)
        labels = [
            _with(label, detail(cell)) if counts[label] > 1 else label
            for label, cell in zip(labels, cells, strict=True)
        ]
    return labels


def _variant(cell: pd.DataFrame) -> str:
    return str(cell["variant"].iloc[0])


def _epochs(cell: pd.DataFrame) -> str:
    return f"{cell['epochs'].iloc[0]} epochs"


def _id(cell: pd.DataFrame) -> str:
    return f"cell {_cell(cell)}"


def _cell(cell: pd.DataFrame) -> str:
    return str(cell["cell"].iloc[0])


def _with(label: str, detail: str) -> str:
    return f"{label} ({detail})" if detail else label
