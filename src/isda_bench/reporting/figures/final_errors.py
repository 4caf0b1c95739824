"""Final errors as a dot plot: a row a method, the mean over seeds and its interval."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from isda_bench.reporting.figures.method_styles import MethodStyle, in_order
from isda_bench.reporting.figures.page import LINE, wrapped
from isda_bench.reporting.figures.panels import Curve, Panel
from isda_bench.reporting.inference import interval
from isda_bench.storage.records import PROTOCOLS

NAME = 1.6  # inches of a method's name
NAME_LINES = 3
ROOM = 1.9  # inches of the text below an axis
SAMPLE = 0.3  # inches: the line and marker of a method, between its name and its errors
AROUND = 0.85  # inches of a panel above and below its rows


def row_names(printed: Mapping[str, str]) -> dict[str, str]:
    """The names of label -> name in lines that fit the room beside their rows; the longest are cut.

    Names that would be equal then are not cut.
    """
    names = {label: wrapped(name, NAME, NAME_LINES) for label, name in printed.items()}
    counts = Counter(names.values())
    return {label: n if counts[n] == 1 else wrapped(printed[label], NAME) for label, n in names.items()}


def height_of_rows(curves: Sequence[Curve]) -> float:
    """Inches that a panel needs so that the names of its rows do not touch."""
    names = row_names({curve.label: curve.name for curve in curves})
    return AROUND + LINE * sum(_lines(name) for name in names.values())


def _lines(name: str) -> float:
    """The height of a row, in lines of text."""
    return 1.1 + name.count("\n")


def draw_final_errors(
    axis: Axes,
    panel: Panel,
    styles: Mapping[str, MethodStyle],
    protocol: str = "last_10",
    published: Mapping[str, float] | None = None,
    room: float = ROOM,
) -> None:
    """The mean of each method's final errors; a bar is the 95% t interval over seeds, a single run is hollow.

    Args:
        axis: to draw on.
        panel: whose curves it shows.
        styles: label -> style.
        protocol: of the errors.
        published: label -> the paper's number, a stroke; also of methods without runs.
        room: inches of the text below the axis.
    """
    finals = {curve.label: curve.finals for curve in panel.curves}
    printed = {curve.label: curve.name for curve in panel.curves}
    rows = row_names({label: printed.get(label, label) for label in in_order([*finals, *(published or {})])})
    places, place = [], 0.0
    for name in rows.values():  # rows with more lines of text take more room
        lines = _lines(name)
        places.append(place + lines / 2)
        place += lines
    for label, y in zip(rows, places, strict=True):
        _draw_row(axis, y, finals.get(label, ()), styles[label])
        _draw_sample(axis, y, styles[label], hollow=len(finals.get(label, ())) == 1)
        if published and label in published:
            axis.plot(
                published[label], y, "|", color=styles[label].colour, markersize=8, zorder=1,
                label=f"{label} (published)",
            )  # fmt: skip
    axis.set_ylim(max(place, 1), 0)
    axis.set_yticks(places, list(rows.values()))
    axis.tick_params(axis="y", length=0, pad=72 * (SAMPLE + 0.1))
    axis.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axis.grid(visible=True, axis="x")
    axis.set_xlabel(f"{panel.at.split} error, %\n{wrapped(PROTOCOLS[protocol], room)}")


def _draw_row(axis: Axes, y: float, errors: Sequence[float], style: MethodStyle) -> None:
    if not errors:
        return
    low, high = (float(bound) for bound in interval(errors))
    if np.isfinite(low):
        axis.hlines(y, low, high, color=style.colour, linewidth=1.2)
    face = "none" if len(errors) == 1 else style.colour
    axis.plot(float(np.mean(errors)), y, style.marker, color=style.colour, markerfacecolor=face, markersize=5)


def _draw_sample(axis: Axes, y: float, style: MethodStyle, hollow: bool) -> None:
    """The method's line and marker, left of the axis: the rows are the legend of the curves."""
    left_edge = ScaledTranslation(0, 0, axis.transAxes)  # type: ignore[arg-type]  # takes any transform
    inches = axis.figure.dpi_scale_trans + left_edge
    axis.plot(
        [-SAMPLE - 0.06, -SAMPLE / 2 - 0.06, -0.06], [y] * 3, linestyle=style.line, marker=style.marker,
        markevery=[1], color=style.colour, markerfacecolor="none" if hollow else style.colour, clip_on=False,
        transform=blended_transform_factory(inches, axis.transData),
    )  # fmt: skip
