"""The loop: stops where it must, and a resumed run is an uninterrupted one."""

import json
import resource
import signal
import time
from pathlib import Path

import pytest
import torch

from helpers.forked import run_forked, start_forked
from helpers.interruption import Killed, dying_after_batches, dying_at_call
from helpers.run_files import CLOCKS, metrics_of, same_weights
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.data.loader import Loader
from isda_bench.losses.isda import ISDA
from isda_bench.storage import checkpoint
from isda_bench.storage.record_files import read_record
from isda_bench.training.loop import NonFiniteLoss
from isda_bench.training.run import run

EPOCHS = 5
CHANGING = CLOCKS | {"started", "ended", "peak_memory_bytes"}


def configuration(runs: Path, *overrides: str):
    return compose_run([*TINY, f"schedule.epochs={EPOCHS}", f"runs_dir={runs}", *overrides])


def record(directory: Path) -> dict:
    content = read_record(directory / "record.json")
    del content["config"]["runs_dir"]
    return {key: value for key, value in content.items() if key not in CHANGING}


def assert_same_run(left: Path, right: Path) -> None:
    assert metrics_of(left) == metrics_of(right)
    assert record(left) == record(right)
    assert same_weights(left, right)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    runs = tmp_path_factory.mktemp("unbroken")
    config = configuration(runs, "loss=isda", "model.dropout=0.1")
    run(config)
    return runs / config.run_id


@pytest.mark.parametrize("checkpoint_every", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_interrupted_run_equals_an_unbroken_one(tmp_path, monkeypatch, unbroken, checkpoint_every):
    config = configuration(tmp_path, "loss=isda", "model.dropout=0.1", f"checkpoint.every={checkpoint_every}")
    with monkeypatch.context() as patch:
        patch.setattr(ISDA, "compute", dying_at_call(ISDA.compute, 3 * 4 + 2))  # in epoch 4, of four steps
        with pytest.raises(Killed):
            run(config)
    directory = tmp_path / config.run_id
    assert not (directory / "record.json").exists()
    torch.manual_seed(99)  # the resumed run must not depend on what is drawn in between
    run(config)
    ours, theirs = record(directory), record(unbroken)
    ours["config"]["checkpoint"] = theirs["config"]["checkpoint"]
    assert ours == theirs
    assert metrics_of(directory) == metrics_of(unbroken)
    assert same_weights(directory, unbroken)


@pytest.mark.parametrize(
    "network",
    [
        ["model=shake_shake_26_2x32d", "model.width=4"],
        pytest.param(
            ["model=pyramidnet110_a48", "model.depth=20", "model.shake_drop=0.5"], marks=pytest.mark.slow
        ),
    ],
    ids=["shake_shake", "shake_drop"],
)
def test_random_branches_resume_where_they_stopped(tmp_path, network):
    """The first of two runs dies in its third epoch and resumes; the second does not."""
    overrides = [
        "dataset=digits",
        "dataset.train_size=64",
        "schedule.batch_size=32",
        "schedule.epochs=3",
        *network,
    ]
    broken, unbroken = (compose_run([*overrides, f"runs_dir={tmp_path / name}"]) for name in ("a", "b"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loader, "__iter__", dying_after_batches(5))
        with pytest.raises(Killed):
            run(broken)
    torch.manual_seed(99)
    run(broken)
    run(unbroken)
    assert_same_run(tmp_path / "a" / broken.run_id, tmp_path / "b" / unbroken.run_id)


@pytest.mark.parametrize(
    "after", [0.0, pytest.param(0.15, marks=pytest.mark.slow), 0.4, pytest.param(0.9, marks=pytest.mark.slow)]
)
def test_a_killed_process_resumes(tmp_path, unbroken, after):
    """SIGKILL some time after the first epoch's line was written, then the same command again."""
    arguments = [*TINY, f"schedule.epochs={EPOCHS}", f"runs_dir={tmp_path}", "loss=isda", "model.dropout=0.1"]
    process = start_forked(arguments, tmp_path)
    directory = tmp_path / unbroken.name
    lines = directory / "metrics.jsonl"
    process.until(lambda: lines.exists() and lines.stat().st_size)
    time.sleep(after)
    process.send(signal.SIGKILL)
    process.wait().check(0, -signal.SIGKILL)
    run(configuration(tmp_path, "loss=isda", "model.dropout=0.1"))
    assert_same_run(directory, unbroken)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_cleanly_and_the_message_names_the_resuming_command(tmp_path, number, code):
    process = start_forked([*TINY, "schedule.epochs=2000", f"runs_dir={tmp_path}"], tmp_path)
    process.until(lambda: list(tmp_path.glob("*/checkpoint-*")))
    process.send(number)
    done = process.wait().check(code)
    assert "the same command resumes" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*/record.json"))


def test_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    config = configuration(tmp_path)
    calls = 0
    from isda_bench.losses.cross_entropy import CrossEntropy

    compute = CrossEntropy.compute

    def becomes_nan(self, *arguments):
        nonlocal calls
        calls += 1
        return compute(self, *arguments) * (float("nan") if calls == 4 + 3 else 1.0)

    with monkeypatch.context() as patch:
        patch.setattr(CrossEntropy, "compute", becomes_nan)
        with pytest.raises(NonFiniteLoss, match="nan in epoch 2, step 3"):
            run(config)
    state = checkpoint.load_newest(tmp_path / config.run_id)
    assert len(state["metrics"]) == 1
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    assert run(config)["epochs"] == EPOCHS  # resumes from there


def test_a_finished_run_is_not_run_again(tmp_path, unbroken, capsys, monkeypatch):
    config = configuration(unbroken.parent, "loss=isda", "model.dropout=0.1")
    monkeypatch.setattr("isda_bench.training.run.fit", lambda *a, **k: pytest.fail("trained again"))
    assert run(config)["run_id"] == unbroken.name
    assert "finished already" in capsys.readouterr().out


@pytest.mark.parametrize(("milestones", "reported"), [("[80, 120]", True), ("[1]", False), ("null", False)])
def test_milestones_that_are_never_reached_are_reported(tmp_path, capsys, milestones, reported):
    factor = "null" if milestones == "null" else "0.1"
    overrides = ["schedule.epochs=1", f"schedule.milestones={milestones}", f"schedule.factor={factor}"]
    run(compose_run([*TINY, *overrides, f"runs_dir={tmp_path}"]))
    assert (
        "schedule.milestones=[80, 120] lie after the last epoch, 1" in capsys.readouterr().err
    ) == reported


def test_evaluate_every_but_always_the_last_ten(tmp_path):
    config = compose_run([*TINY, "schedule.epochs=13", "evaluate.every=2", f"runs_dir={tmp_path}"])
    run(config)
    evaluated = [row["epoch"] for row in metrics_of(tmp_path / config.run_id) if "test_error" in row]
    assert evaluated == [2, *range(4, 14)]


def test_validation_mode_leaves_the_test_set_alone(tmp_path):
    config = configuration(tmp_path, "dataset.val_size=100")
    result = run(config)
    rows = metrics_of(tmp_path / config.run_id)
    assert result["split"] == "validation"
    assert all("validation_error" in row and "test_error" not in row for row in rows)


def test_another_configuration_in_the_directory_is_refused(train, tmp_path):
    arguments = [*TINY, "schedule.epochs=1"]
    train(*arguments).check()
    (directory,) = (tmp_path / "runs").glob("digits-*")
    (directory / "record.json").unlink()
    held = json.loads((directory / "run.json").read_text())
    held["identity"]["seed"] = 7
    (directory / "run.json").write_text(json.dumps(held))
    done = train(*arguments)
    done.check(1)
    assert "another configuration" in done.stderr and "Traceback" not in done.stderr


def test_two_processes_on_one_run(train, tmp_path):
    from isda_bench.storage.run_directory import RunDirectory

    config = compose_run([*TINY, "schedule.epochs=1", f"runs_dir={tmp_path / 'runs'}"])
    with RunDirectory(config).locked():
        done = train(*TINY, "schedule.epochs=1")
    assert "another process" in done.check(1).stderr
    train(*TINY, "schedule.epochs=1").check()


def limit_files() -> None:
    """100 kB each, as if the disk were full then."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_full_disk_while_training(tmp_path):
    """A limit on the size of a file stands for the full disk: metrics fit, the checkpoint does not."""
    done = run_forked([*TINY, f"runs_dir={tmp_path}", "schedule.epochs=2"], tmp_path, prepare=limit_files)
    done.check(1)
    assert "checkpoint-00001" in done.stderr and "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    (directory,) = tmp_path.glob("digits-*")
    assert not list(directory.glob("checkpoint-*")) and not list(directory.glob(".writing-*"))
