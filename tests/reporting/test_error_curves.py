"""Curves and final errors from synthetic records: which points are drawn, and whether one can read them."""

import json

import numpy as np
import pytest
from scipy import stats

from helpers.drawn import sizes, unreadable
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.reporting.figures.error_curves import error_curves, stretches
from isda_bench.reporting.figures.files import write
from isda_bench.reporting.figures.method_styles import METHOD_STYLES
from isda_bench.reporting.figures.page import error_ticks
from isda_bench.reporting.figures.panels import Panel, panels
from isda_bench.storage.records import read_records


@pytest.fixture
def finished(tmp_path):
    """Writes a run with these errors by epoch and this final error; gives all of them as records."""

    def make(errors, *overrides, final=1.0, split="test"):
        config = compose_run([*TINY, *overrides])
        directory = tmp_path / "runs" / config.run_id
        directory.mkdir(parents=True)
        rows = [{"epoch": e, f"{split}_error": error} for e, error in errors.items()]
        (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        record = config.as_dict() | {"split": split, "epochs": max(errors), "seconds": 1.0, "ended": ""}
        record["error"] = {"last_10": final, "final": final + 1, "best": final}
        (directory / "record.json").write_text(json.dumps(record))
        return read_records([tmp_path / "runs"])

    return make


def drawn(records, **more):
    """The axes of the figure: curves and final errors of each panel in turn."""
    return error_curves(panels(records), **more).axes


def by_label(axis):
    return {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}


def test_lines_are_the_median_and_bands_the_range(finished):
    for seed, shift in enumerate((0, 1, 5)):
        finished({1: 8 + shift, 2: 4 + shift}, f"seed={seed}", final=3.0 + shift)
    records = finished({1: 7, 2: 3}, "loss=isda")
    curves, _ = drawn(records)
    lines = by_label(curves)
    assert list(lines) == ["cross_entropy", "isda"]
    assert lines["cross_entropy"].get_xydata().tolist() == [[1, 9], [2, 5]]
    (band,) = curves.collections
    corners = {tuple(point) for point in band.get_paths()[0].vertices}
    assert corners == {(1, 8), (1, 13), (2, 4), (2, 9)}, "no band for the single run of isda"
    assert curves.get_title(loc="left") == "resnet8 on digits, 200 images (n = 1-3)"
    assert lines["isda"].get_markerfacecolor() == "none" != lines["cross_entropy"].get_markerfacecolor()
    for method, line in lines.items():
        assert (line.get_color(), line.get_marker()) == METHOD_STYLES[method][::2]


def test_final_errors_are_means_with_their_t_intervals(finished):
    for seed, final in enumerate((3.0, 4.0, 8.0)):
        records = finished({1: 8.0, 2: 4.0}, f"seed={seed}", final=final)
    records = finished({1: 7.0, 2: 3.0}, "loss=isda", final=2.5)
    _, finals = drawn(records)
    assert [label.get_text() for label in finals.get_yticklabels()] == ["cross_entropy", "isda"]
    places = finals.get_yticks()
    points = {tuple(line.get_xydata()[0]): line for line in finals.lines if len(line.get_xydata()) == 1}
    assert set(points) == {(5.0, places[0]), (2.5, places[1])}
    assert (
        points[2.5, places[1]].get_markerfacecolor() == "none" != points[5.0, places[0]].get_markerfacecolor()
    )
    (bar,) = finals.collections
    low, high = stats.t.interval(0.95, 2, loc=5, scale=stats.sem([3, 4, 8]))
    np.testing.assert_allclose(bar.get_segments()[0], [[low, places[0]], [high, places[0]]], rtol=1e-9)
    _, finals = error_curves(panels(records, "final"), "final").axes
    assert {line.get_xydata()[0][0] for line in finals.lines if len(line.get_xydata()) == 1} == {6.0, 3.5}
    assert "last epoch" in finals.get_xlabel()


def test_epochs_evaluated_alone_are_markers_without_a_line(finished):
    epochs = [20, 40, 60, *range(71, 81)]
    for seed in (0, 1):
        records = finished(
            {epoch: 100 / epoch + seed for epoch in epochs}, f"seed={seed}", "schedule.epochs=80"
        )
    curves, _ = drawn(records)
    line, marks = curves.lines
    assert line.get_xdata().tolist() == list(range(71, 81)) and line.get_linestyle() == "-"
    assert marks.get_xdata().tolist() == [20, 40, 60] and marks.get_linestyle() == "None"
    assert marks.get_marker() == line.get_marker() == METHOD_STYLES["cross_entropy"].marker
    assert len(line.get_markevery()) >= 1, "a line that differs from others"
    segments = [segment.tolist() for bars in curves.collections[1:] for segment in bars.get_segments()]
    assert segments == [[[e, 100 / e], [e, 100 / e + 1]] for e in (20, 40, 60)]
    assert curves.get_xticks().tolist() == list(range(0, 90, 10))


def test_what_follows_one_another():
    def parts(epochs):
        dense, alone = stretches(np.array(epochs))
        return [list(epochs[part]) for part in dense], [epochs[i] for i in alone]

    assert parts([1, 2, 3]) == ([[1, 2, 3]], [])
    assert parts([7]) == ([], [7])
    assert parts([5, 10, 160]) == ([[5, 10]], [160]), "every 5 of 160 is a line"
    assert parts([2, 4]) == ([], [2, 4])
    assert parts([1, 2, 10, 19, 20]) == ([[1, 2], [19, 20]], [10])


def test_the_picture_names_median_band_and_hollow_markers(finished):
    for seed in (0, 1):
        finished({1: 8.0 + seed, 2: 4.0, 10: 3.0}, f"seed={seed}")
    records = finished({1: 7.0, 2: 3.0}, "loss=isda")
    (legend,) = error_curves(panels(records)).legends
    text = " ".join(label.get_text() for label in legend.get_texts())
    for word in ("median", "range", "95% t interval", "hollow: a single run", "lone epoch"):
        assert word in text
    (legend,) = error_curves([p._replace(curves=p.curves[1:]) for p in panels(records)]).legends
    assert [label.get_text() for label in legend.get_texts()] == ["hollow: a single run"]


def test_what_cannot_be_compared_has_panels_of_its_own(finished):
    finished({1: 8.0, 2: 4.0}, "dataset.train_size=100")
    finished({1: 8.0, 2: 4.0}, "dataset.val_size=50", split="validation")
    records = finished({1: 8.0, 2: 4.0}, "augment=none")
    axes = drawn(records)[::2]
    assert [axis.get_title(loc="left") for axis in axes] == [
        "resnet8 on digits, 200 images, none (n = 1)",
        "resnet8 on digits, 100 images (n = 1)",
        "resnet8 on digits, 200 images (n = 1)",
    ]
    assert [axis.get_ylabel() for axis in axes] == ["test error, %", "test error, %", "validation error, %"]


def test_cells_of_one_method_differ_in_name_and_look(finished):
    for epochs in (4, 8):
        finished({1: 8, 2: 4}, f"schedule.epochs={epochs}", f"checkpoint.every={epochs}")
        records = finished({1: 8, 4: 4}, f"schedule.epochs={epochs}", "schedule.learning_rate=0.2")
    (panel,) = panels(records)
    assert len({curve.label for curve in panel.curves}) == len({curve.cell for curve in panel.curves}) == 4
    curves, _ = drawn(records)
    assert len({line.get_marker() for line in by_label(curves).values()}) == 4


def test_ticks_are_at_tens():
    assert error_ticks(28, 66) == [30, 40, 50, 60]
    assert error_ticks(47, 62) == [50, 55, 60]
    assert error_ticks(6.1, 8) == [6.5, 7, 7.5, 8]
    assert error_ticks(1.5, 80) == [2, 5, 10, 20, 50]
    assert set(error_ticks(8, 95)) < set(range(10, 100, 10)), "those that would touch are left out"
    assert error_ticks(5, 5.0001)


@pytest.mark.parametrize(
    "errors",
    [{1: 9.0}, {1: 0.0, 2: 0.0}, {1: 5.0, 2: 5.0}, {3: 100.0, 400: 1e-4}],
    ids=["one epoch", "no errors", "constant", "wide"],
)
def test_odd_runs_are_drawn(finished, errors):
    assert not unreadable(error_curves(panels(finished(errors))))


def test_nothing_and_what_is_not_finite_are_drawn(finished):
    (axis,) = error_curves([]).axes
    assert [text.get_text() for text in axis.texts] == ["no finished runs"]
    (panel,) = panels(finished({1: 9.0, 2: 8.0}))
    (curve,) = panel.curves
    broken = curve._replace(label="broken", errors=curve.errors * np.nan, finals=())
    for curves in ((broken,), (curve, broken)):
        figure = error_curves([panel._replace(curves=curves)])
        assert [text.get_text() for text in figure.axes[1].get_yticklabels()][-1] == "broken"
        assert not unreadable(figure)


def test_seeds_without_common_epochs_have_no_curve(finished):
    finished({1: 9.0})
    records = finished({2: 8.0}, "seed=1")
    curves, finals = drawn(records)
    assert not by_label(curves)
    assert [text.get_text() for text in curves.texts] == ["no epoch that all runs evaluated"]
    assert len(finals.get_yticks()) == 1


def test_text_has_a_papers_size_and_none_is_cut(finished):
    for method in ("loss=isda", "loss=focal", "loss=center"):
        for value in ("0.12345678", "0.12345679"):
            finished({1: 30.0, 2: 20.0}, method, f"schedule.learning_rate={value}", "augment=cutout")
    records = finished({1: 30.0, 2: 20.0}, "model=resnet20")
    figure = error_curves(panels(records))
    assert figure.get_figwidth() == 6.75
    assert all(8 <= size <= 9 for size in sizes(figure))
    assert not unreadable(figure)


def test_very_long_names_are_cut_and_stay_apart(finished):
    (panel,) = panels(finished({1: 9.0, 2: 8.0}))
    (curve,) = panel.curves
    long = "a_method_of_somebody_with_a_name_that_goes_on_and_on (and=its, settings=too, "
    labels = [long * 2 + "x=1)", long * 2 + "x=2)", "an_other" * 30]
    figure = error_curves([Panel(panel.at, tuple(curve._replace(label=label) for label in labels))])
    names = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert len(set(names)) == 3 and names[-1].endswith("\N{HORIZONTAL ELLIPSIS}")
    assert not unreadable(figure)


def test_the_same_records_give_the_same_bytes(finished, tmp_path):
    finished({1: 9.0, 2: 8.0})
    records = finished({1: 9.0, 2: 7.0}, "seed=1")
    first, second = (write(error_curves(panels(records)), tmp_path / name / "v1.5") for name in "ab")
    assert [path.name for path in first] == ["v1.5.svg", "v1.5.png", "v1.5.pdf"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert [path.read_bytes()[:4].strip(b"<") for path in first] == [b"?xm", b"\x89PNG", b"%PDF"]
    assert b"/Type3" not in first[2].read_bytes()
