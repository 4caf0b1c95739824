"""Figure 3 of the paper: error curves of ResNet-110, the paper's own behind ours, with its zoom.

The paper's axes begin at epoch 82 and cut off higher errors. Its zoom is the middle panel here; the left one
has all epochs and is only drawn where something has run.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from isda_bench.experiments.coordinates import Coordinates
from isda_bench.experiments.published import published_curves
from isda_bench.reporting.figures.error_curves import draw_curve, draw_curves, reading
from isda_bench.reporting.figures.final_errors import draw_final_errors
from isda_bench.reporting.figures.method_styles import MethodStyle, family, in_order, method_styles
from isda_bench.reporting.figures.page import (
    INTERVALS,
    PAGE,
    STYLE,
    epoch_axis,
    legend_below,
    legend_line,
    page,
    wrapped,
)
from isda_bench.reporting.figures.panels import Panel, labels_of

PLACES = (("cifar10", "resnet110"), ("cifar100", "resnet110"))
"""Data set and network of the paper's two panels."""
HEIGHT = 2.5  # inches of a row
ROOM = 1.25  # inches of the text below the final errors
NARROW = 4  # intervals between ticks of a narrow panel, at most
LAST = 10  # epochs of the final error

PaperCurves = Mapping[str, Sequence[tuple[int, float]]]
"""Method -> (epoch, error in percent)."""


@mpl.rc_context(STYLE)
def figure_3(drawn: Sequence[Panel], protocol: str = "last_10", known: Iterable[str] = ()) -> Figure:
    """A row for each of the paper's panels, also where nothing has run: all epochs, the zoom, final errors.

    Args:
        drawn: panels of the experiment; those of other networks and data sets are left out.
        protocol: of our final errors; the paper's are the means of its curves' last ten epochs.
        known: as for `error_curves`.
    """
    rows = [_panel_of(drawn, dataset, model) for dataset, model in PLACES]
    papers = [
        _with_our_labels(published_curves(*place), row) for place, row in zip(PLACES, rows, strict=True)
    ]
    methods = in_order([*labels_of(rows), *(method for paper in papers for method in paper)])
    styles = method_styles(methods, known)
    has_runs = any(row.curves for row in rows)
    figure = page(PAGE, HEIGHT * len(rows))
    ratios = (0.85, 1.2, 1) if has_runs else (1, 0.75)
    grid = figure.subplots(len(rows), len(ratios), width_ratios=ratios)
    for (*whole, zoom, finals), panel, paper in zip(grid, rows, papers, strict=True):
        (whole or [zoom])[0].set_title(wrapped(panel.title, PAGE - 0.6))
        for axis in whole:
            draw_curves(axis, panel, styles, NARROW)
            draw_paper(axis, paper, styles)
        _draw_zoom(zoom, panel, paper, styles, NARROW if has_runs else INTERVALS)
        draw_final_errors(finals, panel, styles, protocol, _last_errors(paper), ROOM)
    legend_below(figure, _reading(rows))
    return figure


def draw_paper(axis: Axes, paper: PaperCurves, styles: Mapping[str, MethodStyle]) -> None:
    """The paper's curves: thin, pale and behind ours."""
    for method, points in paper.items():
        epochs, errors = zip(*points, strict=True)
        axis.plot(
            epochs, errors, linestyle=styles[method].line, color=styles[method].colour, linewidth=0.8,
            alpha=0.75, zorder=1, label=f"{method} (published)",
        )  # fmt: skip


def _draw_zoom(
    axis: Axes, panel: Panel, paper: PaperCurves, styles: Mapping[str, MethodStyle], intervals: int
) -> None:
    """The paper's window of epochs and errors, on a linear axis, widened to where our curves end."""
    draw_paper(axis, paper, styles)
    points = np.array([point for curve in paper.values() for point in curve])
    first, last = int(points[0, 0]), int(points[-1, 0])
    for place, curve in enumerate(panel.curves):
        if len(curve.errors) and curve.errors.index[-1] >= first:
            draw_curve(axis, curve, styles[curve.label], place)
    ends = [curve.errors.iloc[-1].median() for curve in panel.curves if len(curve.errors)]
    low, high = min([points[:, 1].min(), *ends]), max([points[:, 1].max(), *ends])
    margin = 0.05 * (high - low)
    axis.set_ylim(low - margin, high + margin)
    epoch_axis(axis, last, first - first % 10, intervals)
    axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_ylabel(f"{panel.at.split} error, %")
    axis.grid(visible=True)


def _panel_of(drawn: Iterable[Panel], dataset: str, model: str) -> Panel:
    """The panel with the plain settings of this data set and network; without curves where there is none."""
    at = Coordinates(dataset, model, "standard", None, "", "test")
    return next((panel for panel in drawn if panel.at == at), Panel(at))


def _with_our_labels(paper: PaperCurves, panel: Panel) -> PaperCurves:
    """The paper's curves by the labels of ours: 'disturb_label (rate=0.1)' where that is our only one."""
    labels = {method: [c.label for c in panel.curves if family(c.label) == method] for method in paper}
    return {(labels[method] if len(labels[method]) == 1 else [method])[0]: paper[method] for method in paper}


def _last_errors(paper: PaperCurves) -> dict[str, float]:
    return {method: float(np.mean([e for _, e in points[-LAST:]])) for method, points in paper.items()}


def _reading(rows: Sequence[Panel]) -> dict[str, Any]:
    handles = reading(rows)
    handles["thin line: the paper's curve, one run"] = legend_line(linewidth=0.8, alpha=0.75)
    handles["stroke: its mean of the last 10 epochs"] = legend_line(marker="|", line="none", markersize=8)
    return handles
