"""Figures of the paper, from records: curves, the gain over the training size, selection, spectra.

Each function gives a matplotlib figure; `write` and `drawing` put it out. The same input gives
the same bytes.
"""

import io
from collections.abc import Iterable
from itertools import chain, cycle
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from isda_bench.experiments.coordinates import coordinates
from isda_bench.experiments.published import published_curves
from isda_bench.experiments.selection import HyperparameterSelection
from isda_bench.reporting.build_tables import Group
from isda_bench.reporting.cells import with_variants
from isda_bench.reporting.escape import escape_labels
from isda_bench.reporting.inline_svg import Drawing, inline_svg
from isda_bench.reporting.table import Table, TableRow
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.storage.records import errors_by_epoch

INK = "#404040"  # of text and axes; a page replaces it by its own colour
STYLE: Any = {
    "svg.hashsalt": "isda_bench",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    **dict.fromkeys(
        ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"], INK
    ),
}
OWN_COLOURS = {"cross_entropy": "#888888", "isda": "#d62728"}
COLOURS = ["#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#bcbd22", "#3b5ba5"]
COLUMNS = 3  # panels in a row
PANEL = (4.6, 3.3)  # inches
LABEL_WIDTH = 60  # characters of a line in a legend
LEGEND_LINE = 0.18  # inches
ROUNDING = 1e-10  # of the largest eigenvalue: below it lies what float32 statistics leave of a zero


@mpl.rc_context(STYLE)
def curves(records: pd.DataFrame, published: Iterable[tuple[str, str]] = ()) -> Figure:
    """Error over epochs, a panel for each network, data set and its size, a line for each method.

    The line is the median over seeds, the band their range; n seeds.

    Args:
        records: of the runs.
        published: data set and network of panels in which the paper's curves (figure 3) lie behind ours,
            thin and dotted, in the methods' colours; also where nothing has run.
    """
    places = [coordinates(record["names"], record["config"]) for record in records["record"]]
    methods = [at.method for at in places]
    runs = records.assign(method=methods, images=[at.train_size or 0 for at in places])
    panels = dict(iter(runs.groupby(["dataset", "model", "images"])))
    behind = {(*place, 0): published_curves(*place) for place in published}
    colours = _colours([*methods, *chain.from_iterable(behind.values())])
    panels |= {place: runs.iloc[:0] for place in behind if place not in panels}
    figure, axes = _panels(len(panels))
    for axis, ((dataset, model, images), drawn) in zip(axes, panels.items(), strict=True):
        counts = sorted(set(drawn.groupby("cell").size()))
        seeds = "-".join(map(str, counts[:: len(counts) - 1 or 1]))
        subset = f", {images:,} images" if images else ""
        axis.set_title(f"{model} on {dataset}{subset} ({f'n = {seeds}' if seeds else 'no runs yet'})")
        _draw_published(axis, behind.get((dataset, model, images), {}), colours)
        _draw_curves(axis, with_variants(drawn), colours)
    _legend(figure, axes)
    return figure


@mpl.rc_context(STYLE)
def gain(table: Table) -> Figure | None:
    """Gain of ISDA over its baseline (points of error, paired by seed) over the number of training images.

    A line for each network and data set; the bars are the standard deviation over seeds. None where no line
    of the table has a pair.
    """
    found: dict[str, list[tuple[int, float, float]]] = {}
    for line in table.lines:
        if line.paired is not None and line.at.train_size is not None:
            others = [text for text in line.deviations if "training images" not in text]
            label = "; ".join([f"{line.at.method}, {line.at.model} on {line.at.dataset}", *others])
            point = (line.at.train_size, -line.paired.mean, line.paired.std)
            found.setdefault(label, []).append(point)
    if not found:
        return None
    figure, (axis,) = _panels(1)
    for label, points in found.items():
        sizes, means, stds = zip(*sorted(points), strict=True)
        axis.errorbar(sizes, means, yerr=stds, marker="o", capsize=3, label=label)
    axis.axhline(0, linewidth=0.8, color=INK)
    axis.set(xscale="log", xlabel="training images", ylabel=f"gain in points of {table.split} error")
    axis.xaxis.set_major_formatter(FormatStrFormatter("%d"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(sorted({size for points in found.values() for size, _, _ in points}))
    axis.tick_params(axis="x", rotation=45)
    axis.grid()
    _legend(figure, [axis])
    return figure


@mpl.rc_context(STYLE)
def selection(selections: list[HyperparameterSelection], groups: dict[str, Group]) -> Figure | None:
    """Error on the held-out images over the values tried; the chosen one has a ring.

    A panel for each choice; where two settings vary, a line for each value of the first. None where nothing
    has been tried.

    Args:
        selections: what is chosen.
        groups: the finished runs of each cell.
    """
    tried = [c for c in selections if any(cell.config.cell in groups for cell in c.cells)]
    if not tried:
        return None
    figure, axes = _panels(len(tried))
    for axis, contest in zip(axes, tried, strict=True):
        _draw_contest(axis, contest, groups)
        axis.grid()
        axis.legend()
    return figure


@mpl.rc_context(STYLE)
def spectrum(eigenvalues: Any, title: str) -> Figure:
    """Eigenvalues of the covariances of the deep features, largest first, a line for each class.

    Args:
        eigenvalues: (C, A), or (1, A) for one that all classes share.
        title: of the figure.
    """
    figure, (axis,) = _panels(1)
    shades = mpl.colormaps["viridis"](np.linspace(0.25, 0.95, len(eigenvalues)))  # seen on white and black
    many = len(eigenvalues) > 10
    for c, values in enumerate(eigenvalues):
        label = None if many or len(eigenvalues) == 1 else f"class {c}"
        places = range(1, len(values) + 1)
        axis.plot(places, values, color=shades[c], alpha=0.3 if many else 0.9, label=label)
    if many:
        axis.plot(places, eigenvalues.mean(0), color=INK, label=f"mean of {len(eigenvalues)} classes")
    floor = eigenvalues.max() * ROUNDING
    axis.set(yscale="log", ylim=(max(eigenvalues.min(), floor), None))
    axis.set(xlabel="direction", ylabel="variance", title=title)
    axis.grid()
    _legend(figure, [axis])
    return figure


def write(figure: Figure, path: Path) -> list[Path]:
    """Writes `path` with the endings .svg and .png and returns both."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = [path.with_suffix(ending) for ending in (".svg", ".png")]
    for file in written:
        write_atomically(file, _rendered(figure, file.suffix[1:]))
    return written


def error_curves(records: pd.DataFrame, path: Path) -> list[Path]:
    """`curves`, written."""
    return write(curves(records), path)


def drawing(figure: Figure, name: str, part: Bbox | None = None) -> Drawing:
    """The figure as an SVG element for a page: transparent, with text as text in the page's colour.

    Args:
        figure: drawn here.
        name: unique on the page; letters, digits and hyphens.
        part: of the figure, in inches; null: all of it.
    """
    with mpl.rc_context({"svg.fonttype": "none"}):
        text = _rendered(figure, "svg", transparent=True, part=part).decode()
    return inline_svg(text, name, INK)


def _rendered(figure: Figure, kind: str, transparent: bool = False, part: Bbox | None = None) -> bytes:
    escape_labels(figure)
    buffer = io.BytesIO()
    extra = {"Date": None} if kind == "svg" else None
    with mpl.rc_context({"svg.hashsalt": STYLE["svg.hashsalt"]}):
        figure.savefig(
            buffer, format=kind, dpi=150, metadata=extra, transparent=transparent, bbox_inches=part
        )
    return buffer.getvalue()


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def _colours(methods: list[str]) -> dict[str, str]:
    """A colour for each method, the same in all panels; ISDA's and the baseline's own."""
    others = cycle(COLOURS)
    own = {method: colour for method, colour in OWN_COLOURS.items() if method in methods}
    return own | {method: next(others) for method in sorted(set(methods) - set(own))}


def _draw_curves(axis: Axes, runs: pd.DataFrame, colours: dict[str, str]) -> None:
    for method in (method for method in colours if method in set(runs["method"])):
        cells = list(runs[runs["method"] == method].groupby("cell", sort=False))
        for (_, cell), style in zip(cells, cycle(("-", "--", ":", "-."))):
            variant = cell["variant"].iloc[0] if len(cells) > 1 else ""
            label = f"{method} ({variant})" if variant else method
            errors, colour = _errors(cell), colours[method]
            axis.plot(errors.index, errors.median(axis=1), style, color=colour, label=label)
            low, high = errors.min(axis=1), errors.max(axis=1)
            axis.fill_between(errors.index, low, high, alpha=0.2, linewidth=0, color=colour)
    axis.set(
        xlabel="epoch", ylabel=f"{' / '.join(runs['split'].unique()) or 'test'} error in %", yscale="log"
    )
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.grid()


def _draw_published(axis: Axes, curves: dict[str, list[tuple[int, float]]], colours: dict[str, str]) -> None:
    for method, points in curves.items():
        epochs, errors = zip(*points, strict=True)
        label = f"{method} (published)"
        axis.plot(epochs, errors, ":", color=colours[method], linewidth=0.9, alpha=0.8, zorder=1, label=label)


def _errors(cell: pd.DataFrame) -> pd.DataFrame:
    """The error of each evaluated epoch (rows), a column a run."""
    runs = [errors_by_epoch(path, split) for path, split in zip(cell["path"], cell["split"], strict=True)]
    return pd.concat(runs, axis=1).dropna()


def _draw_contest(axis: Axes, contest: HyperparameterSelection, groups: dict[str, Group]) -> None:
    *first, last = contest.keys
    lines: dict[str, list[tuple[float, TableRow]]] = {}
    for cell in contest.cells:
        group = groups.get(cell.config.cell)
        if group is None:
            continue
        values = contest.values(cell.config)
        label = ", ".join(f"{_name(key)} {values[key]:g}" for key in first)
        lines.setdefault(label, []).append((values[last], TableRow("", cell.at, True, errors=group.errors)))
        if contest.winner is not None and contest.winner.config.cell == cell.config.cell:
            mean = lines[label][-1][1].mean
            axis.plot(
                values[last], mean, "o", markersize=12, markerfacecolor="none", color=INK, label="chosen"
            )
    for label, points in lines.items():
        ordered = sorted(points, key=lambda point: point[0])
        means, stds = [line.mean for _, line in ordered], [line.std for _, line in ordered]
        axis.errorbar([x for x, _ in ordered], means, yerr=stds, marker="o", capsize=3, label=label or None)
    at = contest.cells[0].at
    title = f"{contest.component[1]}, {at.model} on {at.dataset}"
    axis.set(xlabel=_name(last), ylabel=f"{at.split} error in %", title=title)


def _name(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")


def _legend(figure: Figure, axes: list[Axes]) -> None:
    """One legend below the panels, each label once, long ones in several lines; it has room of its own."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(fill(label, LABEL_WIDTH), handle)
    longest = max(map(len, handles), default=0)
    width = PANEL[0] * min(1, max(1 / 3, longest / (LABEL_WIDTH / 2) * 0.6))  # of a column
    columns = max(1, int(figure.get_figwidth() / width))
    if handles:
        lines = sum(1 + label.count("\n") for label in handles) / columns
        figure.set_figheight(figure.get_figheight() + LEGEND_LINE * lines)
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)
