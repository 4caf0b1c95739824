"""Error over epochs, and beside it the final errors with their intervals: a row a panel."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from isda_bench.reporting.figures.final_errors import draw_final_errors, height_of_rows
from isda_bench.reporting.figures.method_styles import MethodStyle, method_styles
from isda_bench.reporting.figures.page import (
    COMPANION,
    INK,
    INTERVALS,
    PAGE,
    STYLE,
    epoch_axis,
    error_axis,
    legend_below,
    legend_line,
    message,
    page,
    wrapped,
)
from isda_bench.reporting.figures.panels import Curve, Panel, labels_of

SHORTEST = 1.9  # inches of a row
SPARSE = 20  # parts of the epochs: points that are further apart than one are no line
MARKED = 6  # points of a line that carry the method's marker, about
BAND = 0.2  # opacity


@mpl.rc_context(STYLE)
def error_curves(drawn: Sequence[Panel], protocol: str = "last_10", known: Iterable[str] = ()) -> Figure:
    """Left, the median over seeds and their range; right, the mean final error with its 95% t interval.

    Epochs that were evaluated alone are markers with a bar for the range. A single run has hollow markers.

    Args:
        drawn: the panels; where there are none, the figure says so.
        protocol: of the final errors.
        known: methods of other figures that belong to this one (see `method_styles`).
    """
    if not drawn:
        figure = page(PAGE, SHORTEST)
        message(figure.subplots(), "no finished runs")
        return figure
    styles = method_styles(labels_of(drawn), known)
    heights = [max(SHORTEST, height_of_rows(panel.curves)) for panel in drawn]
    figure = page(PAGE, sum(heights))
    grid = figure.subplots(len(drawn), 2, squeeze=False, width_ratios=(1.15, 1), height_ratios=heights)
    for (left, right), panel in zip(grid, drawn, strict=True):
        left.set_title(wrapped(panel.title, PAGE - 0.6))
        draw_curves(left, panel, styles)
        draw_final_errors(right, panel, styles, protocol)
    legend_below(figure, reading(drawn))
    return figure


def draw_curves(axis: Axes, panel: Panel, styles: dict[str, MethodStyle], intervals: int = INTERVALS) -> None:
    """The panel's curves over all epochs, with at most so many intervals between ticks."""
    shown = [curve for curve in panel.curves if len(curve.errors)]
    for place, curve in enumerate(shown):
        draw_curve(axis, curve, styles[curve.label], place)
    values = [float(value) for curve in shown for value in curve.errors.to_numpy().flat]
    error_axis(axis, [value for value in values if np.isfinite(value)])
    epoch_axis(axis, max(panel.last_epoch, 1), intervals=intervals)
    axis.set_ylabel(f"{panel.at.split} error, %")
    if not shown:
        message(axis, "no epoch that all runs evaluated" if panel.curves else "no runs yet")


def draw_curve(axis: Axes, curve: Curve, style: MethodStyle, place: int = 0) -> None:
    """Median and range of a cell's runs: lines and bands where epochs follow one another, else markers.

    Args:
        axis: to draw on.
        curve: with at least one epoch.
        style: of its method.
        place: among the curves; it shifts the markers on the lines, so that they do not cover one another.
    """
    epochs = curve.errors.index.to_numpy()
    middle = curve.errors.median(axis=1).to_numpy()
    low, high = curve.errors.min(axis=1).to_numpy(), curve.errors.max(axis=1).to_numpy()
    marks: Any = {"marker": style.marker, "color": style.colour}
    marks |= {"markerfacecolor": "none"} if curve.single else {}
    dense, sparse = stretches(epochs)
    label, companion = curve.name, f"{COMPANION}{curve.name}"
    for part in dense:
        marked = marked_points(epochs[part], int(epochs[-1]), place)
        axis.plot(epochs[part], middle[part], linestyle=style.line, markevery=marked, label=label, **marks)
        if not curve.single:
            band: Any = {"color": style.colour, "alpha": BAND, "linewidth": 0, "label": companion}
            axis.fill_between(epochs[part], low[part], high[part], **band)
        label = companion
    if len(sparse):
        axis.plot(epochs[sparse], middle[sparse], linestyle="none", label=label, **marks)
        if not curve.single:
            bars: Any = {"color": style.colour, "linewidth": 0.8, "label": companion}
            axis.vlines(epochs[sparse], low[sparse], high[sparse], **bars)


def stretches(epochs: np.ndarray) -> tuple[list[slice], np.ndarray]:
    """Where epochs follow one another, and which ones stand alone.

    Two belong together if nothing lies between them, or not more than a `SPARSE`th of all epochs.

    Args:
        epochs: rising, (n,).

    Returns:
        Slices of at least two epochs, and the places of the others.
    """
    near = max(1, epochs[-1] / SPARSE)
    breaks = np.flatnonzero(np.diff(epochs) > near) + 1
    bounds = [0, *breaks.tolist(), len(epochs)]
    parts = [slice(start, stop) for start, stop in pairwise(bounds)]
    alone = [part.start for part in parts if part.stop - part.start == 1]
    return [part for part in parts if part.stop - part.start > 1], np.array(alone, dtype=int)


def marked_points(epochs: np.ndarray, last: int, place: int) -> list[int]:
    """Which points of a line carry the marker: at least one, `MARKED` over `last` epochs."""
    spacing = (epochs[-1] - epochs[0]) / (len(epochs) - 1)
    step = max(1, round(last / MARKED / spacing))
    first = min((2 * place + 1) % step, len(epochs) - 1)
    return list(range(first, len(epochs), step))


def reading(drawn: Iterable[Panel]) -> dict[str, Any]:
    """The legend of lines, bands and markers that occur: label -> handle."""
    curves = [curve for panel in drawn for curve in panel.curves]
    several = [stretches(c.errors.index.to_numpy()) for c in curves if len(c.errors) and not c.single]
    handles: dict[str, Any] = {}
    if any(dense for dense, _ in several):
        handles["line: median over seeds"] = legend_line()
        handles["band: range over seeds"] = Patch(color=INK, alpha=BAND, linewidth=0)
    if any(len(alone) for _, alone in several):
        handles["lone epoch: median and range"] = legend_line(marker="|", line="none", markersize=8)
    if any(len(curve.finals) > 1 for curve in curves):
        handles["right: mean, 95% t interval"] = legend_line(marker="o")
    if any(curve.single for curve in curves):
        handles["hollow: a single run"] = legend_line(marker="o", line="none", markerfacecolor="none")
    return handles
