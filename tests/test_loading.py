import json

import pytest
import torch

import isda_bench
from helpers.processes import run_python
from helpers.tiny import REPOSITORY, TINY
from isda_bench.config.compose import compose_run
from isda_bench.errors import UserError
from isda_bench.loading import load_loss
from isda_bench.storage.provenance import versions
from isda_bench.training.evaluate import evaluate_run
from isda_bench.training.run import run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    config = compose_run([*TINY, "schedule.epochs=2", "loss=isda", f"runs_dir={runs}"])
    run(config)
    return runs / config.run_id


def test_load_run_gives_config_model_and_record(finished):
    config, model, record = isda_bench.load_run(finished)
    assert config["loss"]["strength"] == 0.5
    assert record["run_id"] == finished.name
    assert not model.training
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_evaluated_again_it_has_the_recorded_error(finished):
    record = isda_bench.load_run(finished).record
    assert evaluate_run(finished)["error"] == record["error"]["final"]
    done = run_python(str(REPOSITORY / "scripts" / "evaluate.py"), f"run={finished}").check()
    assert f"test error {record['error']['final']:.2f}%" in done.stdout


def test_the_statistics_come_back(finished):
    loss = load_loss(finished)
    assert loss.statistics.count.sum() == 2 * 200
    assert loss.statistics.covariance.abs().sum() > 0


def test_the_record_names_configuration_and_machine(finished):
    record = isda_bench.load_run(finished).record
    wanted = {
        "run_id", "cell", "names", "identity", "config", "split", "error", "epochs", "parameters",
        "train_images", "data_sha256", "started", "ended", "seconds", "images_per_second",
        "peak_memory_bytes", "git", "versions", "device", "execution", "metrics", "confusion",
    }  # fmt: skip
    assert wanted == set(record)
    assert set(record["error"]) == {"last_10", "final", "best"}
    assert record["versions"]["torch"] == torch.__version__
    assert record["seconds"] > 0 and record["peak_memory_bytes"] > 10**7
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert record["error"]["final"] == rows[-1]["test_error"]
    assert record["error"]["last_10"] == sum(row["test_error"] for row in rows) / len(rows)


def test_a_record_names_the_build_of_torch(monkeypatch):
    """Builds of one version have different kernels; the metadata of a CUDA wheel leaves the build out."""
    monkeypatch.setattr(torch, "__version__", "2.14.1+cu130")
    assert versions()["torch"] == "2.14.1+cu130"


def test_a_folder_that_is_not_a_finished_run_is_refused(tmp_path, finished):
    with pytest.raises(UserError, match="no run's directory"):
        isda_bench.load_run(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match="not finished"):
        isda_bench.load_run(tmp_path)
