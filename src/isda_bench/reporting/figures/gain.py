"""The gain of ISDA over the number of training images."""

from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from isda_bench.reporting.figures.method_styles import METHOD_STYLES, MethodStyle, method_styles
from isda_bench.reporting.figures.page import (
    COMPANION,
    INK,
    PAGE,
    STYLE,
    legend_below,
    legend_line,
    page,
    wrapped,
)
from isda_bench.reporting.inference import interval
from isda_bench.reporting.table import Table, TableRow

HEIGHT = 2.9  # inches
BESIDE = 0.025  # of the axis: how far the seeds' dots are from their mean


class Gains(NamedTuple):
    """The gains of one method over its baseline, in points of error, by the number of training images.

    Attributes:
        label: method, network, data set and deviations.
        baseline: the method it is compared with.
        by_size: number of images -> a gain for each common seed, above 0 where the method is better.
    """

    label: str
    baseline: str
    by_size: dict[int, tuple[float, ...]]


def gains_of(table: Table) -> list[Gains]:
    """The rows with a training size and a baseline, a series for each setting, sizes rising.

    Series of one size are left out where others have more: they say nothing of the size.
    """
    found: dict[tuple[str, str], dict[int, tuple[float, ...]]] = {}
    for row in table.lines:
        if row.paired is not None and row.at.train_size is not None:
            gains = tuple(-difference for _, difference in sorted(row.paired.differences.items()))
            series = found.setdefault((_label(table, row), row.paired.baseline), {})
            series.setdefault(row.at.train_size, gains)
    most = max(map(len, found.values()), default=0)
    return [
        Gains(*key, dict(sorted(series.items())))
        for key, series in found.items()
        if len(series) >= min(most, 2)
    ]


def sizes_of(table: Table) -> int:
    """The number of training sizes at which a series of the table knows a gain."""
    return max((len(series.by_size) for series in gains_of(table)), default=0)


@mpl.rc_context(STYLE)
def gain(table: Table) -> Figure | None:
    """The mean gain with its 95% t interval, and each seed as a small dot; None where no row has a pair."""
    series = gains_of(table)
    if not series:
        return None
    figure = page(PAGE, HEIGHT)
    axis = figure.subplots()
    styles = method_styles([each.label for each in series])
    if len(series) == 1:
        styles[series[0].label] = METHOD_STYLES["isda"]
    sizes = sorted({size for each in series for size in each.by_size})
    span = np.log(sizes[-1] / sizes[0]) if len(sizes) > 1 else 1.0
    for place, each in enumerate(series):
        shift = 2.5 * BESIDE * (place - (len(series) - 1) / 2)
        _draw(axis, each, styles[each.label], span, shift)
    _axes(axis, series, sizes, span, table.split)
    axis.set_title("Gain of ISDA by the number of training images")
    legend_below(figure, _reading(series, styles))
    return figure


def _label(table: Table, row: TableRow) -> str:
    others = [text for text in row.deviations if "training images" not in text]
    others = [text for text in others if text != f"another network, {row.at.model}"]
    draws = ["a new subset each seed"] if row.at.resample else []
    place = f"{table.label(row.at.model)} on {table.label(row.at.dataset)}"
    return "; ".join([f"{row.method}, {place}", *draws, *others])


def _draw(axis: Axes, series: Gains, style: MethodStyle, span: float, shift: float) -> None:
    """Dots at the means with a pale line through them; bars and the seeds' dots beside them."""
    sizes, means = [], []
    look: Any = {"color": style.colour, "label": f"{COMPANION}{series.label}"}
    for size, gains in series.by_size.items():
        x, mean = size * np.exp(span * shift), float(np.mean(gains))
        low, high = (float(bound) for bound in interval(gains))
        face = style.colour if len(gains) > 1 else "none"
        axis.plot(x, mean, style.marker, markerfacecolor=face, markersize=6, zorder=3, **look)
        if np.isfinite(low):
            axis.vlines(x, low, high, linewidth=1.6, **look)
        if len(gains) > 1:
            beside = np.full(len(gains), x * np.exp(span * BESIDE))
            axis.plot(beside, gains, "o", alpha=0.7, markersize=3, markeredgewidth=0, **look)
        sizes.append(x)
        means.append(mean)
    axis.plot(sizes, means, color=style.colour, linestyle=style.line, alpha=0.4, zorder=2, label=series.label)


def _axes(axis: Axes, series: list[Gains], sizes: list[int], span: float, split: str) -> None:
    baseline = " / ".join(dict.fromkeys(each.baseline for each in series))
    axis.axhline(0, linewidth=0.9, color=INK, zorder=1)
    axis.set_xscale("log")
    axis.set_xlim(sizes[0] * np.exp(-0.12 * span), sizes[-1] * np.exp(0.12 * span))
    axis.xaxis.set_major_locator(FixedLocator(sizes))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(sizes, [_size_text(series, size) for size in sizes])
    axis.set(xlabel="training images", ylabel=f"error of {baseline}\nless that of ISDA, points")
    low, high = axis.get_ylim()
    room = 0.12 * (high - low)
    axis.set_ylim(min(low, -room), max(high, room))
    axis.grid(visible=True, axis="y")
    _direction(axis, "ISDA better \N{UPWARDS ARROW}", 4, "bottom")
    _direction(axis, f"{baseline} better \N{DOWNWARDS ARROW}", -4, "top")


def _direction(axis: Axes, text: str, points: int, side: str) -> None:
    """The words beside the axis for values above and below zero."""
    axis.annotate(
        wrapped(text, 1.1), (1, 0), (4, points), xycoords=axis.get_yaxis_transform(),
        textcoords="offset points", va=side,
    )  # fmt: skip


def _size_text(series: list[Gains], size: int) -> str:
    counts = sorted({len(each.by_size[size]) for each in series if size in each.by_size})
    return f"{size:,}\nn = {', '.join(map(str, counts))}"


def _reading(series: list[Gains], styles: dict[str, MethodStyle]) -> dict[str, Line2D]:
    looks = [(each.label, styles[each.label]) for each in series]
    handles = {label: legend_line(style.colour, style.marker, style.line) for label, style in looks}
    counts = [len(gains) for each in series for gains in each.by_size.values()]
    if max(counts) > 1:
        handles["bar: 95% t interval of the mean over n seeds"] = legend_line(marker="o")
        handles["small dots: the seeds"] = legend_line(marker=".", line="none")
    if min(counts) == 1:
        handles["hollow: a single seed"] = legend_line(marker="o", line="none", markerfacecolor="none")
    return handles
