"""Error on held-out images over the values of a setting that were tried."""

from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from isda_bench.experiments.selection import HyperparameterSelection
from isda_bench.reporting.figures.method_styles import MethodStyle, method_styles
from isda_bench.reporting.figures.page import (
    COLUMN,
    COMPANION,
    INK,
    PAGE,
    STYLE,
    legend_below,
    legend_line,
    page,
    wrapped,
)
from isda_bench.reporting.groups import Group
from isda_bench.reporting.inference import interval

HEIGHT = 2.3  # inches of a row
COLUMNS = 2  # panels in a row
WIDE = 10  # times the smallest value
APART = 0.12  # of the values' range: names of ticks that are nearer would touch


@mpl.rc_context(STYLE)
def tried_settings(
    selections: list[HyperparameterSelection],
    groups: dict[str, Group],
    labels: Mapping[str, str] = MappingProxyType({}),
) -> Figure | None:
    """The mean over seeds with its 95% t interval; the chosen value has a ring, a single run is hollow.

    A panel for each choice. Where several settings vary, a line for each value of all but the last;
    where no two tries would share a line, they stand side by side. None where nothing has been tried.

    Args:
        selections: what is chosen.
        groups: the finished runs of each cell.
        labels: name of a network or data set -> how the experiment prints it; others have their names.
    """
    tried = [each for each in selections if any(cell.config.cell in groups for cell in each.cells)]
    if not tried:
        return None
    columns = min(COLUMNS, len(tried))
    rows = -(-len(tried) // columns)
    figure = page(PAGE if columns > 1 else COLUMN, HEIGHT * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[len(tried) :]:
        axis.set_visible(False)
    for axis, selection in zip(axes, tried, strict=False):
        _draw(axis, selection, groups)
        at = selection.cells[0].at
        network, dataset = (labels.get(name, name) for name in (at.model, at.dataset))
        axis.set_title(wrapped(f"{selection.component[1]}, {network} on {dataset}", COLUMN - 0.7))
    legend_below(figure, _reading(tried, groups))
    return figure


def _reading(tried: list[HyperparameterSelection], groups: dict[str, Group]) -> dict[str, Line2D]:
    counts = {
        len(groups[cell.config.cell].errors)
        for each in tried
        for cell in each.cells
        if cell.config.cell in groups
    }
    handles = {}
    if max(counts) > 1:
        handles["mean over seeds, 95% t interval"] = legend_line(marker="o")
    if min(counts) == 1:
        handles["hollow: a single run"] = legend_line(marker="o", line="none", markerfacecolor="none")
    if any(each.winner is not None for each in tried):
        handles["ring: chosen"] = legend_line(marker="o", line="none", markersize=10, markerfacecolor="none")
    return handles


def _draw(axis: Axes, selection: HyperparameterSelection, groups: dict[str, Group]) -> None:
    tried = {
        _key(selection.values(cell.config)): tuple(groups[cell.config.cell].errors.values())
        for cell in selection.cells
        if cell.config.cell in groups
    }
    names = [_name(key) for key in selection.keys]
    side_by_side = any(isinstance(values[-1], str) for values in tried)  # no place on an axis of numbers
    side_by_side |= len(names) > 1 and len({values[:-1] for values in tried}) == len(tried)
    places = {values: float(i if side_by_side else values[-1]) for i, values in enumerate(tried)}
    lines: dict[str, dict[float, tuple[float, ...]]] = defaultdict(dict)
    for values, errors in tried.items():
        varied = [] if side_by_side else zip(names[:-1], values, strict=False)
        lines[", ".join(f"{name} {_text(value)}" for name, value in varied)][places[values]] = errors
        if values == _key(selection.chosen):
            axis.plot(
                places[values], np.mean(errors), "o", markersize=10, markerfacecolor="none", color=INK,
                linestyle="none", gid="chosen",
            )  # fmt: skip
    _draw_lines(axis, selection.component[1], lines, connected=not side_by_side)
    axis.set(ylabel=f"{selection.cells[0].at.split} error, %")
    if side_by_side:
        axis.set_xlabel(", ".join(names))
        axis.set_xticks([*places.values()], ["\n".join(map(_text, values)) for values in places])
    else:
        axis.set_xlabel(names[-1])
        _value_axis(axis, sorted(set(places.values())))
    axis.grid(visible=True)


def _key(values: Mapping[str, Any]) -> tuple[float | str, ...]:
    """The values, what is no number as text."""
    return tuple(value if isinstance(value, int | float) else str(value) for value in values.values())


def _text(value: float | str) -> str:
    return str(value) if isinstance(value, str | bool) else f"{value:g}"


def _draw_lines(
    axis: Axes, component: str, lines: Mapping[str, dict[float, tuple[float, ...]]], connected: bool
) -> None:
    """A line for each label, in the component's look."""
    names = {label: f"{component} ({label})" if label else component for label in lines}
    styles = method_styles(names.values())
    for label, points in lines.items():
        style = styles[names[label]]
        style = style if connected else style._replace(line="None")
        _draw_line(axis, dict(sorted(points.items())), label, style)
    if axis.get_legend_handles_labels()[1]:
        axis.legend()


def _draw_line(axis: Axes, points: dict[float, tuple[float, ...]], label: str, style: MethodStyle) -> None:
    """Value -> errors of the seeds: dots at the means with a line through them, and their intervals."""
    means = [float(np.mean(errors)) for errors in points.values()]
    axis.plot(list(points), means, color=style.colour, linestyle=style.line, label=label)
    look: Any = {"color": style.colour, "label": f"{COMPANION}{label}"}
    for (value, errors), mean in zip(points.items(), means, strict=True):
        low, high = (float(bound) for bound in interval(errors))
        face = style.colour if len(errors) > 1 else "none"
        axis.plot(value, mean, style.marker, markerfacecolor=face, **look)
        if np.isfinite(low):
            axis.vlines(value, low, high, **look)


def _value_axis(axis: Axes, values: list[float]) -> None:
    """Ticks at the values that were tried, on a logarithmic axis where they span more than `WIDE`."""
    logarithmic = values[0] > 0 and values[-1] > WIDE * values[0]
    places = np.log(values) if logarithmic else np.array(values)
    length = max(places[-1] - places[0], 1e-9)
    named = [0]
    for i in range(1, len(values)):
        if places[i] - places[named[-1]] >= APART * length:
            named.append(i)
    if logarithmic:
        axis.set_xscale("log")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(values, [f"{value:g}" if i in named else "" for i, value in enumerate(values)])


def _name(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")
