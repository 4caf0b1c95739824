"""`isda-bench reproduce`: the same run again, compared epoch by epoch."""

import json
import re
import shutil
import sys

import pandas as pd
import pytest
import torch

from helpers.tiny import TINY
from isda_bench.cli import reproduce
from isda_bench.config.compose import compose_run
from isda_bench.errors import UserError
from isda_bench.reporting.run_comparison import circumstances, comparison_text, metric_differences
from isda_bench.storage.checksummed_json import read_checksummed, write_checksummed
from isda_bench.training.run import run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    short = ["schedule.epochs=2", "schedule.milestones=[]", "logger=none", "device=cpu"]
    config = compose_run([*TINY, *short, "loss=isda", f"runs_dir={folder}"])
    run(config)
    return config.directory


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys):
    """Runs `isda-bench reproduce <arguments> runs_dir=<tmp_path>`; exit code, output, errors."""
    threads = torch.get_num_threads()

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["isda-bench", *map(str, arguments), f"runs_dir={tmp_path}/again"])
        try:
            reproduce.command()
            code = 0
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    yield call
    torch.set_num_threads(threads)


def edited(directory, target, **changes):
    """A copy of the run whose record says something else, under a right checksum."""
    shutil.copytree(directory, target)
    content = read_checksummed(target / "record.json")
    content |= changes
    metrics = (target / "metrics.jsonl").read_bytes()
    write_checksummed(target / "record.json", content, {"metrics.jsonl": metrics})
    return target


def test_a_run_is_identical_to_the_bit_and_again_when_it_is_trained_once_more(trained, typed, tmp_path):
    for path in (trained, trained / "record.json"):
        code, out, _ = typed(path)
        assert code == 0 and re.search(r"identical to the bit: \d metrics in 2 epochs", out)
    assert (tmp_path / "again" / trained.name / "record.json").exists()
    assert "finished already" not in out  # the second time it is trained as well


def test_a_difference_ends_with_1_and_a_table(trained, typed, tmp_path):
    copy = tmp_path / "copy" / trained.name
    versions = read_checksummed(trained / "record.json")["versions"]
    edited(trained, copy, versions=versions | {"torch": "2.0.\x1b[2J"}, processes=4)
    rows = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    rows[1]["train_loss"] += 0.125
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (copy / "metrics.jsonl").write_bytes(lines)
    write_checksummed(copy / "record.json", read_checksummed(copy / "record.json"), {"metrics.jsonl": lines})
    code, out, _ = typed(f"run={copy}")
    assert code == 1 and re.search(r"not identical: 1 of \d metrics differ, from epoch 2 on", out)
    (row,) = [line for line in out.splitlines() if line.startswith("train_loss, epoch 2")]
    assert row.endswith(" 0.12") and "\x1b" not in out
    assert any(
        line.split()[:3] == ["torch", "2.0.\\x1b[2J", str(versions["torch"])] for line in out.splitlines()
    )
    assert any(line.split() == ["processes", "4", "1"] for line in out.splitlines())


def test_only_trusted_classes_are_built(trained, typed, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    record = read_checksummed(trained / "record.json")
    for section, target in (("loss", "mine.Loss"), ("augment", "builtins.open"), ("model", "os.system")):
        config = json.loads(json.dumps(record["config"]))
        config[section]["_target_"] = target
        changed = type(compose_run([*TINY]))(config, record["names"]).as_dict()
        copy = edited(trained, tmp_path / section / trained.name, **changed)
        code, _, err = typed(copy)
        assert code == 1 and f"{section}._target_={target}: refused" in err
    for section, value in (
        ("optimizer", {"_target_": "mine.Descent"}),
        ("mix", {"_target_": "mine.Mix"}),
        ("evaluate", {"every": 1, "metrics": ["mine.metric"]}),
    ):
        config = record["config"] | {section: value}
        changed = type(compose_run([*TINY]))(config, record["names"]).as_dict()
        code, _, err = typed(edited(trained, tmp_path / section / trained.name, **changed))
        assert code == 1 and "_target_=mine." in err and "refused" in err
    assert not (tmp_path / "ran").exists() and not (tmp_path / "again").exists()
    code, _, err = typed(tmp_path / "loss" / trained.name, "allow=mine")
    assert code != 0 and (tmp_path / "ran").exists()  # the user allowed the module: it is imported


def test_the_recorded_run_is_not_touched(trained, monkeypatch):
    before = {path: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    with pytest.raises(UserError, match="the recorded run itself lies there"):
        reproduce.reproduce(reproduce.ReproduceOptions(run=str(trained), runs_dir=str(trained.parent)))
    assert before == {path: path.read_bytes() for path in trained.iterdir() if path.is_file()}


@pytest.mark.parametrize("path", ["nowhere", "~nobody/x", "."])
def test_a_path_that_is_not_a_run_is_reported(typed, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    code, _, err = typed(path)
    assert code == 1 and err.startswith("error: ") and len(err.splitlines()) == 1


def test_metrics_are_compared_to_the_bit():
    one = pd.DataFrame(
        {"epoch": [1, 2, 3], "a": [1.0, 2.0, 3.0], "b": [1.0, None, 1.0], "seconds": [1, 2, 3]}
    )
    assert metric_differences(one, one.assign(seconds=9)) == []
    other = one.assign(a=[1.0, 2.0 + 2**-50, 2.5])
    (found,) = metric_differences(one, other)
    assert found == ("a", 3, 3.0, 2.5, 2) and found.size == 0.5
    fewer = one.iloc[:2]
    assert {d.metric: d.epoch for d in metric_differences(one, fewer)} == {"a": 3, "b": 3}
    assert metric_differences(one, one.assign(b=[1.0, 0.0, 1.0]))[0].size == float("inf")
    lists = one.assign(a=[[1.0, None], [2.0, 5.0], None])
    assert metric_differences(lists, lists.copy()) == []
    (found,) = metric_differences(lists, one.assign(a=[[1.0, None], [2.5, 9.0], None]))
    assert found == ("a", 2, 5.0, 9.0, 2)


def test_an_identical_run_still_names_the_differences():
    first = {"versions": {"torch": "1"}, "git": {"commit": "a", "dirty": False}, "processes": 1}
    differing = circumstances(first, {"versions": {"torch": "2"}, "git": {"commit": "a", "dirty": False}})
    assert differing == {"torch": ("1", "2")}
    text = comparison_text([], differing, 3, 5).splitlines()
    assert text[0] == "identical to the bit: 5 metrics in 3 epochs" and text[-1].split() == [
        "torch",
        "1",
        "2",
    ]
