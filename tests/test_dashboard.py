"""The wandb workspace: made without a network, never saved here."""

import json
import sys

import pytest

from helpers.tiny import TINY
from isda_bench.cli.dashboard import command, differing_settings
from isda_bench.config.compose import compose_run
from isda_bench.monitoring.dashboard import outline, workspace
from isda_bench.monitoring.loggers import summary_of
from isda_bench.training.run import run

pytest.importorskip("wandb_workspaces")


def test_the_content_of_the_workspace():
    sent = workspace("me", "isda_bench", "demo", [])._to_model().model_dump(by_alias=True)
    (runs,) = sent["spec"]["section"]["runSets"]
    assert [(key["section"], key["name"]) for key in runs["grouping"]] == [
        ("config", "setting.value"),
        ("config", "method.value"),
    ]
    assert '"demo"' in json.dumps(runs["filters"])
    sections = sent["spec"]["section"]["panelBankConfig"]["sections"]
    panels = [panel["config"] for section in sections for panel in section["panels"]]
    curves = {panel["metrics"][0]: panel for panel in panels if panel.get("xAxis")}
    assert {"test_error", "validation_error", "train_loss", "learning_rate"} <= set(curves)
    assert {panel["xAxis"] for panel in curves.values()} == {"epoch"}
    errors = [curves[f"{name}_error"] for name in ("test", "validation", "train")]
    assert {(panel["groupAgg"], panel["groupArea"]) for panel in errors} == {("median", "minmax")}
    bars = [panel["metrics"][0] for panel in panels if panel.get("metrics") and not panel.get("xAxis")]
    assert bars == [f"summary_metrics.{name}_error" for name in ("last_10", "final", "best")]
    assert ["samples"] in [panel.get("mediaKeys") for panel in panels]


def test_all_runs_where_no_table_is_named():
    assert "runs: all; grouped by setting, method, Group" in outline(workspace("me", "isda_bench", None))


@pytest.mark.parametrize(
    ("table", "settings"),
    [
        ("demo", []),
        ("evidence_sizes", ["dataset.train_size"]),
        ("ablation", ["loss.ramp", "loss.covariance"]),
        ("conference_table_2", ["chosen.augment"]),
    ],
)
def test_runs_that_differ_in_more_than_the_method_are_curves_of_their_own(table, settings):
    found = differing_settings(table)
    assert sorted(found) == sorted(settings)
    sent = workspace("me", "isda_bench", table, found)._to_model().model_dump(by_alias=True)
    (runs,) = sent["spec"]["section"]["runSets"]
    nested = [f"{head}.value.{key}" for head, key in (each.split(".") for each in found)]
    assert [key["name"] for key in runs["grouping"]] == ["setting.value", "method.value", *nested]


def test_where_many_settings_differ_a_curve_is_a_cell():
    groups = outline(workspace("me", "isda_bench", "evidence_selection", list("abcd"))).splitlines()[1]
    assert groups.endswith("grouped by setting, method, Group")


def test_every_metric_of_a_panel_is_one_that_runs_log(tmp_path):
    config = compose_run([*TINY, "schedule.epochs=1", f"runs_dir={tmp_path}"])
    record = run(config)
    logged = set(json.loads((config.directory / "metrics.jsonl").read_text()))
    logged |= {name.replace("test", "validation") for name in logged}
    sent = workspace("me", "isda_bench", "demo", [])._to_model().model_dump(by_alias=True)
    sections = sent["spec"]["section"]["panelBankConfig"]["sections"]
    panels = [panel["config"] for section in sections for panel in section["panels"]]
    shown = {metric for panel in panels if panel.get("xAxis") for metric in panel["metrics"]}
    assert len(shown) > 7 and shown <= logged
    bars = [panel["metrics"][0] for panel in panels if panel.get("metrics") and not panel.get("xAxis")]
    assert {name.removeprefix("summary_metrics.") for name in bars} <= set(summary_of(record))


@pytest.mark.parametrize("flag", ["--dry-run", "dry_run=true"])
def test_a_dry_run_prints_and_asks_nobody(monkeypatch, capsys, flag):
    monkeypatch.setattr(sys, "argv", ["isda-bench", flag, "experiment=demo", "project=mine"])
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    command()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "workspace 'ISDA: demo' in <default entity>/mine"
    assert lines[1] == "  runs: Metric(\"Tags\") in ['demo']; grouped by setting, method"
    assert "    LinePlot: Training loss" in lines
