"""A cell's errors by class as the page shows them: the worst classes and the confusion matrix."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isda_bench.reporting.class_errors import ClassErrors
from isda_bench.reporting.inference import Floats

FEW_CLASSES = 20
"""Up to so many classes the matrix is a table of numbers; beyond it is drawn."""
WORST = 10
"""Classes, and pairs of classes, that are listed where there are more."""
SHADES = 9
"""Of the matrix's fields, for the share of the true class's images: 0 is none, 9 all of them."""


def page_classes(classes: ClassErrors) -> dict[str, Any]:
    """The template's variables about a cell's classes."""
    count = len(classes.names)
    most = count if count <= FEW_CLASSES else WORST
    shares = None if classes.confusion is None else _shares(classes.confusion)
    return {
        "count": count,
        "runs": classes.runs,
        "header": ["class", "error in %", *(["most often taken for"] if shares is not None else [])],
        "worst": [_worst(classes, c) for c in classes.worst(most)],
        "matrix": _table(classes, shares) if shares is not None and count <= FEW_CLASSES else None,
        "drawing": _paths(shares) if shares is not None and count > FEW_CLASSES else None,
        "pairs": _pairs(classes, shares) if shares is not None and count > FEW_CLASSES else [],
    }


def _shares(confusion: NDArray[np.int64]) -> Floats:
    """Percent of the images of each true class, (C, C); 0 in the row of a class without an image."""
    totals = confusion.sum(1, keepdims=True)
    return 100 * confusion / np.maximum(totals, 1)


def _worst(classes: ClassErrors, c: int) -> list[str]:
    row = [classes.names[c], f"{classes.errors[c]:.1f}"]
    if classes.confusion is not None:
        other = classes.taken_for(c)
        row.append(f"{classes.names[other[0]]} ({other[1]:.1f}%)" if other else "")
    return row


def _table(classes: ClassErrors, shares: Floats) -> list[dict[str, Any]]:
    """A row for each true class: its name, and text and shade of each field."""
    return [
        {"name": name, "cells": [(_share_text(share), _shade(share), i == j) for j, share in enumerate(row)]}
        for i, (name, row) in enumerate(zip(classes.names, shares, strict=True))
    ]


def _share_text(share: float) -> str:
    return "" if share == 0 else "<1" if share < 1 else f"{share:.0f}"


def _shade(share: float) -> int:
    """0 to SHADES; rare mistakes differ more in shade than frequent ones."""
    return int(np.ceil(SHADES * np.sqrt(share / 100)))


def _paths(shares: Floats) -> list[tuple[int, str]]:
    """For each shade an SVG path of its fields, each a unit wide: x is the column, y the row from the top."""
    shades = np.ceil(SHADES * np.sqrt(shares / 100)).astype(int)
    paths = []
    for shade in range(1, SHADES + 1):
        fields = np.argwhere(shades == shade)
        if len(fields):
            paths.append((shade, "".join(f"M{j} {i}h1v1h-1z" for i, j in fields.tolist())))
    return paths


def _pairs(classes: ClassErrors, shares: Floats) -> list[list[str]]:
    """The most frequent mistakes: true class, predicted class, percent of the true class's images."""
    wrong = shares * (1 - np.eye(len(shares)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:WORST]
    places = [divmod(int(place), len(shares)) for place in order]
    return [[classes.names[i], classes.names[j], f"{wrong[i, j]:.1f}"] for i, j in places if wrong[i, j]]
