"""The page that figures are drawn on: a paper's widths and sizes of text, ticks, and legends."""

import math
from collections.abc import Sequence
from textwrap import fill, wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

INK = "#404040"  # of text and axes; a page replaces it by its own colour
COLUMN, PAGE = 3.25, 6.75  # inches: a column of a paper, and both with the gap between them
TEXT = 8.0  # points
CHARACTER = 0.066  # inches: a character's width, on average
LINE = 0.14  # inches: a line's height
STYLE: Any = {
    "svg.hashsalt": "isda_bench",
    "pdf.fonttype": 42,  # publishers refuse Type 3
    "font.size": TEXT,
    "axes.titlesize": TEXT + 0.5,
    "axes.titlelocation": "left",
    "axes.labelsize": TEXT,
    "xtick.labelsize": TEXT,
    "ytick.labelsize": TEXT,
    "legend.fontsize": TEXT,
    "figure.titlesize": TEXT + 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    **dict.fromkeys(
        ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"], INK
    ),
}
COMPANION = "_of "
"""Before a curve's label: the label of a band, bar or dot that a page hides with it and no legend shows."""
NARROWEST = 0.07  # of an axis' logarithmic length: labels that are nearer to one another would touch
_EQUALS = "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"
INTERVALS = 8  # between ticks of epochs, at most


def page(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, whose parts make room for one another."""
    return Figure(figsize=(width, height), layout="constrained")


def wrapped(text: str, inches: float, lines: int | None = None) -> str:
    """The text in lines that fit a width; where they are more than `lines`, it is cut with an ellipsis.

    No line ends beside a sign of equality.
    """
    width = max(8, int(inches / CHARACTER))
    kept = text.replace(" = ", _EQUALS)
    if lines is not None and len(wrap(kept, width)) > lines:
        kept = fill(kept, width, max_lines=lines, placeholder="\N{HORIZONTAL ELLIPSIS}")
    else:
        kept = fill(kept, width, break_on_hyphens=False)
    return kept.replace(_EQUALS, " = ")


def message(axis: Axes, text: str) -> None:
    """Says in the middle of an empty panel why it is empty."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center")


def epoch_axis(axis: Axes, last: int, first: int = 0, intervals: int = INTERVALS) -> None:
    """Ticks at round epochs from `first` to `last`, with at most so many intervals."""
    steps = (factor * 10**power for power in range(7) for factor in (1, 2, 5))
    step = next(step for step in steps if (last - first) / step <= intervals)
    axis.set_xlim(first, last + 0.02 * (last - first))
    axis.xaxis.set_major_locator(FixedLocator(list(range(-(-first // step) * step, last + 1, step))))
    axis.set_xlabel("epoch")


def error_axis(axis: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis for errors in percent, with ticks at 10, 20, 30, ... where they are apart enough.

    Where an error is 0 the axis is linear.

    Args:
        axis: whose y axis it is.
        values: all that the axis has to show, finite; may be empty.
    """
    axis.grid(visible=True)
    if not values or min(values) <= 0:
        return
    low, high = min(values) / 1.06, max(values) * 1.06
    axis.set(yscale="log", ylim=(low, high))
    axis.yaxis.set_major_locator(FixedLocator(error_ticks(low, high)))
    axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.yaxis.set_minor_locator(NullLocator())


def error_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: multiples of 10 where three of them fit, of less on shorter ranges.

    Over a wide range that begins below 5, they are 1, 2, 5, 10, ...
    """
    if low < 5 and high > 8 * low:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
        return _apart([tick for tick in ticks if low <= tick <= high], math.log(high / low))
    steps = (factor * 10.0**power for power in range(1, -9, -1) for factor in (1, 0.5, 0.2))
    for step in steps:
        multiples = range(math.ceil(low / step), math.floor(high / step) + 1)
        if len(multiples) >= 3:
            return _apart([round(k * step, 9) for k in multiples], math.log(high / low))
    return [low, high]


def _apart(ticks: list[float], length: float) -> list[float]:
    """Those that are far enough from the one below to be read."""
    kept = ticks[:1]
    for tick in ticks[1:]:
        if math.log(tick / kept[-1]) >= NARROWEST * length:
            kept.append(tick)
    return kept


def legend_line(colour: str = INK, marker: str = "", line: Any = "-", **more: Any) -> Line2D:
    """A legend's handle of a line or a marker; `more` are properties of matplotlib's Line2D."""
    return Line2D([], [], color=colour, marker=marker, linestyle=line, **more)


def legend_below(figure: Figure, handles: dict[str, Any]) -> None:
    """One legend below all panels, in as many columns as fit; the figure grows by its height.

    Args:
        figure: at its final width.
        handles: label -> what it explains.
    """
    if not handles:
        return
    room = figure.get_figwidth() - 0.2
    shown = {wrapped(label, room - 0.6): handle for label, handle in handles.items()}
    longest = max(len(line) for label in shown for line in label.split("\n"))
    columns = max(1, min(len(shown), int(room / (0.6 + CHARACTER * longest))))
    lines = max(1 + label.count("\n") for label in shown) * -(-len(shown) // columns)
    figure.set_figheight(figure.get_figheight() + LINE * lines + 0.15)
    figure.legend(
        shown.values(), shown.keys(), loc="outside lower center", ncols=columns, columnspacing=1.2,
        handlelength=2.2, labelspacing=0.3,
    )  # fmt: skip
