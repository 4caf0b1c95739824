"""Figures of which a page's script can hide curves and show values: one SVG a panel, and a legend in HTML.

The page draws nothing: matplotlib's SVG stands in it, so that it is seen and printed without scripts. What a
script needs beside it (the limits of the axes in the drawing, the points of each curve) is a few kilobytes of
JSON. Plotly would add more than 3.5 MB to each page, Vega-Lite some 0.8 MB and code made at run time, which
the page's policy forbids; the page's own script has 4.4 kB.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from isda_bench.reporting.escape import escape_labels
from isda_bench.reporting.figures.files import drawing
from isda_bench.reporting.figures.page import INK, wrapped
from isda_bench.reporting.inline_svg import CURVE, Drawing
from isda_bench.runtime.terminal import printable_lines

MARGIN = 0.04  # inches around a panel
POINTS = 72  # of an inch
ZOOM = 1.6  # pixels of a page for a point of a drawing, at most
STYLES = {"--": "dashed", ":": "dotted", "-.": "dashed"}


class Curve(NamedTuple):
    """What the legend says of a curve: the same in all panels.

    Attributes:
        label: its name.
        css_class: of its sample.
    """

    label: str
    css_class: str


class Panel(NamedTuple):
    """One pair of axes.

    Attributes:
        drawing: its SVG.
        data: JSON for the script: the limits of the axes, and each curve's points.
    """

    drawing: Drawing
    data: str


class InteractiveFigure(NamedTuple):
    """A figure of a page."""

    panels: list[Panel]
    curves: list[Curve]
    css: str


def interactive(figure: Figure, name: str) -> InteractiveFigure:
    """The figure, a panel at a time; its own legends are taken out of it.

    Args:
        figure: drawn by matplotlib.
        name: unique on the page; letters, digits and hyphens.
    """
    axes = [axis for axis in figure.axes if axis.get_visible()]
    labels = {label: k for k, label in enumerate(dict.fromkeys(chain.from_iterable(map(_labels, axes))))}
    curves = _curves(axes, labels, name)
    for axis in axes:
        _mark(axis, labels)
    _remove_legends(figure, axes)
    if len(axes) > 1:
        _fit_titles(figure, axes)
    escape_labels(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # hidden neighbours would move a panel
    panels = list(_panels(figure, axes, labels, name))
    sheet = [f"{panel.drawing.css}\n{_natural_size(panel.drawing)}" for panel in panels]
    return InteractiveFigure(
        panels, [curve for curve, _ in curves], "\n".join([*sheet, *(r for _, r in curves)])
    )


def _natural_size(drawn: Drawing) -> str:
    """The rule by which a small panel is not blown up: text is of one size in all of them."""
    found = re.search(r'<svg[^>]* viewBox="0 0 ([\d.]+) [\d.]+"', drawn.svg)
    name = re.search(r'<svg[^>]* class="([\w-]+)"', drawn.svg)
    return f".panel svg.{name[1]} {{ max-width: {ZOOM * float(found[1]):.0f}px; }}" if found and name else ""


def _labels(axis: Axes) -> list[str]:
    return list(axis.get_legend_handles_labels()[1])


def _artists(handle: Any) -> list[Artist]:
    """The handle itself, or what a container of error bars is made of."""
    if isinstance(handle, Artist):
        return [handle]
    flat = [part if isinstance(part, list | tuple) else [part] for part in handle]
    return [artist for artist in chain.from_iterable(flat) if isinstance(artist, Artist)]


def _line(handle: Any) -> Line2D | None:
    return next((artist for artist in _artists(handle) if isinstance(artist, Line2D)), None)


def _mark(axis: Axes, labels: dict[str, int]) -> None:
    """Gives each curve's artists, and what is drawn in its colour without a label of its own, its id."""
    by_colour: dict[str, list[str]] = defaultdict(list)
    for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
        mark = f"{CURVE}{labels[label]}"
        for artist in _artists(handle):
            artist.set_gid(mark)
        line = _line(handle)
        if line is not None:
            by_colour[_colour(line)].append(mark)
    for kind in (PolyCollection, Line2D):
        met: dict[str, int] = defaultdict(int)
        for artist in (child for child in axis.get_children() if isinstance(child, kind)):
            colour = _colour(artist)
            if artist.get_gid() is None and by_colour.get(colour):
                marks = by_colour[colour]
                artist.set_gid(
                    marks[min(met[colour], len(marks) - 1)]
                )  # bands come in the order of the lines
                met[colour] += 1


def _colour(artist: Artist) -> str:
    """'#rrggbb' of a line or a band; empty for what is neither, or has no colour."""
    if isinstance(artist, Line2D):
        return to_hex(artist.get_color())
    faces = np.asarray(artist.get_facecolor() if isinstance(artist, PolyCollection) else [], float)
    return to_hex(tuple(faces[0])) if len(faces) else ""  # without its opacity


def _curves(axes: list[Axes], labels: dict[str, int], name: str) -> list[tuple[Curve, str]]:
    """Of each label its curve in the legend, and the rule of its sample."""
    found: dict[str, tuple[Curve, str]] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            css_class = f"{name}-k{labels[label]}"
            line = _line(handle)
            colour = INK if line is None else _colour(line)
            shown = "currentColor" if colour == INK else colour
            style = "solid" if line is None else STYLES.get(str(line.get_linestyle()), "solid")
            rule = f".{css_class} {{ border-top: 3px {style} {shown}; }}"
            found.setdefault(label, (Curve(printable_lines(label), css_class), rule))
    return list(found.values())


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
        line = _line(handle)
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
