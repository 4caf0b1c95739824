"""Figure 3, the gain, selection, spectra and the gallery: what is drawn, from synthetic runs and tables."""

import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from helpers.commands import call
from helpers.drawn import sizes, unreadable
from helpers.made_runs import changed, write_run, write_runs
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.errors import UserError
from isda_bench.experiments.coordinates import Coordinates
from isda_bench.experiments.planned import PlannedCell
from isda_bench.experiments.published import published, published_curves
from isda_bench.experiments.selection import HyperparameterSelection
from isda_bench.loading import load_loss
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.figures.class_spectrum import class_spectrum, ranks_that_hold
from isda_bench.reporting.figures.error_curves import error_curves
from isda_bench.reporting.figures.figure_3 import figure_3
from isda_bench.reporting.figures.files import drawing
from isda_bench.reporting.figures.gain import gain
from isda_bench.reporting.figures.method_styles import METHOD_STYLES
from isda_bench.reporting.figures.page import INK
from isda_bench.reporting.figures.panels import panels
from isda_bench.reporting.figures.tried_settings import tried_settings
from isda_bench.reporting.gallery import gain_picture, gallery
from isda_bench.reporting.groups import Group
from isda_bench.reporting.spectrum import covariance_spectrum
from isda_bench.reporting.table import Paired, Table, TableRow
from isda_bench.storage.records import read_records
from isda_bench.training.run import run


def labels(axis):
    return {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}


def row(train_size, gains, method="isda", **more):
    at = Coordinates("cifar10", "resnet8", "standard", train_size, method, "test", resample=True)
    paired = Paired({seed: -gain for seed, gain in enumerate(gains)}, "cross_entropy")
    return TableRow("", at, True, paired=paired, **more)


def sizes_table(*rows):
    return Table("evidence_sizes", "", "last_10", "", rows)


def test_the_gain_has_means_intervals_and_every_seed():
    figure = gain(sizes_table(row(5000, [1.0, 2.0, 4.0]), row(1000, [4.0]), row(None, [9.0])))
    (axis,) = figure.axes
    series = next(line for line in axis.lines if line.get_label().startswith("isda, resnet8 on cifar10"))
    np.testing.assert_allclose(series.get_xydata(), [[1000, 4], [5000, 7 / 3]])
    (bar,) = axis.collections
    low, high = stats.t.interval(0.95, 2, loc=7 / 3, scale=stats.sem([1, 2, 4]))
    np.testing.assert_allclose(np.array(bar.get_segments()[0])[:, 1], [low, high])
    seeds = [line for line in axis.lines if len(line.get_xdata()) == 3]
    assert [line.get_ydata().tolist() for line in seeds] == [[1, 2, 4]]
    assert any(list(line.get_ydata()) == [0, 0] for line in axis.lines), "the line at zero"
    hollow = [line for line in axis.lines if line.get_markerfacecolor() == "none"]
    assert [line.get_ydata().tolist() for line in hollow] == [[4.0]]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1,000\nn = 1", "5,000\nn = 3"]
    texts = [text.get_text() for text in axis.texts]
    assert texts == ["ISDA better \N{UPWARDS ARROW}", "cross_entropy\nbetter \N{DOWNWARDS ARROW}"]
    assert not unreadable(figure) and all(8 <= size <= 9 for size in sizes(figure))


def test_a_gain_at_one_size_says_nothing_of_the_size():
    alone = row(2000, [3.0], deviations=("15 epochs, not 80",))
    (axis,) = gain(sizes_table(row(1000, [1.0]), row(5000, [2.0]), alone)).axes
    assert not [name for name in labels(axis) if "15 epochs" in name]
    (axis,) = gain(sizes_table(alone)).axes
    assert [name for name in labels(axis) if "15 epochs" in name]
    assert gain(sizes_table(row(None, [9.0]))) is None and gain(sizes_table()) is None


def test_gains_of_several_settings_differ_in_look_and_are_named():
    rows = [row(size, [1.0, 2.0], m) for size in (500, 1000) for m in ("isda", "isda (strength=0.25)")]
    figure = gain(sizes_table(*rows))
    lines = [line for name, line in labels(figure.axes[0]).items() if name.startswith("isda")]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines) == 2
    (legend,) = figure.legends
    assert sum("isda" in text.get_text() for text in legend.get_texts()) == 2
    assert not unreadable(figure)


def test_tried_settings_are_means_with_intervals():
    values = (0.1, 0.25, 0.5)
    settings = [*TINY, "loss=isda", "dataset.val_size=50"]
    configs = [compose_run([*settings, f"loss.strength={value}"]) for value in values]
    cells = tuple(PlannedCell(config, (0, 1), ()) for config in configs)
    selection = HyperparameterSelection(
        "strength_selection", ("loss", "isda"), ("loss.strength",), cells, winner=cells[1]
    )
    errors = {config.cell: {0: 3 - i % 2, 1: 4 - i % 2} for i, config in enumerate(configs)}
    groups = {cell: Group({}, found) for cell, found in errors.items()}
    figure = tried_settings([selection], groups)
    (axis,) = figure.axes
    ring, curve = axis.lines[:2]
    assert ring.get_xydata().tolist() == [[0.25, 2.5]] and ring.get_markerfacecolor() == "none"
    assert curve.get_xydata().tolist() == [[0.1, 3.5], [0.25, 2.5], [0.5, 3.5]]
    bars = [bar.get_segments()[0][:, 1].tolist() for bar in axis.collections]
    half = stats.t.ppf(0.975, 1) * 0.5
    np.testing.assert_allclose(bars, [[y - half, y + half] for y in (3.5, 2.5, 3.5)])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("strength", "validation error, %")
    assert not unreadable(figure) and figure.get_figwidth() == 3.25
    assert tried_settings([selection], {}) is None


def test_settings_that_share_no_line_stand_side_by_side():
    """Margin and decay vary together: five lines of one point each lay on each other."""
    tried = [(2, 0.1), (4, 0.12), (3, 0.1)]
    settings = [*TINY, "loss=large_margin", "dataset.val_size=50"]
    configs = [compose_run([*settings, f"loss.margin={m}", f"loss.annealing_decay={d}"]) for m, d in tried]
    cells = tuple(PlannedCell(config, (0, 1), ()) for config in configs)
    keys = ("loss.margin", "loss.annealing_decay")
    selection = HyperparameterSelection("a", ("loss", "large_margin"), keys, cells, winner=cells[2])
    groups = {config.cell: Group({}, {0: 3.0 + i, 1: 4.0 + i}) for i, config in enumerate(configs)}
    figure = tried_settings([selection], groups)
    (axis,) = figure.axes
    assert axis.lines[0].get_xydata().tolist() == [[2.0, 5.5]]  # the ring
    assert axis.lines[1].get_xydata().tolist() == [[0.0, 3.5], [1.0, 4.5], [2.0, 5.5]]
    assert axis.lines[1].get_linestyle() == "None" and axis.get_legend() is None
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["2\n0.1", "4\n0.12", "3\n0.1"]
    assert axis.get_xlabel() == "margin, annealing decay"
    assert not unreadable(figure)


@pytest.mark.parametrize("values", [("linear", "constant"), (True, False), (None, 3), ([1, 2], [3])])
def test_values_that_are_no_numbers_can_be_drawn(values):
    config = compose_run([*TINY, "loss=isda", "dataset.val_size=50"])
    configs = [changed(config, loss__ramp=value) for value in values]
    cells = tuple(PlannedCell(config, (0, 1), ()) for config in configs)
    selection = HyperparameterSelection("a", ("loss", "isda"), ("loss.ramp",), cells, winner=cells[1])
    figure = tried_settings([selection], {each.cell: Group({}, {0: 3.0, 1: 4.0}) for each in configs})
    (axis,) = figure.axes
    names = {tick.get_text() for tick in axis.get_xticklabels()}
    assert names == ({"0", "1"} if True in values else set(map(str, values)))


def test_a_value_is_named_where_its_name_does_not_touch_the_last_named_one():
    """1.3 had no name because 1.1, which has none, is near."""
    values = (1.0, 1.1, 1.3, 2.0, 3.0)
    settings = [*TINY, "loss=focal", "dataset.val_size=50"]
    configs = [compose_run([*settings, f"loss.gamma={value}"]) for value in values]
    cells = tuple(PlannedCell(config, (0,), ()) for config in configs)
    selection = HyperparameterSelection("a", ("loss", "focal"), ("loss.gamma",), cells)
    figure = tried_settings([selection], {config.cell: Group({}, {0: 3.0}) for config in configs})
    (axis,) = figure.axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1", "", "1.3", "2", "3"]
    assert not unreadable(figure)


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


@pytest.mark.parametrize(
    "covariance",
    [*(pytest.param(name, marks=pytest.mark.slow) for name in ("full", "diagonal")), "lowrank", "shared"],
)
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
    assert not unreadable(class_spectrum(values, path.name))


def test_a_loss_without_covariance_has_no_spectrum(finished):
    with pytest.raises(UserError, match="no covariance"):
        covariance_spectrum(finished("identity"))


def test_a_spectrum_is_the_median_and_the_range_of_shares():
    values = np.array([[6.0, 3.0, 1.0], [70.0, 20.0, 10.0], [8.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    figure = class_spectrum(values, "resnet8")
    (axis,) = figure.axes
    line = labels(axis)["median of 3 classes"]
    np.testing.assert_allclose(line.get_xydata(), [[1, 70], [2, 20], [3, 10]])
    (band,) = axis.collections
    corners = {tuple(np.round(point, 6)) for point in band.get_paths()[0].vertices}
    assert corners == {(1, 60), (1, 80), (2, 10), (2, 30), (3, 10)}
    assert "rank" in axis.get_xlabel() and "share" in axis.get_ylabel() and "%" in axis.get_ylabel()
    assert ranks_that_hold(values[:3], 0.9).tolist() == [2, 2, 2]
    assert not unreadable(figure) and figure.get_figwidth() == 3.25


@pytest.mark.parametrize("values", [np.zeros((2, 4)), [[np.nan, 1.0]], [[1.0]], [[4.0, 0.0, 0.0]]])
def test_odd_spectra_are_drawn(values):
    figure = class_spectrum(values, "resnet8-isda-" * 12)
    assert not unreadable(figure)


def test_inline_figures_can_share_a_page(tmp_path):
    write_runs(tmp_path, compose_run(TINY), [9.0, 8.0])
    drawn = error_curves(panels(read_records([tmp_path])))
    drawings = [drawing(drawn, name) for name in ("one", "two")]
    texts = [each.svg for each in drawings]
    ids = [set(re.findall(r' id="([^"]*)"', text)) for text in texts]
    assert ids[0] and not ids[0] & ids[1]
    for text, own in zip(texts, ids, strict=True):
        assert set(re.findall(r"#((?:one|two)-[\w-]+)", text)) == own
        assert text.startswith("<svg") and "http" not in text and "resnet8 on digits" in text
        assert INK not in text and not re.search(r"style|xmlns|<!", text)
    for each, name in zip(drawings, ("one", "two"), strict=True):
        assert "currentColor" in each.css and INK not in each.css
        classes = set(re.findall(r"class=\"([^\"]*)\"", each.svg)) - {name}
        assert classes and classes == set(re.findall(r"^\.([\w-]+) {", each.css, re.MULTILINE))
        assert all(css_class.startswith(f"{name}-") for css_class in classes)


def test_powers_of_ten_keep_their_digits_in_a_page():
    figure = Figure()
    figure.subplots().semilogy([1, 1e-6])
    svg = drawing(figure, "one").svg
    powers = [re.sub("<[^>]*>", "", text) for text in re.findall(r"<text[^>]*>(.*?)</text>", svg, re.DOTALL)]
    assert "10\N{MINUS SIGN}4" in powers and not [text for text in powers if "\\" in text]


def write_resnet110(folder, method, dataset, error, seed=0):
    config = compose_run(["model=resnet110", f"dataset={dataset}", f"method={method}", f"seed={seed}"])
    directory = write_run(folder, config, error)
    rows = [{"epoch": e, "test_error": 50.0 if e < 80 else error} for e in range(1, 161)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_figure_3_has_the_papers_zoom_with_its_curves_behind_ours(tmp_path):
    for dataset, error in (("cifar10", 7.0), ("cifar100", 28.0)):
        write_resnet110(tmp_path, "isda", dataset, error)
        write_resnet110(tmp_path, "disturb_label", dataset, error + 0.1)
    figure = figure_3(panels(read_records([tmp_path])))
    rows = np.reshape(figure.axes, (2, 3))
    for (whole, zoom, finals), dataset in zip(rows, ("cifar10", "cifar100"), strict=True):
        curves = published_curves(dataset, "resnet110")
        lines = labels(zoom)
        mine = "disturb_label" if dataset == "cifar10" else "disturb_label (rate=0.1)"
        assert {mine, "isda"} < set(lines) and mine in labels(whole)
        assert len(lines) == len(curves) + 2
        for method, points in curves.items():
            name = mine if method == "disturb_label" else method
            behind = lines[f"{name} (published)"]
            assert behind.get_xydata().tolist() == [list(point) for point in points]
            assert behind.get_zorder() < lines["isda"].get_zorder()
            if method != "disturb_label":
                assert behind.get_color() == METHOD_STYLES[method].colour
            last = np.mean([error for epoch, error in points if epoch > 150])
            at = Coordinates(dataset, "resnet110", "standard", None, method, "test")
            assert published("figure_3", at).mean == pytest.approx(last, abs=0.006)
            assert labels(finals)[f"{name} (published)"].get_xdata()[0] == pytest.approx(last)
        errors = [error for points in curves.values() for _, error in points]
        (left, right), (low, high) = zoom.get_xlim(), zoom.get_ylim()
        assert left == 80 and 160 <= right < 165 and zoom.get_yscale() == "linear"
        assert low < min(errors) and max(errors) < high < 1.1 * max(errors), "the paper's window, not 50%"
        assert whole.get_ylim()[1] > 50 and whole.get_xlim()[0] == 0
    assert not unreadable(figure) and all(8 <= size <= 9 for size in sizes(figure))


def test_figure_3_without_runs_shows_the_paper_alone():
    at = Coordinates("cifar10", "resnet110", "standard", None, "isda", "test")
    table = Table("figure_3", "Curves", "last_10", "", (TableRow("", at, True),))
    (picture,) = gallery({"figure_3": table}, read_records([]))
    titles = [axis.get_title(loc="left") for axis in picture.figure.axes[::2]]
    assert titles == ["resnet110 on cifar10 (no runs yet)", "resnet110 on cifar100 (no runs yet)"]
    assert len(picture.figure.axes) == 4 and not unreadable(picture.figure)


def cells_of(picture):
    return {line.get_label() for axis in picture.figure.axes[::2] for line in axis.lines} - {""}


def test_runs_that_deviate_from_an_experiment_are_not_drawn(tmp_path):
    planned = compose_run(["experiment=demo", "loss=isda"])
    write_run(tmp_path, planned, 5.0)
    write_run(tmp_path, changed(planned, schedule__epochs=7, seed=1), 6.0)
    records = read_records([tmp_path])
    tables = {"demo": experiment_table("demo", records)}
    assert any(row.deviations for row in tables["demo"].lines)
    (picture,) = gallery(tables, records)
    assert len([name for name in cells_of(picture) if name.startswith("isda")]) == 1
    assert picture.figure.axes[0].get_title(loc="left").endswith("(n = 1)")
    (picture,) = gallery(tables, records, deviations=True)
    assert len([name for name in cells_of(picture) if name.startswith("isda")]) == 2


def test_the_command_leaves_deviating_runs_out_unless_asked(tmp_path):
    write_run(tmp_path / "runs", compose_run(["experiment=demo", "loss=isda", "schedule.epochs=7"]), 6.0)
    words = ["experiment=demo", f"runs_dir={tmp_path / 'runs'}", f"out={tmp_path / 'out'}"]
    with pytest.raises(UserError, match="experiment=demo: nothing to draw; deviations=true"):
        call("figures", *words)
    assert not (tmp_path / "out").exists()
    call("figures", *words, "deviations=true")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"demo_curves.{kind}" for kind in ("pdf", "png", "svg")]


def test_a_panel_is_drawn_once(tmp_path):
    for method in ("basic", "isda", "focal"):
        write_resnet110(tmp_path, method, "cifar10", 7.0)
    records = read_records([tmp_path])
    cells = dict(zip(records["loss"], records["cell"], strict=True))

    def drawn(**tables):
        at = Coordinates("cifar10", "resnet110", "standard", None, "", "test")
        rows = {name: [TableRow(cells[loss], at, True) for loss in losses] for name, losses in tables.items()}
        pictures = gallery(
            {name: Table(name, "", "last_10", "", tuple(r)) for name, r in rows.items()}, records
        )
        return [picture.name for picture in pictures]

    two, three = ("cross_entropy", "isda"), ("cross_entropy", "isda", "focal")
    assert drawn(a=two, b=two) == ["a_curves"], "both have the same cells"
    assert drawn(a=two, b=three) == ["b_curves"], "the panel with most cells"
    assert drawn(a=("isda", "focal"), b=two) == ["a_curves", "b_curves"]
    assert drawn(figure_3=two, b=two) == ["figure_3_curves", "b_curves"], "one has the paper's curves"


def test_the_readmes_picture_prefers_new_subsets_for_each_seed():
    deviating = row(1000, [1.0], deviations=("24 epochs, not 160",))
    deviating = TableRow("", deviating.at, False, paired=deviating.paired, deviations=deviating.deviations)
    old = Table("small_data", "", "last_10", "", (deviating,))
    new = sizes_table(row(1000, [2.0, 3.0]), row(500, [4.0]))
    tables = {"evidence_sizes": sizes_table(), "small_data": old}
    (picture,) = gain_picture(tables)
    assert any("24 epochs, not 160" in name for name in labels(picture.figure.axes[0]))
    (picture,) = gain_picture(tables | {"evidence_sizes": new})
    assert picture.name == "gain_over_training_size"
    assert any("new subset each seed" in name for name in labels(picture.figure.axes[0]))
    begun = sizes_table(row(500, [4.0]))
    further = Table("small_data", "", "last_10", "", (row(1000, [1.0]), row(5000, [1.0])))
    (picture,) = gain_picture({"evidence_sizes": begun, "small_data": further})
    assert len(picture.figure.axes[0].get_xticks()) == 2, (
        "an experiment with one size says nothing of the size"
    )
    assert list(gain_picture({"small_data": sizes_table()})) == []
