"""Pictures of an inversion: supplement C's Figure 2, and the curves of both objectives."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from isda_bench.data.image_grid import GAP, ZOOM, picture_of
from isda_bench.figures import COLOURS, PANEL, STYLE
from isda_bench.inversion.descent import TRACED

TILE = 0.55  # inches of an image
DRAWN = 500  # points of a curve


@mpl.rc_context(STYLE | {"font.size": 7})
def grid(images: Tensor, columns: Sequence[str], rows: Sequence[str]) -> Figure:
    """Figure 2: a row for each original.

    Args:
        images: (M, n, C, H, W), uint8.
        columns: n titles.
        rows: M names.
    """
    m, n = images.shape[:2]
    figure = Figure(figsize=(TILE * (n + 1), TILE * (m + 1)), layout="constrained")
    axis = figure.subplots()
    axis.imshow(picture_of(images), interpolation="nearest")
    height, width = (ZOOM * (side + GAP) for side in images.shape[-2:])
    axis.set_xticks([width * (i + 0.5) for i in range(n)], columns, rotation=45, ha="left")
    axis.set_yticks([height * (i + 0.5) for i in range(m)], rows)
    axis.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axis.spines[:].set_visible(False)
    return figure


@mpl.rc_context(STYLE)
def curves(traces: Sequence[Tensor]) -> Figure:
    """Both objectives' parts over the iterations: the median over images, and the range of the middle half.

    Args:
        traces: of Step I and Step II, (iterations, 4, N) each.
    """
    figure = Figure(figsize=(2 * PANEL[0], PANEL[1]), layout="constrained")
    drawn = (("Step I", TRACED[:2]), ("Step II", TRACED[:1]))  # Step II minimises no pixels
    for axis, trace, (title, parts) in zip(figure.subplots(1, 2), traces, drawn, strict=True):
        axis.set(title=title, xlabel="iteration", ylabel="squared distance", yscale="log")
        for part in parts:
            _draw(axis, trace[:, TRACED.index(part)].numpy(), part)
        axis.grid()
        axis.legend()
    return figure


def _draw(axis: Axes, values: np.ndarray, part: str) -> None:
    """A line and its band; `values` (iterations, N)."""
    places = np.unique(np.linspace(0, len(values) - 1, DRAWN).astype(int))
    low, middle, high = np.quantile(values[places], [0.25, 0.5, 0.75], axis=1)
    colour = COLOURS[TRACED.index(part)]
    axis.plot(places, middle, color=colour, label=part)
    axis.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
