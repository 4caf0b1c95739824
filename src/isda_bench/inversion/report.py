"""The results of an inversion: figures and a record."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from isda_bench.data.image_grid import GAP, ZOOM, picture_of
from isda_bench.inversion.augmented_features import nearest
from isda_bench.inversion.descent import TRACED, Search, standardised
from isda_bench.inversion.setup import Setup, weights_sha256
from isda_bench.inversion.state import State, search_of
from isda_bench.reporting import figures
from isda_bench.reporting.figures import COLOURS, PANEL, STYLE
from isda_bench.storage.checksummed_json import write_checksummed
from isda_bench.storage.provenance import git_state, provenance
from isda_bench.storage.run_directory import now

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


RECORD, FIGURE, CURVES = "inversion.json", "figure", "curves"


@torch.no_grad()
def write_report(directory: Path, setup: Setup, state: State) -> None:
    """Writes <directory>/figure and curves (.svg, .png) and inversion.json.

    Raises:
        UserError: one of them cannot be written.
    """
    searches = [search_of(setup, state, step) for step in range(len(state.points))]
    zhats = [standardised(point.z) for point in state.points]
    found = [search.image(zhat) for search, zhat in zip(searches, zhats, strict=True)]
    n, draws = len(state.labels), setup.options.augmentations
    near, distances = None, None
    if setup.options.nearest:
        own = state.indices.repeat_interleave(draws)
        near, distances = nearest(
            setup.classifier, setup.training_images(), state.augmented.to(setup.device), own,
            setup.options.nearest,
        )  # fmt: skip
    columns = ["original", "restored", *(f"augmented {k}" for k in range(1, draws + 1))]
    rows = [pixels_of(searches[0], state.images)[:, None], pixels_of(searches[0], found[0])[:, None]]
    rows.append(pixels_of(searches[1], found[1]).unflatten(0, (n, draws)))
    if near is not None:
        shown, _ = next(iter(setup.data.train.batches([near.flatten()], setup.options.seed)))
        rows.append(shown.unflatten(0, (n, near.numel() // n)))
        columns += [f"near {k}" for k in range(1, draws + 1) for _ in range(near.shape[1])]
    names = [f"class {y}" for y in state.labels.tolist()]
    figures.write(grid(torch.cat(rows, 1), columns, names), directory / FIGURE)
    figures.write(curves([point.trace for point in state.points]), directory / CURVES)
    record = _record(setup, state, searches, found)
    if near is not None and distances is not None:
        record["nearest"] = {"indices": near.tolist(), "distances": distances.tolist()}
    write_checksummed(directory / RECORD, record)


def pixels_of(search: Search, images: Tensor) -> Tensor:
    """Normalised images as uint8, on the CPU."""
    pixels = ((images.to(search.factor.device) - search.offset) / search.factor + 1) * 127.5
    return pixels.round().clamp(0, 255).byte().cpu()


def _record(setup: Setup, state: State, searches: list[Search], found: list[Tensor]) -> dict[str, Any]:
    head = setup.classifier
    ends = [search(point.z)[1].cpu() for search, point in zip(searches, state.points, strict=True)]
    taken_for = [head(images).argmax(1).tolist() for images in (state.images.to(setup.device), *found)]
    return {
        "identity": setup.identity,
        "unchanged": {
            "classifier": weights_sha256(setup.classifier) == setup.identity["classifier_sha256"],
            "generator": weights_sha256(setup.generator) == setup.identity["generator_sha256"],
        },
        "indices": state.indices.tolist(),
        "labels": state.labels.tolist(),
        "taken_for": dict(zip(("original", "restored", "augmented"), taken_for, strict=True)),
        "squared_distance_of_augmentation": _squared_lengths(state, setup.options.augmentations),
        "steps": [
            _step(point.trace, end, seconds)
            for point, end, seconds in zip(state.points, ends, state.seconds, strict=True)
        ],
        "written": now(),
        "git": git_state(),
        **provenance(setup.device),
    }


def _squared_lengths(state: State, draws: int) -> list[float]:
    """||atilde - a||^2 of each augmented feature."""
    moved = state.augmented - state.features.repeat_interleave(draws, 0)
    lengths: list[float] = moved.square().sum(1).tolist()
    return lengths


def _step(trace: Tensor, end: Tensor, seconds: float) -> dict[str, Any]:
    """Residuals of a step, of each image and their median, at its beginning and its end."""
    parts: dict[str, Any] = {
        name: {
            "start": trace[0, i].tolist(),
            "end": end[i].tolist(),
            "median_start": trace[0, i].quantile(0.5).item(),
            "median_end": end[i].quantile(0.5).item(),
        }
        for i, name in enumerate(TRACED[:2])
    }
    worst = {f"worst_{name}_error": trace[:, TRACED.index(name)].max().item() for name in TRACED[2:]}
    return parts | worst | {"seconds": round(seconds, 3), "iterations_per_second": len(trace) / seconds}
