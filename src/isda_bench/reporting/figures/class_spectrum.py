"""The spectrum of the covariances of the deep features, over all classes."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, NullLocator

from isda_bench.reporting.figures.method_styles import METHOD_STYLES
from isda_bench.reporting.figures.page import (
    COLUMN,
    COMPANION,
    INK,
    STYLE,
    legend_below,
    message,
    page,
    wrapped,
)

HEIGHT = 2.5  # inches
MOST = 0.9
"""Of a class's variance: the figure says how many eigenvalues make it up."""
FLOOR = 1e-6  # of a class's variance; smaller shares are rounding of statistics in float32


@mpl.rc_context(STYLE)
def class_spectrum(eigenvalues: Any, title: str) -> Figure:
    """Each eigenvalue's share of its class's variance by its rank: median and range over the classes.

    Args:
        eigenvalues: (C, A), largest first, or (1, A) for one covariance that all classes share; classes
            without variance are left out.
        title: of the figure.
    """
    values = np.asarray(eigenvalues, float)
    values = values[np.isfinite(values).all(1) & (values.sum(1) > 0)]
    figure = page(COLUMN, HEIGHT)
    axis = figure.subplots()
    axis.set_title(wrapped(title, COLUMN - 0.8))
    axis.set(xlabel="rank of the eigenvalue (1: the largest)", ylabel="share of the class's variance, %")
    if not len(values):
        message(axis, "no class has any variance")
        return figure
    shares = np.maximum(100 * values / values.sum(1, keepdims=True), 1e-30)  # logarithms need more than 0
    ranks = np.arange(1, shares.shape[1] + 1)
    colour = METHOD_STYLES["isda"].colour
    alone = len(values) == 1
    label = "one covariance for all classes" if alone else f"median of {len(values)} classes"
    marker = "o" if len(ranks) == 1 else ""
    handles: dict[str, Any] = {}
    handles[label] = axis.plot(ranks, np.median(shares, 0), color=colour, marker=marker, label=label)[0]
    if not alone:
        look: Any = {"color": colour, "alpha": 0.2, "linewidth": 0, "label": f"{COMPANION}{label}"}
        band = axis.fill_between(ranks, shares.min(0), shares.max(0), **look)
        handles["range over the classes"] = band
    most = int(np.median(ranks_that_hold(values, MOST)))
    line = axis.axvline(most, color=INK, linestyle=":", linewidth=1)
    handles[f"the first {most} hold {MOST:.0%}" + ("" if alone else " (median)")] = line
    axis.set(yscale="log", xlim=(0, ranks[-1] + 1), ylim=(max(shares.min(), 100 * FLOOR) / 1.5, None))
    axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.grid(visible=True)
    legend_below(figure, handles)
    return figure


def ranks_that_hold(eigenvalues: Any, share: float) -> Any:
    """How many of each class's largest eigenvalues make up this share of its variance, (C,)."""
    cumulated = np.cumsum(eigenvalues, 1) / np.sum(eigenvalues, 1, keepdims=True)
    return (cumulated < share).sum(1) + 1
