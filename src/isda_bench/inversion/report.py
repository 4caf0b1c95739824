"""The results of an inversion: figures and a record."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isda_bench.inversion.augmented_features import nearest
from isda_bench.inversion.descent import TRACED, Search, standardised
from isda_bench.inversion.drawings import Columns, curves, gallery
from isda_bench.inversion.setup import Setup, weights_sha256
from isda_bench.inversion.state import State, search_of
from isda_bench.reporting.figures.files import write
from isda_bench.storage.checksummed_json import write_checksummed
from isda_bench.storage.provenance import git_state, provenance
from isda_bench.storage.run_directory import now

RECORD, FIGURE, CURVES = "inversion.json", "figure", "curves"


@torch.no_grad()
def write_report(directory: Path, setup: Setup, state: State) -> None:
    """Writes <directory>/figure and curves (.svg, .png, .pdf) and inversion.json.

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
    columns = [Columns("Initial"), Columns("Restored"), Columns("Augmented", draws)]
    rows = [pixels_of(searches[0], state.images)[:, None], pixels_of(searches[0], found[0])[:, None]]
    rows.append(pixels_of(searches[1], found[1]).unflatten(0, (n, draws)))
    if near is not None:
        shown, _ = next(iter(setup.data.train.batches([near.flatten()], setup.options.seed)))
        rows.append(shown.unflatten(0, (n, near.numel() // n)))
        columns.append(Columns("Nearest training images", near.numel() // n))
    record = _record(setup, state, searches, found)
    names = class_names(setup.dataset.classes, state.labels.tolist())
    write(gallery(torch.cat(rows, 1), columns, names, caption(record)), directory / FIGURE)
    write(curves([point.trace for point in state.points]), directory / CURVES)
    if near is not None and distances is not None:
        record["nearest"] = {"indices": near.tolist(), "distances": distances.tolist()}
    write_checksummed(directory / RECORD, record)


def class_names(classes: Sequence[str] | None, labels: list[int]) -> list[str]:
    """The labels by the data set's names; 'class 3' where it has none."""
    return [f"class {y}" if classes is None else classes[y] for y in labels]


def caption(record: dict[str, Any]) -> str:
    """A gallery's caption: what it shows and what not, in numbers of the inversion's record.

    Args:
        record: with identity, labels, taken_for, squared_distance_of_augmentation and steps.
    """
    about, labels = record["identity"], record["labels"]
    taken = record["taken_for"]
    draws = len(taken["augmented"]) // len(labels)
    expected = {"restored": labels, "augmented": [y for y in labels for _ in range(draws)]}
    counts = [
        f"{sum(a == b for a, b in zip(taken[kind], right, strict=True))} of {len(right)} {kind}"
        for kind, right in expected.items()
    ]
    moved = record["squared_distance_of_augmentation"]
    rest = [
        end / max(start, 1e-12)
        for end, start in zip(record["steps"][1]["features"]["end"], moved, strict=True)
    ]
    return (
        f"Images of {about['generator']}, {about['iterations']:,} iterations a step. The classifier "
        f"{about['classifier']} recognises {' and '.join(counts)} images as their class. Step II stops at a "
        f"distance from the augmented features: in the median, {100 * statistics.median(rest):.0f}% of the "
        "squared displacement remains."
    )


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
