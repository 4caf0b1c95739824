"""The parts of the report: answers, captions, times, errors by class, curves and their values."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from helpers.made_runs import changed, write_run
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import RunConfig
from isda_bench.errors import UserError
from isda_bench.experiments.coordinates import Coordinates
from isda_bench.experiments.selection import CHOSEN
from isda_bench.reporting.answers import BETTER, OPEN, WORSE, answers, headline
from isda_bench.reporting.class_errors import ClassErrors, class_errors
from isda_bench.reporting.confusion_matrix import page_classes
from isda_bench.reporting.constant_columns import without_constants
from isda_bench.reporting.durations import duration_text, moment_text
from isda_bench.reporting.figures.error_curves import draw_curve
from isda_bench.reporting.figures.method_styles import MethodStyle, method_styles
from isda_bench.reporting.figures.page import COMPANION
from isda_bench.reporting.figures.panels import Curve
from isda_bench.reporting.gallery import Picture
from isda_bench.reporting.html_report import report
from isda_bench.reporting.interactive import interactive
from isda_bench.reporting.questions import UNANSWERED, YES, AnsweredQuestion
from isda_bench.reporting.table import Paired, Table, TableRow
from isda_bench.storage.confusion import read_confusion
from isda_bench.storage.record_model import record_problems
from isda_bench.storage.records import read_records


def line(method, errors=None, network="resnet8", **more):
    place = Coordinates("digits", network, "standard", 200, method, "test")
    return TableRow(f"{network}-{method}", place, True, (0, 1, 2), errors or {}, **more)


def table(*lines):
    return Table("demo", "A demonstration", "last_10", "", lines)


def compared(*differences, holm_p=0.5):
    pair = Paired(dict(enumerate(differences)), "cross_entropy", holm_p=holm_p)
    return table(line("isda", {0: 1.0}, paired=pair))


def test_a_comparison_is_answered_in_a_sentence():
    found = headline(compared(-1.5, 0.75, -0.03))
    assert found == "isda against cross_entropy: no significant difference, 3 seeds, -0.3 [-3.1, 2.6] points"
    better = answers(compared(-1.0, -1.1, -0.9, holm_p=0.0331))[0]
    assert (better.kind, better.text) == (
        BETTER,
        "better, 3 seeds, -1.00 [-1.25, -0.75] points, Holm's p = 0.033",
    )
    worse = answers(compared(1.0, 1.1, 0.9, holm_p=0.0001))[0]
    assert worse.kind == WORSE and worse.text.endswith("Holm's p < 0.001")
    assert answers(compared(-1.0, holm_p=None))[0] == (
        OPEN,
        "isda against cross_entropy",
        "undecided, 1 seed, -1.00 points; one seed gives no test",
    )
    assert answers(compared(-0.004, 0.004, 0.001))[0].text.startswith(
        "no significant difference, 3 seeds, 0.00 ["
    )


def test_several_comparisons_are_counted():
    def pair(*differences, holm_p):
        return Paired(dict(enumerate(differences)), "cross_entropy", holm_p=holm_p)

    up, down = pair(1.0, 1.1, holm_p=0.01), pair(-1.0, -1.1, holm_p=0.01)
    both = table(line("isda", {0: 1.0}, paired=down), line("isda", {0: 1.0}, "resnet20", paired=up))
    assert headline(both) == "2 comparisons: 1 better than the baseline, 1 worse"
    assert [answer.subject for answer in answers(both)] == [
        "isda against cross_entropy, resnet8 on digits, 200 images",
        "isda against cross_entropy, resnet20 on digits, 200 images",
    ]
    tried = table(line("lq (q=0.1)", {0: 9.0, 1: 10.0}), line("lq", {0: 8.0, 1: 8.5}), line("isda"))
    assert headline(tried) == "lowest test error so far: lq, 8.25 ± 0.35 % (2 seeds)"


def test_a_table_of_choices_counts_them():
    """It said that no method and its baseline have runs of one seed, where there is no baseline."""
    made = line("isda", {0: 1.0})
    held_out = made.at._replace(split="validation")
    lines = [replace(made, at=held_out, cell=str(i), note=CHOSEN if i < 2 else "") for i in range(4)]
    lines[1] = replace(lines[1], at=held_out._replace(model="resnet20"))
    assert headline(table(*lines)) == "2 choices made on held-out images"


def test_constant_columns_are_said_once():
    header, rows = ["network", "data set", "method"], [["a", "x", "m"], ["b", "x", "m"]]
    parted = without_constants(header, rows, {"network", "data set"})
    assert parted == (["network", "method"], [["a", "m"], ["b", "m"]], [("data set", "x")])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *[(0.04, "0.0 s"), (4.585, "4.6 s"), (9.96, "10 s"), (59.4, "59 s"), (59.9, "1 min")],
        *[(61, "1 min 1 s"), (3599.8, "1 h"), (7980, "2 h 13 min"), (86399, "1 d"), (90000, "1 d 1 h")],
    ],
)
def test_a_duration_is_written_as_people_do(seconds, text):
    assert duration_text(seconds) == text


def test_a_moment_is_written_to_the_minute():
    assert moment_text("2026-01-02T03:04:05+00:00") == "2026-01-02 03:04 UTC"
    assert moment_text("yesterday") == "yesterday"


def write_classes(directory, accuracies, counts=None):
    """The last epoch's accuracies, and a matrix in a file."""
    row = {"epoch": 1, "test_error": 9.0, "test_class_accuracy": accuracies}
    (directory / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    if counts is not None:
        (directory / "confusion.json").write_text(json.dumps({"counts": counts}))


def test_errors_by_class_are_means_over_runs_and_matrices_are_summed(tmp_path):
    config = compose_run([*TINY, "dataset=cifar10"])
    paths = [write_run(tmp_path, changed(config, seed=seed), 9.0) for seed in (0, 1, 2)]
    first, second = np.eye(10, dtype=int), np.eye(10, dtype=int)
    first[3, 5], second[3, 5], second[3, 4] = 2, 1, 1
    write_classes(paths[0], [90.0] * 9 + [None], first.tolist())
    write_classes(paths[1], [80.0, *[90.0] * 8, None], second.tolist())
    records = [json.loads((path / "record.json").read_text()) for path in paths]
    found = class_errors(records, paths)
    assert found.runs == 2, "the third has none"
    assert found.errors[:2].tolist() == [15.0, 10.0] and np.isnan(found.errors[9])
    assert found.worst(2) == [0, 1] and 9 not in found.worst(10)
    assert found.names[3] == "cat" and found.taken_for(3) == (5, pytest.approx(100 * 3 / 6))
    assert found.taken_for(0) is None
    assert class_errors(records[2:], paths[2:]) is None
    shown = page_classes(found)
    assert shown["matrix"][3]["cells"][5] == ("50", 7, False) and shown["matrix"][3]["cells"][3][2]
    assert shown["matrix"][0]["cells"][1][0] == "" and shown["worst"][0][:2] == ["airplane", "15.0"]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"counts": 1}',
        '{"counts": []}',
        '{"counts": [[1, 2]]}',
        '{"counts": [[1.5]]}',
        '{"counts": [[-1]]}',
    ],
)
def test_a_damaged_matrix_is_reported(tmp_path, content):
    path = write_run(tmp_path, compose_run(TINY), 9.0)
    assert read_confusion(path, {}) is None
    (path / "confusion.json").write_text(content)
    with pytest.raises(UserError, match=r"confusion\.json: damaged"):
        read_confusion(path, {})


def test_a_matrix_in_a_record_is_checked(tmp_path):
    assert read_confusion(tmp_path, {"confusion": ["3 0", "1 2"]}) == [[3, 0], [1, 2]]
    with pytest.raises(UserError, match="should be a square"):
        read_confusion(tmp_path, {"confusion": ["3 0", "1"]})
    config = compose_run(TINY)
    record = json.loads((write_run(tmp_path, config, 9.0) / "record.json").read_text())
    assert record_problems(record | {"confusion": ["3 0", "1 2"]}, RunConfig) == []
    for rows in (["3 -1", "0 0"], ["a b"], [[1]], "1"):
        assert record_problems(record | {"confusion": rows}, RunConfig)


def test_many_classes_are_drawn_and_their_most_frequent_mistakes_listed():
    confusion = 8 * np.eye(100, dtype=int)
    confusion[7, 9] = 2
    names = tuple(f"c{i}" for i in range(100))
    shown = page_classes(
        ClassErrors(names, 100 - 100 * confusion.diagonal() / confusion.sum(1), 1, confusion)
    )
    assert shown["matrix"] is None and shown["pairs"] == [["c7", "c9", "20.0"]]
    drawn = dict(shown["drawing"])
    assert drawn[5] == "M9 7h1v1h-1z" and drawn[9].count("M") == 100, "20%, and 80 or 100%"
    assert shown["worst"][0] == ["c7", "20.0", "c9 (20.0%)"] and len(shown["worst"]) == 10


def two_panels():
    figure = Figure(figsize=(6, 3), layout="constrained")
    for axis, scale in zip(figure.subplots(1, 2), ("log", "linear"), strict=True):
        axis.plot([1, 10], [50, 5], color="#d62728", label="isda")
        axis.fill_between([1, 10], [40, 4], [60, 6], alpha=0.2, label=f"{COMPANION}isda")
        axis.errorbar([1, 10], [30, np.nan], yerr=[1, 1], color="#888888", linestyle="--", label="basic")
        axis.set(yscale=scale, xlabel="epoch")
    figure.legend()
    return figure


def test_a_figure_becomes_a_drawing_a_panel_with_the_points_of_its_curves():
    figure = two_panels()
    drawn = interactive(figure, "figure-1")
    assert [curve.label for curve in drawn.curves] == ["isda", "basic"] and len(drawn.panels) == 2
    assert not figure.legends and "isda" not in drawn.panels[0].drawing.svg, "the page has the legend"
    assert "#d62728" in look(drawn, 0) and "dasharray" not in look(drawn, 0)
    assert "#888888" in look(drawn, 1) and "dasharray" in look(drawn, 1)
    for panel, log in zip(drawn.panels, (True, False), strict=True):
        data = json.loads(panel.data)
        assert data["name"] == "epoch" and data["y"][2] is log and data["x"][2] is False
        assert data["curves"] == [[0, [1, 10], [50, 5]], [1, [1], [30]]]
        width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', panel.drawing.svg).groups())
        left, top, right, bottom = data["box"]
        assert 0 < left < right < width < 0.6 * 72 * 6 and 0 < top < bottom < height
        marks = re.findall(r'data-curve="(\d)"', panel.drawing.svg)
        assert marks.count("0") == 2 and marks.count("1") >= 2, "line and band; line and bars"


def look(drawn, k):
    """The rules of a sample, and the paths that it draws."""
    svg = drawn.curves[k].sample.svg
    classes = re.findall(r'class="([\w-]+)"', svg)
    rules = [rule[1] for name in classes if (rule := re.search(rf"\.{name} {{ (.*?) }}", drawn.css))]
    return " ".join([*rules, *re.findall(r' d="(.*?)"', svg)])


def test_a_sample_equals_its_curve_and_variants_of_a_method_differ():
    variants = ["isda (strength=0.25)", "isda (strength=0.5)", "isda"]
    styles = method_styles(variants)
    figure = Figure()
    axis = figure.subplots()
    for place, name in enumerate(variants):
        errors = pd.DataFrame({seed: [9.0 + place, 8.0, 7.0] for seed in (0, 1)}, index=[1, 2, 3])
        draw_curve(axis, Curve(name, name, errors, (7.0, 7.0)), styles[name], place)
    drawn = interactive(figure, "f")
    looks = [look(drawn, k) for k in range(3)]
    assert len(set(looks)) == 3
    panel = drawn.panels[0].drawing
    for k, shown in enumerate(looks):
        assert styles[variants[k]].colour in shown
        group = re.search(rf'<g data-curve="{k}">\s*<path[^>]* class="([\w-]+)"></path>', panel.svg)
        dashes = re.findall(
            r"stroke-dasharray: [\d., ]+", panel.css.split(f".{group[1]} {{")[1].split("}")[0]
        )
        assert re.findall(r"stroke-dasharray: [\d., ]+", shown) == dashes


def test_a_band_is_hidden_with_its_own_curve_where_two_have_one_colour():
    figure = Figure()
    axis = figure.subplots()
    looks = {name: MethodStyle("#c8102e", line, "o") for name, line in (("single", "-"), ("several", "--"))}
    single, several = (pd.DataFrame([[9.0] * n, [8.0] * n], index=[1, 2]) for n in (1, 3))
    draw_curve(axis, Curve("single", "a", single, (8.0,)), looks["single"])
    draw_curve(axis, Curve("several", "b", several, (8.0,) * 3), looks["several"])
    marks = re.findall(r'data-curve="(\d)"', interactive(figure, "f").panels[0].drawing.svg)
    assert sorted(marks) == ["0", "1", "1"], "a line; a line and a band"


def test_what_a_legend_explains_stands_beside_the_curves():
    figure = two_panels()
    figure.legends[0].remove()
    handles = {"isda": Line2D([], [], marker="s"), "band: range": Patch(color="#404040", alpha=0.2)}
    figure.legend(handles.values(), handles.keys())
    drawn = interactive(figure, "f")
    assert [note.label for note in drawn.explained] == ["band: range"]
    assert "opacity: 0.2" in drawn.explained[0].sample.css and "<use" in drawn.curves[0].sample.svg


def test_what_lines_and_bands_mean_stands_once_for_all_figures():
    def figure():
        drawn = two_panels()
        drawn.legends[0].remove()
        drawn.legend([Patch(color="#404040", alpha=0.2)], ["band: range over seeds"])
        return drawn

    pictures = [Picture(name, f"caption of {name}", figure()) for name in ("a", "b")]
    pictures[0].figure.legend([Patch(color="#c8102e")], ["the first 24 hold 90%"])
    page = report("t", [], [], pictures, read_records([]))
    assert page.count("band: range over seeds") == 1 and page.count("caption of") == 2
    places = [page.index(text) for text in ("band: range", "data-panel", "the first 24 hold", "caption of a")]
    assert places == sorted(places), "above all figures; in the legend of the only one that has it"


def test_a_long_title_makes_no_panel_wider():
    figure, plain = two_panels(), two_panels()
    figure.axes[0].set_title("resnet8 on cifar10, 1,000 images, a new subset each seed (n = 3)", loc="left")
    widths = [
        float(re.search(r'viewBox="0 0 ([\d.]+) ', interactive(each, "f").panels[0].drawing.svg)[1])
        for each in (figure, plain)
    ]
    assert widths[0] < 1.1 * widths[1]
    assert "(n = 3)" in figure.axes[0].get_title("left"), "no line ends within it"


def test_the_points_lie_where_the_drawing_has_them():
    panel = interactive(two_panels(), "f").panels[0]
    data = json.loads(panel.data)
    (low, high, _), (bottom_value, top_value, _) = data["x"], data["y"]
    left, top, right, bottom = data["box"]
    x = left + (right - left) * (1 - low) / (high - low)
    y = bottom + (top - bottom) * np.log(50 / bottom_value) / np.log(top_value / bottom_value)
    assert any(
        abs(float(a) - x) < 0.1 and abs(float(b) - y) < 0.1
        for a, b in re.findall(r"M ([\d.]+) ([\d.]+)", panel.drawing.svg)
    )


@pytest.fixture
def two_methods(tmp_path):
    for loss in ("cross_entropy", "isda"):
        for seed in (0, 1):
            write_run(tmp_path, compose_run([*TINY, f"loss={loss}", f"seed={seed}"]), 5.0 + seed)
    return read_records([tmp_path])


def test_planned_lines_without_runs_are_folded(two_methods):
    lines = [line("isda", {0: 5.0}), *(line("lq", network=f"net{i}") for i in range(72))]
    page = report(
        "t",
        [table(*lines), Table("other", "Another one", "last_10", "", (line("isda"),))],
        [],
        [],
        two_methods,
    )
    assert (
        "<summary>72 more planned, none run</summary>" in page and "net71 on digits, 200 images: lq" in page
    )
    assert page.count("<td>–") == 0 and "<summary>1 experiment planned, none run</summary>" in page
    assert "All rows: data set digits, network resnet8, 200 training images. Lower is better." in page


def test_cells_are_named_by_method_and_show_only_what_sets_them_apart(two_methods):
    page = report("t", [], [], [], two_methods)
    assert re.findall(r"<summary>(.*?)</summary>", page)[:2] == [
        "cross_entropy, 200 images, 160 epochs: test error 5.50 ± 0.71 (2)",
        "isda, 200 images, 160 epochs: test error 5.50 ± 0.71 (2)",
    ]
    settings = re.findall(r"<tr><td>(loss\.\w+)</td><td>(.*?)</td></tr>", page)
    assert ("loss.strength", "0.5") in settings and not re.search("<tr><td>(model|schedule|dataset)", page)
    assert page.count("schedule.epochs: 160") == 1, "what all share stands once"


def test_a_short_run_is_listed_with_the_error_of_its_last_epoch(tmp_path):
    write_run(tmp_path, compose_run([*TINY, "schedule.epochs=19", "schedule.milestones=[]"]), 5.0)
    page = report("t", [], [], [], read_records([tmp_path]))
    assert "19 epochs: test error 6.00 (1)" in page, "made_runs: the last epoch's is one point higher"


def test_cells_of_one_name_are_told_apart(tmp_path):
    for weight_decay in (1e-4, 2e-4):
        write_run(tmp_path, compose_run([*TINY, f"schedule.weight_decay={weight_decay}"]), 5.0)
    page = report("t", [], [], [], read_records([tmp_path]))
    assert all(f"160 epochs, schedule.weight_decay={value}: test" in page for value in ("0.0001", "0.0002"))


def test_the_evidence_s_questions_stand_with_their_answers(two_methods):
    asked = [
        AnsweredQuestion("Does it help?", "If so.", verdict, 3, 6, ("a gain of 1",))
        for verdict in (YES, UNANSWERED)
    ]
    page = report("t", [], [], [], two_methods, questions=asked)
    assert "Where does ISDA help? 2 questions</a><br>1 yes, 1 not answered yet" in page
    assert page.count("<strong>Does it help?</strong>") == 2 and "<li>a gain of 1</li>" in page
    assert "questions" not in report("t", [], [], [], two_methods)


def test_a_note_of_several_tables_stands_once(two_methods):
    tables = [Table(name, name, "last_10", "", (line("isda", {0: 5.0}),)) for name in ("a", "b")]
    page = report("t", tables, [], [], two_methods)
    assert page.count("mean of the last 10 epochs; mean ± standard deviation (n - 1)") == 1
    assert page.index("Notes on all tables") < page.index("standard deviation (n - 1)")
