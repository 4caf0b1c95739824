"""The small drawing beside a name in a page's legend, with the look of the curve itself."""

from collections.abc import Iterable
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from isda_bench.reporting.figures.files import drawing
from isda_bench.reporting.figures.page import INK
from isda_bench.reporting.inline_svg import Drawing

WIDTH, HEIGHT = 34.0, 11.0  # points: two strokes of every kind of line beside the marker
EDGE = 0.05  # of the width: room beside the ends of a line
POINTS = 72  # of an inch


def line_of(handle: Any) -> Line2D | None:
    """The line of a legend's handle; None where it has none."""
    return next((artist for artist in artists_of(handle) if isinstance(artist, Line2D)), None)


def artists_of(handle: Any) -> list[Artist]:
    """The handle itself, or the artists of a container of error bars."""
    if isinstance(handle, Artist):
        return [handle]
    parts: list[Any] = list(handle) if isinstance(handle, Container) else []
    flat = [each for part in parts for each in (part if isinstance(part, list | tuple) else [part])]
    return [artist for artist in flat if isinstance(artist, Artist)]


def legend_handles(figure: Figure, axes: Iterable[Axes]) -> dict[str, Any]:
    """The entries of all legends of the figure: label, in one line, -> handle."""
    legends = [*figure.legends, *(legend for axis in axes if (legend := axis.get_legend()) is not None)]
    return {
        " ".join(text.get_text().split()): handle
        for legend in legends
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }


def curve_handles(figure: Figure, axes: Iterable[Axes]) -> dict[str, Any]:
    """The handle that shows each label best: of a legend, else a filled one, else the first.

    Args:
        figure: whose legends are asked first; they show a marker where a line carries it apart.
        axes: with the labelled curves.
    """
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            if label not in found or (_hollow(found[label]) and not _hollow(handle)):
                found[label] = handle
    shown = legend_handles(figure, axes).items()
    return found | {
        label: handle for label, handle in shown if label in found and line_of(handle) is not None
    }


def sample(handle: Any, name: str) -> Drawing:
    """The drawing of a line with its marker, of a marker alone, or of a band.

    Args:
        handle: of a legend.
        name: unique on the page; letters, digits and hyphens.
    """
    figure = Figure(figsize=(WIDTH / POINTS, HEIGHT / POINTS))
    shown = _shape(handle)
    shown.set(transform=figure.transFigure, clip_on=False, visible=True)
    figure.add_artist(shown)
    return drawing(figure, name)


def _shape(handle: Any) -> Artist:
    """An artist with the handle's look, in parts of the sample's width and height."""
    line = line_of(handle)
    patch = next((artist for artist in artists_of(handle) if isinstance(artist, Patch)), None)
    if line is None and patch is not None:
        band = Rectangle((EDGE, 0.2), 1 - 2 * EDGE, 0.6)
        band.update_from(patch)
        return band
    shown = Line2D([EDGE, 0.5, 1 - EDGE], [0.5] * 3, color=INK)
    if line is not None:
        shown.update_from(line)
    shown.set_markevery([1])
    return shown


def _hollow(handle: Any) -> bool:
    line = line_of(handle)
    return line is not None and str(line.get_markerfacecolor()) == "none"
