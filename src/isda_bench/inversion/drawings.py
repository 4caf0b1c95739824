"""Pictures of an inversion: the gallery of the paper's Figure 2, and both descents."""

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from isda_bench.data.image_grid import GAP, ZOOM, picture_of
from isda_bench.inversion.descent import TRACED
from isda_bench.reporting.figures.method_styles import METHOD_STYLES
from isda_bench.reporting.figures.page import (
    CHARACTER,
    INK,
    LINE,
    PAGE,
    STYLE,
    legend_below,
    legend_line,
    page,
    wrapped,
)

WIDEST = 0.75  # inches of an image
HEADS = 0.35  # inches above the images
CURVES = 2.4  # inches: the height of the curves
DRAWN = 500  # points of a curve
LINES = ("-", "--")
BAND = 0.2  # opacity
COLOURS = (METHOD_STYLES["isda"].colour, METHOD_STYLES["center"].colour)


class Columns(NamedTuple):
    """Neighbouring columns below one head: 'Augmented', 7."""

    head: str
    columns: int = 1


@mpl.rc_context(STYLE)
def gallery(images: Tensor, columns: Sequence[Columns], classes: Sequence[str], caption: str = "") -> Figure:
    """Figure 2: a row for each original, each class named once beside its rows.

    Args:
        images: (M, n, C, H, W), uint8; rows of one class follow one another.
        columns: heads from left to right, n columns in all.
        classes: M names.
        caption: below the images: what they are, and how often the classifier takes them for another class.
    """
    m, n = images.shape[:2]
    beside = 0.25 + CHARACTER * max(map(len, classes), default=0)
    tile = min(WIDEST, (PAGE - beside) / n)
    width = max(n * tile + beside, PAGE / 2)
    text = wrapped(caption, width - 0.2)
    narrow = any(CHARACTER * len(each.head) > each.columns * tile for each in columns)
    upright = [each for each in columns if narrow and each.columns == 1]
    heads = HEADS + CHARACTER * max((len(each.head) for each in upright), default=0)
    figure = page(width, m * tile + heads + (LINE * (1.5 + text.count("\n")) if caption else 0))
    axis = figure.subplots()
    axis.imshow(picture_of(images), interpolation="nearest")
    height, across = (ZOOM * (side + GAP) for side in images.shape[-2:])
    starts = np.cumsum([0, *(each.columns for each in columns)])
    middles = [across * (a + b) / 2 for a, b in pairwise(starts.tolist())]
    axis.set_xticks(middles, [each.head for each in columns])
    groups = [list(rows) for _, rows in groupby(range(m), key=lambda row: classes[row])]
    axis.set_yticks(
        [height * (rows[0] + rows[-1] + 1) / 2 for rows in groups], [classes[r[0]] for r in groups]
    )
    axis.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    for each, label in zip(columns, axis.get_xticklabels(), strict=True):
        label.set_rotation(90 if each in upright else 0)
    axis.spines[:].set_visible(False)
    if caption:
        figure.supxlabel(text, fontsize=STYLE["font.size"])
    return figure


@mpl.rc_context(STYLE)
def curves(traces: Sequence[Tensor]) -> Figure:
    """Both objectives' parts over the iterations: the median over images, and the range of the middle half.

    Args:
        traces: of Step I and Step II, (iterations, 4, N) each.
    """
    figure = page(PAGE, CURVES)
    drawn = (("Step I", TRACED[:2]), ("Step II", TRACED[:1]))  # Step II minimises no pixels
    for axis, trace, (title, parts) in zip(figure.subplots(1, 2), traces, drawn, strict=True):
        axis.set(title=title, xlabel="iteration", ylabel="squared distance", yscale="log")
        for part in parts:
            _draw(axis, trace[:, TRACED.index(part)].numpy(), part)
        axis.grid(visible=True)
    handles: dict[str, Any] = {
        part: legend_line(colour, line=line)
        for part, colour, line in zip(TRACED, COLOURS, LINES, strict=False)
    }
    handles["line: median over images"] = legend_line()
    handles["band: their middle half"] = Patch(color=INK, alpha=BAND, linewidth=0)
    legend_below(figure, handles)
    return figure


def _draw(axis: Axes, values: np.ndarray, part: str) -> None:
    """A line and its band; `values` (iterations, N)."""
    places = np.unique(np.linspace(0, len(values) - 1, DRAWN).astype(int))
    low, middle, high = np.quantile(values[places], [0.25, 0.5, 0.75], axis=1)
    index = TRACED.index(part)
    axis.plot(places, middle, LINES[index], color=COLOURS[index], label=part)
    axis.fill_between(places, low, high, color=COLOURS[index], alpha=BAND, linewidth=0)
