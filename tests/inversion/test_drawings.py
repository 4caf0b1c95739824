"""Figure 2's gallery: its columns, rows by class and caption, without an inversion."""

import numpy as np
import pytest
import torch

from helpers.drawn import sizes, unreadable
from isda_bench.inversion.drawings import Columns, curves, gallery
from isda_bench.inversion.report import caption, class_names

FIGURE_2 = [Columns("Initial"), Columns("Restored"), Columns("Augmented", 7)]
ROWS = ["automobile"] * 2 + ["horse"] * 2 + ["bird"] * 2 + ["ship"] * 2


def images(rows, columns, channels=3, size=32):
    return (
        torch.arange(rows * columns, dtype=torch.uint8)
        .view(rows, columns, 1, 1, 1)
        .expand(-1, -1, channels, size, size)
    )


def test_the_layout_is_figure_2s():
    figure = gallery(images(8, 9), FIGURE_2, ROWS, "What it shows. " * 12)
    (axis,) = figure.axes
    heads = dict(zip([t.get_text() for t in axis.get_xticklabels()], axis.get_xticks(), strict=True))
    names = dict(zip([t.get_text() for t in axis.get_yticklabels()], axis.get_yticks(), strict=True))
    picture = axis.images[0].get_array()
    tile = picture.shape[1] / 9
    assert heads == pytest.approx({"Initial": tile / 2, "Restored": 1.5 * tile, "Augmented": 5.5 * tile})
    assert names == pytest.approx({c: (2 * i + 1) * tile for i, c in enumerate(dict.fromkeys(ROWS))})
    shown = [
        [int(picture[int((r + 0.5) * tile), int((c + 0.5) * tile), 0]) for c in range(9)] for r in range(8)
    ]
    assert shown == np.arange(72).reshape(8, 9).tolist()
    assert figure.get_figwidth() <= 6.75 + 1e-9
    assert not unreadable(figure) and sizes(figure) == {8.0}


@pytest.mark.parametrize("shape", [(1, 3, 1, 8), (10, 17, 1, 8), (3, 12, 3, 32)])
def test_other_numbers_of_rows_and_columns_fit(shape):
    m, n, channels, size = shape
    columns = [*FIGURE_2[:2], Columns("Augmented", n - 2)]
    figure = gallery(images(m, n, channels, size), columns, class_names(None, list(range(m))))
    assert figure.get_figwidth() <= 6.75 + 1e-9 and not unreadable(figure)


def test_the_caption_says_how_many_are_taken_for_their_class_and_how_far_they_are():
    record = {
        "identity": {"classifier": "a-classifier", "generator": "a-generator", "iterations": 10000},
        "labels": [3, 5],
        "taken_for": {"original": [3, 5], "restored": [3, 1], "augmented": [3, 3, 5, 0]},
        "squared_distance_of_augmentation": [10.0, 10.0, 2.0, 0.0],
        "steps": [{}, {"features": {"end": [4.0, 5.0, 0.2, 0.0]}}],
    }
    text = caption(record)
    assert "a-classifier recognises 1 of 2 restored and 3 of 4 augmented images" in text
    assert "a-generator, 10,000 iterations" in text
    assert "25% of the squared displacement remains" in text, "the median of 40, 50, 10 and 0"


def test_both_descents_are_drawn():
    figure = curves([torch.rand(600, 4, 5) + 0.1, torch.rand(1, 4, 5) + 0.1])
    assert [line.get_label() for axis in figure.axes for line in axis.lines] == [
        "features",
        "pixels",
        "features",
    ]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][2:] == [
        "line: median over images", "band: their middle half",
    ]  # fmt: skip
    assert not unreadable(figure)
