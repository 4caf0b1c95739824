"""Figures from synthetic records, tables and statistics: what is drawn, not how it looks."""

import json
import re

import numpy as np
import pytest

from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.errors import UserError
from isda_bench.experiments.coordinates import Coordinates
from isda_bench.experiments.planned import PlannedCell
from isda_bench.experiments.published import published, published_curves
from isda_bench.experiments.selection import HyperparameterSelection
from isda_bench.loading import load_loss
from isda_bench.reporting import figures
from isda_bench.reporting.build_tables import Group, experiment_table
from isda_bench.reporting.gallery import PUBLISHED_CURVES, gallery
from isda_bench.reporting.spectrum import covariance_spectrum
from isda_bench.reporting.table import Paired, Table, TableRow
from isda_bench.storage.records import read_records
from isda_bench.training.run import run


def write_run(root, errors, *overrides):
    """A finished run with these errors by epoch."""
    config = compose_run([*TINY, *overrides])
    directory = root / config.run_id
    directory.mkdir()
    rows = [{"epoch": e, "test_error": error} for e, error in errors.items()]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = config.as_dict() | {
        "split": "test",
        "epochs": config.config["schedule"]["epochs"],
        "seconds": 1.0,
    }
    record["ended"] = ""
    record["error"] = {"last_10": 1.0, "final": 1.0, "best": 1.0}
    (directory / "record.json").write_text(json.dumps(record))


@pytest.fixture
def records(tmp_path):
    for seed, shift in enumerate((0, 1, 5)):
        write_run(tmp_path, {2: 8 + shift, 4: 4 + shift}, f"seed={seed}")
    write_run(tmp_path, {2: 7, 4: 3}, "loss=isda")
    write_run(tmp_path, {2: 6, 4: 2}, "loss=isda", "model=resnet20")
    return read_records([tmp_path])


def test_curves_are_the_median_and_the_range_over_seeds(records):
    second, first = figures.curves(records).axes
    lines = {line.get_label(): line for line in first.lines}
    assert list(lines) == ["cross_entropy", "isda"]
    assert lines["cross_entropy"].get_xydata().tolist() == [[2, 9], [4, 5]]
    band = first.collections[0].get_paths()[0].vertices
    assert {(2, 8), (2, 13), (4, 4), (4, 9)} <= {tuple(point) for point in band}
    assert first.get_title() == "resnet8 on digits, 200 images (n = 1-3)"
    assert second.get_title() == "resnet20 on digits, 200 images (n = 1)"
    assert second.lines[0].get_color() == lines["isda"].get_color()


def test_subsets_have_panels_of_their_own(tmp_path):
    for size in (100, 200):
        write_run(tmp_path, {2: 8, 4: 4}, f"dataset.train_size={size}")
    titles = [axis.get_title() for axis in figures.curves(read_records([tmp_path])).axes]
    assert titles == [f"resnet8 on digits, {size} images (n = 1)" for size in (100, 200)]


def test_cells_of_one_method_are_told_apart(tmp_path):
    for epochs in (4, 8):
        write_run(tmp_path, {2: 8, 4: 4}, f"schedule.epochs={epochs}", f"checkpoint.every={epochs}")
        write_run(tmp_path, {2: 8, 4: 4}, f"schedule.epochs={epochs}", "schedule.learning_rate=0.2")
    (axis,) = figures.curves(read_records([tmp_path])).axes
    assert len({line.get_label() for line in axis.lines}) >= 2
    assert len({line.get_linestyle() for line in axis.lines}) == 4


def line_with_gain(train_size, gains):
    at = Coordinates("cifar10", "resnet110", "standard", train_size, "isda", "test")
    return TableRow(
        "", at, True, paired=Paired({seed: -gain for seed, gain in enumerate(gains)}, "cross_entropy")
    )


def test_gain_over_the_training_size():
    lines = (line_with_gain(5000, [1.0, 2.0]), line_with_gain(1000, [4.0]), line_with_gain(None, [9.0]))
    (axis,) = figures.gain(Table("small_data", "", "last_10", "", lines)).axes
    assert axis.lines[0].get_xydata().tolist() == [[1000, 4], [5000, 1.5]]
    assert figures.gain(Table("small_data", "", "last_10", "", lines[2:])) is None


def test_selection_curves():
    values = (0.1, 0.25, 0.5)
    settings = [*TINY, "loss=isda", "dataset.val_size=50"]
    configs = [compose_run([*settings, f"loss.strength={value}"]) for value in values]
    cells = tuple(PlannedCell(config, (0, 1), ()) for config in configs)
    contest = HyperparameterSelection(
        "strength_selection", ("loss", "isda"), ("loss.strength",), cells, winner=cells[1]
    )
    errors = {config.cell: {0: 3 - i % 2, 1: 4 - i % 2} for i, config in enumerate(configs)}
    groups = {cell: Group({}, found) for cell, found in errors.items()}
    (axis,) = figures.selection([contest], groups).axes
    ring, curve = axis.lines[:2]
    assert ring.get_xydata().tolist() == [[0.25, 2.5]] and ring.get_label() == "chosen"
    assert curve.get_xydata().tolist() == [[0.1, 3.5], [0.25, 2.5], [0.5, 3.5]]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("strength", "validation error in %")
    assert figures.selection([contest], {}) is None


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")

    def train(covariance):
        config = compose_run(
            [*TINY, "schedule.epochs=1", "loss=isda", f"loss.covariance={covariance}", f"runs_dir={folder}"]
        )
        run(config)
        return folder / config.run_id

    return train


@pytest.mark.parametrize("covariance", ["full", "diagonal", "lowrank", "shared"])
def test_the_spectrum_of_what_a_run_estimated(finished, covariance):
    path = finished(covariance)
    values = covariance_spectrum(path)
    statistics = load_loss(path).statistics
    assert values.shape == (1 if covariance == "shared" else 10, 64)
    assert (np.diff(values, axis=1) <= 0).all() and (values >= 0).all()
    variances = {
        "lowrank": lambda: statistics.directions.square().sum(1) + statistics.variances,
        "diagonal": lambda: statistics.covariance,
    }.get(covariance, lambda: statistics.covariance.diagonal(dim1=1, dim2=2))()
    np.testing.assert_allclose(values.sum(1), variances.sum(1).double(), rtol=1e-5)
    figure = figures.spectrum(values, "title")
    assert len(figure.axes[0].lines) == len(values)


def test_a_loss_without_covariance_has_no_spectrum(finished):
    with pytest.raises(UserError, match="no covariance"):
        covariance_spectrum(finished("identity"))


def test_the_same_records_give_the_same_bytes(records, tmp_path):
    first, second = (figures.error_curves(records, tmp_path / name / "curves") for name in ("a", "b"))
    assert [path.suffix for path in first] == [".svg", ".png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[1].read_bytes()[1:4] == b"PNG"


def test_inline_figures_can_share_a_page(records):
    drawings = [figures.drawing(figures.curves(records), name) for name in ("one", "two")]
    texts = [drawing.svg for drawing in drawings]
    ids = [set(re.findall(r' id="([^"]*)"', text)) for text in texts]
    assert ids[0] and not ids[0] & ids[1]
    for text, own in zip(texts, ids, strict=True):
        assert set(re.findall(r"#((?:one|two)-[\w-]+)", text)) == own
        assert text.startswith("<svg") and "http" not in text and "resnet8 on digits" in text
        assert figures.INK not in text and not re.search(r"style|xmlns|<!", text)
    for drawing, name in zip(drawings, ("one", "two"), strict=True):
        assert "currentColor" in drawing.css and figures.INK not in drawing.css
        classes = set(re.findall(r"class=\"([^\"]*)\"", drawing.svg)) - {name}
        assert classes and classes == set(re.findall(r"^\.([\w-]+) {", drawing.css, re.MULTILINE))
        assert all(css_class.startswith(f"{name}-") for css_class in classes)


def test_powers_of_ten_keep_their_digits_in_a_page():
    figure = figures.Figure()
    figure.subplots().semilogy([1, 1e-6])
    svg = figures.drawing(figure, "one").svg
    powers = [re.sub("<[^>]*>", "", text) for text in re.findall(r"<text[^>]*>(.*?)</text>", svg, re.DOTALL)]
    assert "10\N{MINUS SIGN}4" in powers and not [text for text in powers if "\\" in text]


def test_figure_3_has_the_published_curves_behind_ours(tmp_path):
    for dataset in ("cifar10", "cifar100"):
        config = compose_run(["model=resnet110", f"dataset={dataset}", "loss=isda"])
        rows = [{"epoch": e, "test_error": 7.0} for e in (159, 160)]
        directory = tmp_path / config.run_id
        directory.mkdir()
        (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        record = config.as_dict() | {"split": "test", "epochs": 160, "seconds": 1.0, "ended": ""}
        record["error"] = {"last_10": 7.0, "final": 7.0, "best": 7.0}
        (directory / "record.json").write_text(json.dumps(record))
    axes = figures.curves(read_records([tmp_path]), PUBLISHED_CURVES["figure_3"]).axes
    for axis, dataset in zip(axes, ("cifar10", "cifar100"), strict=True):
        lines = {line.get_label(): line for line in axis.lines}
        assert lines["isda"].get_color() == lines["isda (published)"].get_color()
        assert lines["isda"].get_zorder() > lines["isda (published)"].get_zorder()
        curves = published_curves(dataset, "resnet110")
        assert {f"{method} (published)" for method in curves} | {"isda"} == set(lines)
        for method, points in curves.items():
            assert lines[f"{method} (published)"].get_xydata().tolist() == [list(point) for point in points]
            at = Coordinates(dataset, "resnet110", "standard", None, method, "test")
            last = np.mean([error for epoch, error in points if epoch > 150])
            assert published("figure_3", at).mean == pytest.approx(last, abs=0.006)


def test_figure_3_without_runs_shows_the_paper_alone():
    empty = read_records([])
    (picture,) = gallery({"figure_3": experiment_table("figure_3", empty)}, empty)
    assert [axis.get_title() for axis in picture.figure.axes] == [
        "resnet110 on cifar10 (no runs yet)",
        "resnet110 on cifar100 (no runs yet)",
    ]
