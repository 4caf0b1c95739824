"""Figures of which a page's script can hide curves and show values: one SVG a panel, and a legend in HTML.

The page draws nothing: matplotlib's SVG stands in it, so that it is seen and printed without scripts. What a
script needs beside it (the limits of the axes in the drawing, the points of each curve) is a few kilobytes of
JSON. Plotly would add more than 3.5 MB to each page, Vega-Lite some 0.8 MB and code made at run time, which
the page's policy forbids; the page's own script has 4.4 kB.
"""

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from isda_bench.reporting.escape import escape_labels
from isda_bench.reporting.figures.files import drawing
from isda_bench.reporting.figures.page import COMPANION, wrapped
from isda_bench.reporting.inline_svg import CURVE, Drawing
from isda_bench.reporting.legend_samples import artists_of, curve_handles, legend_handles, line_of, sample
from isda_bench.runtime.terminal import printable_lines

MARGIN = 0.04  # inches around a panel
POINTS = 72  # of an inch
ZOOM = 1.6  # pixels of a page for a point of a drawing, at most


class Curve(NamedTuple):
    """An entry of the legend: the same in all panels.

    Attributes:
        label: its name.
        sample: the look of the curve.
    """

    label: str
    sample: Drawing


class Panel(NamedTuple):
    """One pair of axes.

    Attributes:
        drawing: its SVG.
        data: JSON for the script: the limits of the axes, and each curve's points.
    """

    drawing: Drawing
    data: str


class InteractiveFigure(NamedTuple):
    """A figure of a page.

    Attributes:
        panels: its axes.
        curves: the entries that hide and show a curve.
        explained: the entries that say what a line, a band or a marker means.
        css: the rules that all of these drawings need.
    """

    panels: list[Panel]
    curves: list[Curve]
    explained: list[Curve]
    css: str


def interactive(figure: Figure, name: str) -> InteractiveFigure:
    """The figure, a panel at a time; its own legends are taken out of it.

    Args:
        figure: drawn by matplotlib.
        name: unique on the page; letters, digits and hyphens.
    """
    axes = [axis for axis in figure.axes if axis.get_visible()]
    labels = {label: k for k, label in enumerate(dict.fromkeys(chain.from_iterable(map(_labels, axes))))}
    handles = curve_handles(figure, axes)
    notes = {label: handle for label, handle in legend_handles(figure, axes).items() if label not in labels}
    curves = [_entry(label, handles[label], f"{name}-k{k}") for label, k in labels.items()]
    explained = [_entry(label, handle, f"{name}-n{k}") for k, (label, handle) in enumerate(notes.items())]
    for axis in axes:
        _mark(axis, labels)
    _remove_legends(figure, axes)
    if len(axes) > 1:
        _fit_titles(figure, axes)
    escape_labels(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # hidden neighbours would move a panel
    panels = list(_panels(figure, axes, labels, name))
    rules = [f"{panel.drawing.css}\n{_natural_size(panel.drawing)}" for panel in panels]
    rules += [entry.sample.css for entry in (*curves, *explained)]
    return InteractiveFigure(panels, curves, explained, "\n".join(rules))


def _entry(label: str, handle: Any, name: str) -> Curve:
    return Curve(printable_lines(label), sample(handle, name))


def _natural_size(drawn: Drawing) -> str:
    """The rule by which a small panel is not blown up: text is of one size in all of them."""
    found = re.search(r'<svg[^>]* viewBox="0 0 ([\d.]+) [\d.]+"', drawn.svg)
    name = re.search(r'<svg[^>]* class="([\w-]+)"', drawn.svg)
    return f".panel svg.{name[1]} {{ max-width: {ZOOM * float(found[1]):.0f}px; }}" if found and name else ""


def _labels(axis: Axes) -> list[str]:
    return list(axis.get_legend_handles_labels()[1])


def _mark(axis: Axes, labels: dict[str, int]) -> None:
    """Gives the artists of each curve its id: those with its label, and those that `companion` has named."""
    for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
        for artist in artists_of(handle):
            artist.set_gid(f"{CURVE}{labels[label]}")
    for artist in axis.get_children():
        curve = str(artist.get_label()).removeprefix(COMPANION)
        if curve != artist.get_label() and curve in labels:
            artist.set_gid(f"{CURVE}{labels[curve]}")


def _remove_legends(figure: Figure, axes: list[Axes]) -> None:
    for legend in [*figure.legends, *(legend for axis in axes if (legend := axis.get_legend()))]:
        legend.remove()


def _fit_titles(figure: Figure, axes: list[Axes]) -> None:
    """Breaks titles that run over a neighbour: alone, a panel would be as wide as its title, and small."""
    for axis in axes:
        inches = axis.get_position().width * figure.get_figwidth()
        titles = {title for side in ("left", "center", "right") if (title := axis.get_title(side))}
        for text in (child for child in axis.get_children() if isinstance(child, Text)):
            if text.get_text() in titles:
                text.set_text(wrapped(text.get_text().replace("\n", " "), inches))


def _panels(figure: Figure, axes: list[Axes], labels: dict[str, int], name: str) -> Iterator[Panel]:
    """Each pair of axes by itself; all of them together where one explains another."""
    together = bool(figure.get_suptitle()) or any(hasattr(axis, "_colorbar") for axis in axes)
    if together or len(axes) == 1:
        size = Bbox.from_bounds(0, 0, *figure.get_size_inches())
        data = _data(axes[0], size, labels) if len(axes) == 1 else "{}"
        yield Panel(drawing(figure, name), data)
        return
    for i, axis in enumerate(axes, 1):
        for other in axes:
            other.set_visible(other is axis)
        part = axis.get_tightbbox().transformed(figure.dpi_scale_trans.inverted()).padded(MARGIN)  # type: ignore[union-attr]
        yield Panel(drawing(figure, f"{name}-{i}", part), _data(axis, part, labels))


def _data(axis: Axes, part: Bbox, labels: dict[str, int]) -> str:
    """Where the axes lie in the drawing (points from its top left), their limits, the curves' points."""
    box = axis.get_window_extent().transformed(axis.figure.dpi_scale_trans.inverted())
    left, right = (POINTS * (x - part.x0) for x in (box.x0, box.x1))
    top, bottom = (POINTS * (part.y1 - y) for y in (box.y1, box.y0))
    curves = []
    for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
        line = line_of(handle)
        if line is not None:
            curves.append([labels[label], *_points(line)])
    content = {
        "box": [round(float(value), 2) for value in (left, top, right, bottom)],
        "x": [*_rounded(axis.get_xlim()), axis.get_xscale() == "log"],
        "y": [*_rounded(axis.get_ylim()), axis.get_yscale() == "log"],
        "name": printable_lines(axis.get_xlabel()),
        "curves": curves,
    }
    return json.dumps(content, separators=(",", ":"))


def _points(line: Line2D) -> tuple[list[float], list[float]]:
    x, y = (np.asarray(values, float) for values in (line.get_xdata(), line.get_ydata()))
    known = np.isfinite(x) & np.isfinite(y)
    return _rounded(x[known]), _rounded(y[known])


def _rounded(values: Any) -> list[float]:
    """Five digits are more than a pointer finds; whole numbers without a point."""
    found = [float(f"{float(value):.5g}") for value in values]
    return [int(value) if value.is_integer() else value for value in found]
