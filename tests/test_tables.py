"""Experiments' tables from synthetic records, to the character."""

import json

import pandas as pd
import pytest

from helpers.made_runs import changed, write_run, write_runs
from helpers.tiny import REPOSITORY
from isda_bench.config.compose import compose_run
from isda_bench.config.experiment_files import parts
from isda_bench.experiments.planned import planned
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.render_tables import csv_table, latex, markdown
from isda_bench.storage.records import read_records, unfinished_runs

GOLDEN = REPOSITORY / "tests" / "golden"


def table_of_runs(experiment, root):
    return experiment_table(experiment, read_records([root]), unfinished_runs([root]))


def cell(experiment, dataset, method, model=None):
    cells = [cell for part in parts(experiment) for cell in planned(part)]
    (found,) = (
        c.config
        for c in cells
        if (c.at.dataset, c.at.method) == (dataset, method) and model in (None, c.at.model)
    )
    return found


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


@pytest.mark.parametrize(("ending", "render"), [("md", markdown), ("tex", latex), ("csv", csv_table)])
def test_table_to_the_character(ablation, ending, render):
    """tests/golden/ablation.*: the fixture's numbers, checked by hand."""
    assert render(ablation) == (GOLDEN / f"ablation.{ending}").read_text()


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


def test_another_network_and_a_subset_are_told(tmp_path):
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
    told = "made with 2 different generators: cifar10-wgan-a, cifar10-wgan-b"
    assert line.remark == ("" if second == "a" else told)
    for render in (markdown, csv_table):
        assert ("different generators" in render(table)) == (second == "b")


def test_published_values_stand_in_their_cells():
    empty = pd.DataFrame(columns=["cell", "seed", "last_10", "path", "record"])
    values = {
        (line.at.model, line.at.dataset, line.at.augment, line.at.method): line.published
        for name in ("journal_table_2", "journal_table_4", "comparison", "imagenet_journal")
        for line in experiment_table(name, empty).lines
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
