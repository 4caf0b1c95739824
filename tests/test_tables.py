"""Experiments' tables from synthetic records, to the character."""

import csv
import io
import json
import math
from dataclasses import replace

import pandas as pd
import pytest
from scipy import stats

from helpers.made_runs import changed, write_run, write_runs
from helpers.made_tables import cell, table_of_runs
from helpers.tiny import REPOSITORY
from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import identity
from isda_bench.experiments.methods import Methods
from isda_bench.experiments.planned import PlannedCell, planned
from isda_bench.experiments.selection import HyperparameterSelection, with_settings
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.columns import text_rows
from isda_bench.reporting.latex_table import latex
from isda_bench.reporting.pairing import Entry, with_baselines
from isda_bench.reporting.render_tables import csv_table, markdown, wide_csv
from isda_bench.reporting.table import TableRow
from isda_bench.reporting.table_notes import notes_of

EMPTY = pd.DataFrame(columns=["cell", "seed", "last_10", "path", "record"])
GOLDEN = REPOSITORY / "tests" / "golden"


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    """Two whole cells, one with a finished and an unfinished run, shorter runs, some that do not belong."""
    root = tmp_path_factory.mktemp("runs")
    basic, isda = cell("ablation", "cifar10", "cross_entropy"), cell("ablation", "cifar10", "isda")
    write_runs(root, basic, [4.0, 3.8, 3.9])
    write_runs(root, isda, [3.6, 3.5, 3.4])
    write_run(root, changed(cell("ablation", "cifar100", "isda"), seed=2), 18.25)
    write_run(root, changed(cell("ablation", "cifar100", "isda"), seed=1), None)
    write_run(root, cell("ablation", "cifar100", "isda (ramp=constant)"), None)
    for config, error in ((basic, 5.0), (isda, 4.5)):
        write_run(root, changed(config, schedule__epochs=120, precision="bf16"), error)
    write_run(root, changed(isda, loss__strength=0.25), 1.0)
    write_run(root, changed(isda, dataset__val_size=5000), 1.0)
    write_run(root, changed(isda, dataset__padding=2), 1.0)
    return table_of_runs("ablation", root)


@pytest.mark.parametrize(
    ("ending", "render"), [(".md", markdown), (".tex", latex), (".csv", csv_table), ("_wide.csv", wide_csv)]
)
def test_table_to_the_character(ablation, ending, render):
    """tests/golden/ablation.*: the fixture's numbers, checked by hand."""
    assert render(ablation) == (GOLDEN / f"ablation{ending}").read_text()


def test_selection_validation_and_other_crops_do_not_belong(ablation):
    assert all(error > 1 for line in ablation.lines for error in line.errors.values())


def test_groups_of_different_settings_are_lines_of_their_own(tmp_path):
    isda = cell("ablation", "cifar10", "isda")
    write_runs(tmp_path, changed(isda, schedule__epochs=100), [5.0, 6.0])
    write_runs(tmp_path, changed(isda, schedule__epochs=120), [4.0])
    lines = [line for line in table_of_runs("ablation", tmp_path).lines if line.errors]
    assert [(line.n, line.deviations) for line in lines] == [
        (2, ("100 epochs, not 240",)),
        (1, ("120 epochs, not 240",)),
    ]


def test_another_network_and_a_subset_are_reported(tmp_path):
    config = compose_run(["model=resnet8", "loss=isda", "dataset.train_size=1000", "schedule.epochs=80"])
    write_run(tmp_path, config, 60.0)
    (line,) = (line for line in table_of_runs("comparison", tmp_path).lines if line.errors)
    assert line.at.method == "isda" and line.published is None
    assert set(line.deviations) == {
        "another network, resnet8",
        "1,000 training images, not all",
        "80 epochs, not 160",
    }
    assert not table_of_runs("journal_table_2", tmp_path).has_runs  # a table of networks


def test_a_method_is_known_however_it_was_asked_for(tmp_path):
    """Dropout is part of Wide-ResNet: method=dropout and loss=cross_entropy are one cell."""
    write_run(tmp_path, compose_run(["model=wrn28_10", "loss=cross_entropy"]), 3.8)
    (line,) = (line for line in table_of_runs("comparison", tmp_path).lines if line.errors)
    assert line.planned and line.published.mean == 3.82


@pytest.mark.parametrize("second", ["a", "b"])
def test_a_line_of_different_generators_says_so(tmp_path, second):
    config = cell("comparison", "cifar10", "wgan", "resnet110")
    for seed, name in enumerate(["a", second, "a"]):
        path = write_run(tmp_path, changed(config, seed=seed), 6.0 + seed) / "record.json"
        generator = {"run": f"cifar10-wgan-{name}", "sha256": name}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"generator": generator}))
    table = table_of_runs("comparison", tmp_path)
    (line,) = (line for line in table.lines if line.errors)
    assert (line.n, line.note) == (3, "")
    reported = "made with 2 different generators: cifar10-wgan-a, cifar10-wgan-b"
    assert line.remark == ("" if second == "a" else reported)
    for render in (markdown, csv_table):
        assert ("different generators" in render(table)) == (second == "b")


def test_published_values_stand_in_their_cells():
    values = {
        (line.at.model, line.at.dataset, line.at.augment, line.at.method): line.published
        for name in ("journal_table_2", "journal_table_4", "comparison", "imagenet_journal")
        for line in experiment_table(name, EMPTY).lines
    }
    assert all(values.values())
    value = values["shake_shake_26_2x112d", "cifar100", "randaugment", "isda"]
    assert (value.mean, value.std, value.checked) == (14.24, 0.07, True)
    value = values["wrn28_10", "cifar10", "cutout", "cross_entropy"]
    assert (value.mean, value.std) == (2.99, 0.06)
    value = values["resnet110", "cifar100", "standard", "disturb_label (rate=0.1)"]
    assert (value.mean, value.checked) == (28.46, False)


def strength_runs(root, best):
    for planned_cell in planned("strength_selection"):
        if (planned_cell.at.model, planned_cell.at.dataset) == ("resnet110", "cifar10"):
            strength = planned_cell.config.config["loss"]["strength"]
            write_runs(root, planned_cell.config, [5 + abs(strength - best)] * 3)


def test_a_strength_chosen_on_validation_has_its_line(tmp_path):
    strength_runs(tmp_path, best=0.25)
    isda = cell("comparison", "cifar10", "isda", "resnet110")
    write_runs(tmp_path, isda, [6.0, 6.1, 6.2])
    write_runs(tmp_path, changed(isda, loss__strength=0.25), [5.0, 5.1, 5.2])
    table = table_of_runs("comparison", tmp_path)
    assert [(line.at.method, line.note, line.n) for line in table.lines if line.errors] == [
        ("isda", "fixed; validation chose other settings", 3),
        ("isda (strength=0.25)", "chosen on validation", 3),
    ]
    assert (
        "isda, resnet110, cifar10: chosen strength 0.25."
        in table_of_runs("strength_selection", tmp_path).notes
    )


def test_a_choice_needs_every_candidate(tmp_path):
    strength_runs(tmp_path, best=0.5)
    (line,) = (line for line in table_of_runs("journal_table_2", tmp_path).lines if line.note)
    assert (line.at.method, line.note) == ("isda", "chosen on validation")
    next(tmp_path.glob("*/record.json")).unlink()
    table = table_of_runs("journal_table_2", tmp_path)
    assert not any(line.note for line in table.lines)
    assert table.notes == ("Fixed, not chosen on validation: isda strength 0.5.",)


def test_a_chosen_dropout_rate_is_no_setting_of_the_network_without_dropout(tmp_path):
    """It added a row to every table of that network and size, and 12 runs to a question's planned ones."""
    for planned_cell in planned("evidence_selection_dropout"):
        write_runs(tmp_path, planned_cell.config, [planned_cell.config.config["model"]["dropout"]] * 3)
    sizes = table_of_runs("evidence_sizes", tmp_path)
    assert sum(len(line.seeds) for line in sizes.lines if line.planned) == 96
    assert not any(line.note for line in sizes.lines)
    notes = {line.at.method: line.note for line in table_of_runs("evidence_methods", tmp_path).lines}
    assert notes["cross_entropy"] == "" and notes["cross_entropy + dropout=0.1"] == "chosen on validation"


def test_a_rate_of_zero_that_was_tried_can_be_chosen():
    tried = planned("evidence_selection_dropout")
    without = with_settings(tried[0], {"model.dropout": 0.0}, "")
    chosen_by = HyperparameterSelection("a", ("loss", "cross_entropy"), ("model.dropout",), (without, *tried))
    assert chosen_by.is_about(without)
    assert not replace(chosen_by, cells=tried).is_about(without)


def test_pairs_that_the_experiment_declares_differ_in_epochs_too(tmp_path):
    """64 epochs with generated images against 80 without; runs of 64 without them deviate: no baseline."""
    basic = cell("evidence_generators", "cifar10", "cross_entropy")
    wgan = cell("evidence_generators", "cifar10", "wgan")
    write_runs(tmp_path, basic, [50.0, 51.0, 52.0, 53.0])
    short = {"schedule__epochs": 64, "schedule__milestones": [32, 48], "evaluate__every": 16}
    write_runs(tmp_path, changed(basic, **short), [40.0, 40.0, 40.0])
    write_runs(tmp_path, wgan, [49.0, 49.5, 50.0])
    table = table_of_runs("evidence_generators", tmp_path)
    pairs = {line.at.method: line.paired for line in table.lines if line.planned and line.paired}
    assert set(pairs) == {"wgan"}
    assert pairs["wgan"].differences == {0: -1.0, 1: -1.5, 2: -2.0}
    assert any("schedule.epochs" in note for note in table.notes)
    assert (table.finished, table.wanted) == (6, 15)  # the seed beyond the plan does not count


def test_of_two_declared_baselines_neither_is_taken(tmp_path):
    plan = list(planned("evidence_generators"))
    twice = [*plan, PlannedCell(changed(plan[0].config, schedule__epochs=70), plan[0].seeds, ())]
    entries = []
    for each in [*twice, *planned("evidence_generators_gan")]:
        line = TableRow(each.config.cell, each.at, True, (0, 1), {0: 1.0, 1: 2.0})
        entries.append(Entry(line, each.config.names, identity(each.config.config)))
    methods = Methods("evidence_generators", plan)
    assert not any(line.paired for line in with_baselines(entries, methods))
    assert sum(line.paired is not None for line in with_baselines(entries[:1] + entries[2:], methods)) == 4


def lines_of(table):
    return {line.at.method: line for line in table.lines if line.errors}


def test_each_method_is_compared_with_its_baseline_and_adjusted_over_them(tmp_path):
    """ResNet-110: dropout against cross-entropy, isda + dropout against cross-entropy + dropout."""
    errors = {
        "cross_entropy": [6.0, 6.2, 6.1],
        "cross_entropy + dropout": [5.9, 6.2, 6.1],
        "focal": [5.5, 5.9, 5.4],
        "cgan": [6.4, 6.3, 6.5],
        "isda": [5.7, 5.8, 5.75],
        "isda + dropout": [5.6, 5.8, 5.9],
        "lq": [6.1, 6.3, 6.2],  # no variance of the differences
        "center": [5.0],
    }
    for method, values in errors.items():
        write_runs(tmp_path, cell("comparison", "cifar10", method, "resnet110"), values)
    lines = lines_of(table_of_runs("comparison", tmp_path))
    assert {method: line.paired.baseline for method, line in lines.items() if line.paired} == {
        **dict.fromkeys(
            ("cross_entropy + dropout", "focal", "cgan", "isda", "lq", "center"), "cross_entropy"
        ),
        "isda + dropout": "cross_entropy + dropout",
    }
    tested = ("cross_entropy + dropout", "focal", "cgan", "isda")
    pairs = {method: lines[method].paired for method in tested}
    p = {method: stats.ttest_rel(errors[method], errors["cross_entropy"]).pvalue for method in tested}
    assert {method: pair.p_value for method, pair in pairs.items()} == pytest.approx(p)
    largest = 0.0
    for steps, method in zip((4, 3, 2, 1), sorted(tested, key=p.get), strict=True):
        largest = max(largest, min(1, steps * p[method]))
        assert (pairs[method].holm_p, pairs[method].tests) == (pytest.approx(largest), 4)
    bounds = stats.ttest_rel(errors["isda"], errors["cross_entropy"]).confidence_interval(0.95)
    assert pairs["isda"].interval == pytest.approx(tuple(bounds))
    welch = stats.ttest_ind(errors["isda"], errors["cross_entropy"], equal_var=False).pvalue
    assert pairs["isda"].welch_p == pytest.approx(welch)
    alone = lines["isda + dropout"].paired
    assert alone.tests == 1 and alone.holm_p == alone.p_value
    for method in ("lq", "center"):
        pair = lines[method].paired
        assert (pair.p_value, pair.holm_p, pair.interval) == (None, None, None)


def test_only_common_seeds_are_compared(tmp_path):
    write_runs(tmp_path, cell("ablation", "cifar10", "cross_entropy"), [4.0, 3.8])
    write_runs(tmp_path, cell("ablation", "cifar10", "isda"), [3.6, 3.5, 1.0])
    page = markdown(table_of_runs("ablation", tmp_path))
    assert "| difference to cross_entropy |" in page and "| -0.35 ± 0.07 (2) " in page
    assert "with n = 2 and a standard deviation of the differences of 0.07." in page


def test_families_are_those_of_one_network_data_set_and_size(tmp_path):
    for planned_cell in planned("small_data"):
        if planned_cell.at.train_size in (1000, 2500):
            shift = 0.1 * (planned_cell.at.method == "isda")
            write_runs(tmp_path, planned_cell.config, [5.0, 5.2 + shift, 5.3 - 2 * shift])
    table = table_of_runs("small_data", tmp_path)
    assert [line.paired.tests for line in table.lines if line.paired] == [1, 1]
    assert markdown(table).count("Smallest true difference found in 80%") == 2


def test_wide_csv_has_data_sets_across(ablation):
    first, *_ = csv.DictReader(io.StringIO(wide_csv(ablation)))
    assert (first["cifar10 mean"], first["cifar10 std"], first["cifar10 n"]) == ("3.9000", "0.1000", "3")
    assert (first["cifar100 mean"], first["cifar100 published mean"]) == ("", "18.5800")


def test_deviating_runs_have_no_difference_to_the_published_value(tmp_path):
    config = cell("journal_table_2", "cifar10", "isda", "resnet32")
    write_run(tmp_path, config, 7.0)
    write_run(tmp_path, changed(config, schedule__epochs=150), 7.5)
    own, deviating = (line for line in table_of_runs("journal_table_2", tmp_path).lines if line.errors)
    assert (own.published, own.difference) == (deviating.published, pytest.approx(-0.09))
    assert math.isnan(deviating.difference)


def test_figure_3_stands_beside_the_comparison():
    lines = {
        (line.at.dataset, line.at.method): line
        for line in experiment_table("comparison", EMPTY).lines
        if line.at.model == "resnet110"
    }
    center = lines["cifar100", "center"]
    assert (center.published.mean, center.published.contradicted) == (27.85, True)
    assert center.also_published.mean == 28.64
    assert not lines["cifar10", "center"].published.contradicted
    header, *rows = text_rows(experiment_table("figure_3", EMPTY))
    row = dict(zip(header, next(r for r in rows if r[0] == "cifar100" and "center" in r), strict=True))
    assert (row["published"], row["also published"]) == ("28.64", "27.85 ± 0.10†‡")
    assert any("center on cifar100" in note for note in notes_of(experiment_table("figure_3", EMPTY)))


def test_sizes_are_in_numerical_order(tmp_path):
    config = compose_run(["model=resnet8", "loss=isda", "schedule.epochs=80"])
    for size in (10000, 2500, 1000):
        write_run(tmp_path, changed(config, dataset__train_size=size), 60.0)
    sizes = [line.at.train_size for line in table_of_runs("comparison", tmp_path).lines if line.errors]
    assert sizes == [1000, 2500, 10000]


def test_resampled_subsets_are_one_cell_with_a_column(tmp_path):
    config = changed(cell("small_data", "cifar10", "isda", "resnet32", 1000), dataset__resample=True)
    write_runs(tmp_path, config, [50.0, 51.0])
    table = table_of_runs("small_data", tmp_path)
    (line,) = lines_of(table).values()
    assert (line.n, line.at.method, line.deviations) == (2, "isda", ("a subset of its own for each seed",))
    header, *rows = text_rows(table)
    assert {row[header.index("images drawn")] for row in rows} == {"one for all seeds", "new for each seed"}
