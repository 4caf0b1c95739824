"""Measures, protocol and footnotes of experiments' tables, from synthetic records."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from helpers.made_runs import changed, write_run, write_runs
from helpers.made_tables import cell, table_of_runs
from isda_bench.experiments.planned import planned
from isda_bench.reporting.build_tables import experiment_table, usual_protocol
from isda_bench.reporting.cautions import schedule_caution, unreadable_caution
from isda_bench.reporting.columns import text_rows
from isda_bench.reporting.latex_table import latex
from isda_bench.reporting.render_tables import markdown
from isda_bench.reporting.table_notes import notes_of
from isda_bench.storage.records import read_records

EMPTY = pd.DataFrame(columns=["cell", "seed", "last_10", "path", "record"])


def lines_of(table):
    return {line.at.method: line for line in table.lines if line.errors}


def test_a_drop_within_the_last_epochs_is_a_footnote(tmp_path):
    """The first three of the last ten epochs have the full rate."""
    shorter = {"schedule__epochs": 15, "schedule__milestones": [9, 13]}
    write_runs(tmp_path, changed(cell("journal_table_2", "cifar10", "isda", "resnet32"), **shorter), [9.0])
    (line,) = lines_of(table_of_runs("journal_table_2", tmp_path)).values()
    assert line.cautions == (
        "the rate drops within the last 10 epochs, which average 3 epochs of the first rate, 4 of x0.1 and 3 "
        "of x0.01",
    )
    assert line.footnote.endswith(line.cautions[0])


@pytest.mark.parametrize(
    ("epochs", "milestones", "words"),
    [
        (160, [80, 120], ""),
        (24, [15], ""),  # the last ten epochs begin with it
        (24, [16], "average 1 epoch of the first rate and 9 of x0.1"),
        (24, [30], ""),
        (5, [3], "within the last 5 epochs, which average 2 epochs of the first rate and 3 of x0.1"),
        (24, None, ""),
    ],
)
def test_when_a_schedule_needs_a_caution(epochs, milestones, words):
    schedule = {"epochs": epochs, "milestones": milestones, "factor": 0.1 if milestones else None}
    found = schedule_caution(schedule, "last_10")
    assert found.endswith(words) if words else found == ""
    assert schedule_caution(schedule, "final") == ""


def test_images_that_could_not_be_read_are_a_footnote(tmp_path):
    config = cell("journal_table_2", "cifar10", "isda", "resnet32")
    for seed, count in enumerate((0, 3, 1)):
        path = write_run(tmp_path, changed(config, seed=seed), 7.0) / "record.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"unreadable_images": count}))
    table = table_of_runs("journal_table_2", tmp_path)
    (line,) = lines_of(table).values()
    words = "training images that could not be read were left out: 3 with seed 1, 1 with seed 2"
    assert line.cautions == (words,) and not line.deviations and line.difference
    assert f"[a] {words}." in notes_of(table) and f"a: {words}." in latex(table)
    assert unreadable_caution([{"config": {"seed": 0}, "unreadable_images": 1}]) == (
        "1 training image could not be read and was left out"
    )


@pytest.mark.parametrize(("name", "assumed"), [("journal_table_4", True), ("conference_table_2", False)])
def test_randaugments_scale_is_said_to_be_assumed_wherever_its_results_stand(name, assumed):
    table = experiment_table(name, EMPTY)
    for text in (markdown(table), latex(table)):
        assert ("it ends at 30, an assumption" in text) == assumed


@pytest.mark.parametrize(("epochs", "protocol"), [(19, "final"), (20, "last_10")])
def test_the_final_error_leads_below_20_epochs(epochs, protocol):
    short = replace_epochs(planned("demo"), epochs)
    assert usual_protocol(short) == protocol


def replace_epochs(cells, epochs):
    return [replace(cell, config=changed(cell.config, schedule__epochs=epochs)) for cell in cells]


def test_loss_and_calibration_over_the_last_ten_epochs(tmp_path):
    config = cell("ablation", "cifar100", "isda")
    for seed, shift in enumerate((0.0, 0.1)):
        directory = write_run(tmp_path, changed(config, seed=seed), 18.0)
        rows = [
            {
                "epoch": e,
                "test_error": 20.0 - e,
                "test_loss": e + shift,
                "test_ece": 2.0,
                "test_top5_error": 5.0,
            }
            for e in range(1, 13)
        ]
        (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = table_of_runs("ablation", tmp_path)
    (line,) = lines_of(table).values()
    assert line.measures["loss"] == pytest.approx({0: 7.5, 1: 7.6})  # of epochs 3 to 12
    header, row = (text_rows(table)[i] for i in (0, 1 + table.lines.index(line)))
    found = dict(zip(header, row, strict=True))
    assert (found["test loss"], found["ECE in %"]) == ("7.550 ± 0.071", "2.00 ± 0.00")
    assert "top-5 error in %" not in header  # nothing about it is published
    final = experiment_table("ablation", read_records([tmp_path]), protocol="final")
    assert lines_of(final)["isda"].measures["loss"] == pytest.approx({0: 12.0, 1: 12.1})


def test_imagenets_top_5_errors_have_columns():
    header, *rows = text_rows(experiment_table("imagenet_journal", EMPTY))
    row = dict(zip(header, next(row for row in rows if "resnet50" in row), strict=True))
    assert (row["published"], row["published top-5"]) == ("23.0", "6.8")
    assert "ours - published" not in header  # an empty column
    header, *_ = text_rows(experiment_table("imagenet", EMPTY))
    assert "published" not in header
