"""The wandb workspace: made without a network, never saved here."""

import json
import sys

import pytest

from isda_bench.cli.dashboard import command
from isda_bench.monitoring.dashboard import outline, workspace

pytest.importorskip("wandb_workspaces")


def test_the_content_of_the_workspace():
    sent = workspace("me", "isda_bench", "demo")._to_model().model_dump(by_alias=True)
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


@pytest.mark.parametrize("flag", ["--dry-run", "dry_run=true"])
def test_a_dry_run_prints_and_asks_nobody(monkeypatch, capsys, flag):
    monkeypatch.setattr(sys, "argv", ["isda-bench", flag, "experiment=demo", "project=mine"])
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    command()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "workspace 'ISDA: demo' in <default entity>/mine"
    assert lines[1] == "  runs: Metric(\"Tags\") in ['demo']; grouped by setting, method"
    assert "    LinePlot: Training loss" in lines
