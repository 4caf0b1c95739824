"""`debug=true`: two steps and 64 images, in a folder of its own, in no table; the summary of short runs."""

import json

import pytest
import torch

from helpers.forked import run_forked
from helpers.made_runs import write_run
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import identity
from isda_bench.data.base import ImageSet
from isda_bench.storage.listing import summaries
from isda_bench.storage.records import collect_records, read_records
from isda_bench.training.debug import SomeImages
from isda_bench.training.run import run, summary

QUICK = [*TINY, "loss=isda", "logger=none"]


@pytest.fixture
def debugged(tmp_path):
    config = compose_run([*QUICK, "debug=true", f"runs_dir={tmp_path}"])
    return config, run(config)


def test_a_debug_run_takes_two_steps_and_evaluates_64_images(debugged, tmp_path):
    config, record = debugged
    assert config.directory == tmp_path / "debug" / config.run_id
    assert (record["epochs"], record["train_images"]) == (1, 2 * 64)
    errors = record["error"]["final"] * 64 / 100
    assert errors == pytest.approx(round(errors), abs=1e-9) and record["error"]["final"] % (100 / 360) > 1e-6
    assert (config.directory / "record.json").exists() and summary(record).find("debug run of 2 steps") > 0


def test_a_debug_run_is_never_taken_for_the_run_itself(debugged, tmp_path):
    config, record = debugged
    real = compose_run([*QUICK, f"runs_dir={tmp_path}"])
    assert (record["run_id"], record["cell"]) != (real.run_id, real.cell)
    assert record["run_id"] == config.run_id and record["cell"] == config.cell != real.cell
    assert identity(real.config) == identity(compose_run([*QUICK, "debug=false"]).config)
    moved = tmp_path / "moved" / config.run_id
    moved.parent.mkdir()
    config.directory.rename(moved)
    for place in (tmp_path, tmp_path / "debug", moved.parent):
        assert read_records([place]).empty
        assert collect_records(place, tmp_path / "out") == []


def test_each_debug_run_begins_anew(debugged, capsys):
    config, _ = debugged
    (config.directory / "left.txt").write_text("of the first")
    run(config)
    assert "finished already" not in capsys.readouterr().out
    assert not (config.directory / "left.txt").exists() and (config.directory / "record.json").exists()


@pytest.mark.slow
def test_a_grid_of_debug_runs(tmp_path):
    arguments = ["-m", *QUICK[:-2], "logger=none", "debug=true", "loss=cross_entropy,isda"]
    done = run_forked(arguments, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/debug/*/record.json"))) == 2
    assert not list(tmp_path.glob("runs/*/record.json"))


def test_some_images_are_spread_over_the_set():
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1)
    some = SomeImages(ImageSet(images, torch.arange(10) // 2), 5).to(torch.device("cpu"))
    assert some.targets.tolist() == [0, 1, 2, 3, 4]
    ((batch, targets),) = some.batches([torch.tensor([4, 0])], seed=0)
    assert batch.flatten().tolist() == [8, 0] and targets.tolist() == [4, 0]
    assert len(SomeImages(ImageSet(images, torch.arange(10)), 64).targets) == 10


@pytest.mark.parametrize(
    ("epochs", "leading"), [(19, "3.00% (last epoch; "), (20, "7.00% (mean of the last")]
)
def test_the_last_epoch_leads_in_a_short_run(tmp_path, epochs, leading):
    config = compose_run([*QUICK, f"schedule.epochs={epochs}", f"runs_dir={tmp_path}"])
    path = write_run(tmp_path, config, 7.0, epochs=epochs) / "record.json"
    record = json.loads(path.read_text())
    record["error"] |= {"final": 3.0, "best": 3.0}
    path.write_text(json.dumps(record))
    assert f"test error {leading}" in summary(record)
    (listed,) = summaries(tmp_path)
    assert listed.error == (3.0 if epochs < 20 else 7.0)
