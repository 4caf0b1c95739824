"""Two processes (gloo, on the CPU) train as one does."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from helpers.forked import serve
from helpers.processes import DEADLINE, Started, free_ports, start_python
from helpers.ranks_worker import LOSSES, configuration, joining, loading, training, work
from helpers.run_files import metrics_of, same_weights
from helpers.tiny import REPOSITORY, TINY
from isda_bench.cli.command_line_check import command_line_problems
from isda_bench.config.components import batch_problems, component_problems
from isda_bench.runtime import ranks
from isda_bench.runtime.devices import choose_device
from isda_bench.storage import checkpoint
from isda_bench.training.run import run


def spawned(function, *arguments) -> None:
    """Calls `function(rank, *arguments)` in two processes, forked from one that has imported everything.

    Those that hang are killed.
    """
    serve()
    ranks_at_work = torch.multiprocessing.start_processes(
        function, arguments, nprocs=2, join=False, start_method="forkserver"
    )
    try:
        ended = [ranks_at_work.join(timeout=DEADLINE) for _ in range(2)]  # returns as soon as one has ended
    finally:
        for process in ranks_at_work.processes:
            process.kill()
    assert ended[-1], f"still running after {DEADLINE} s"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes have left their results."""
    path = tmp_path_factory.mktemp("two")
    spawned(work, 2, free_ports(5), path)
    return path


@pytest.fixture(scope="module")
def results(folder):
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def relative(ours: torch.Tensor, reference: torch.Tensor) -> float:
    return float((ours - reference).norm() / reference.norm().clamp(min=1e-30))


@pytest.mark.parametrize("name", ["full", "diagonal", "shared", "center"])
def test_twenty_steps_in_float32(results, name):
    alone = training(name, torch.float32)
    for rank in results:
        ours = rank[name, "torch.float32"]
        assert_close(ours["losses"], alone["losses"], rtol=1e-6, atol=0)
        for part in ("model", "loss"):
            for key, reference in alone[part].items():
                assert relative(ours[part][key].double(), reference.double()) < 1e-6, key


@pytest.mark.parametrize("name", LOSSES)
def test_statistics_in_float64(results, name):
    alone = training(name, torch.float64)
    for rank in results:
        ours = rank[name, "torch.float64"]
        assert ours["loss"].keys() == alone["loss"].keys()
        for part in ("model", "loss"):
            for key, reference in alone[part].items():
                assert relative(ours[part][key].double(), reference.double()) < 1e-12, key


def test_ranks_hold_the_same_to_the_bit(results):
    for key in (key for key in results[0] if key != "loading"):
        for part in ("model", "loss"):
            first, second = (rank[key][part] for rank in results)
            assert all(torch.equal(first[name], second[name]) for name in first), key


def test_each_rank_gets_its_part_of_each_batch_of_the_first_ranks_order(results):
    alone = loading()  # draws the order as the first rank does
    epochs = zip(*(rank["loading"]["epochs"] for rank in results), strict=True)
    for epoch, (first, second) in enumerate(epochs):
        assert [a + b for a, b in zip(first, second, strict=True)] == alone["epochs"][epoch]
        assert [(len(a), len(b)) for a, b in zip(first, second, strict=True)] == [(2, 2), (2, 2), (2, 1)]


def test_mixed_batches_have_one_weight_on_all_ranks(results):
    first, second = (rank["loading"]["weights"] for rank in results)
    assert first == second and len(set(first)) > 3


def test_an_evaluation_is_that_of_one_process(results):
    for rank in results:
        ours, wanted = rank["loading"]["evaluation"], loading()["evaluation"]
        assert ours.pop("class_accuracy") == pytest.approx(wanted.pop("class_accuracy"))
        assert ours == pytest.approx(wanted, rel=1e-6)
        assert rank["loading"]["sum"] == 2


def test_a_run_interrupted_within_an_epoch_equals_an_uninterrupted_one(folder):
    unbroken, broken = (next((folder / name).iterdir()) for name in ("unbroken", "broken"))
    assert metrics_of(broken) == metrics_of(unbroken)
    assert same_weights(broken, unbroken)
    assert json.loads((broken / "record.json").read_text())["processes"] == 2


def test_one_process_resumes_a_run_of_two(folder):
    config = configuration(folder / "fewer")
    directory = folder / "fewer" / config.run_id
    state = checkpoint.load_newest(directory)
    assert state["within"]["position"]["step"] == 2 and len(state["metrics"]) == 1
    assert len(state["rng_states_of_ranks"]) == 1
    assert state["loss"]["statistics.count"].sum() == 200 + 2 * 63
    record = run(config)
    assert "processes" not in record
    after = checkpoint.load_newest(directory)
    assert after["loss"]["statistics.count"].sum() == 2 * 200
    assert record["epochs"] == 2 and len(metrics_of(directory)) == 2


@pytest.fixture
def of_four(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("LOCAL_RANK", "2")


def test_a_grid_is_refused(of_four):
    for overrides, multirun in ((["seed=0,1", *TINY], True), (["experiment=demo"], False)):
        problems = command_line_problems(overrides, component_problems, multirun)
        assert any(line.startswith("-m: no grid under torchrun") for line in problems)


def test_each_process_takes_a_gpu_of_its_own(of_four, monkeypatch):
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "init", lambda: None)  # a CUDA build on a machine without a driver raises
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda:2")
    with pytest.raises(ValueError, match="device=cuda:1: one for 4 processes"):
        choose_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(ValueError, match="3 GPUs for the 4 processes"):
        choose_device("auto")


def test_a_last_batch_too_small_for_the_ranks_is_refused(of_four):
    assert batch_problems(131, 64) == [
        "schedule.batch_size=64: leaves a last batch of 3 images for 4 processes; another batch size or "
        "dataset.train_size avoids that"
    ]
    assert batch_problems(132, 64) == batch_problems(128, 64) == []


def test_only_the_first_process_speaks(of_four, monkeypatch, capsys):
    with ranks.rank_zero_output():
        print("said by the third")
    monkeypatch.setenv("RANK", "0")
    with ranks.rank_zero_output():
        print("said by the first")
    assert capsys.readouterr().out == "said by the first\n"


def torchrun(tmp_path, *arguments) -> Started:
    command = ["-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_ports(1)[0]}"]
    run_dir = f"runs_dir={tmp_path / 'runs'}"
    program = [str(REPOSITORY / "train.py"), *TINY, "loss=isda", "device=cpu", run_dir, *arguments]
    return start_python(*command, *program, cwd=tmp_path)


@pytest.mark.slow
def test_nobody_waits_for_ever_when_leaving():
    """torch's process group, freed at the wrong moment, does: without a remedy within some 20 times."""
    spawned(joining, 2, free_ports(60))


@pytest.mark.slow
def test_torchrun_trains_and_one_process_finds_it_finished(tmp_path, train):
    done = torchrun(tmp_path, "schedule.epochs=2").wait().check()
    assert done.stdout.count("test error") == 1  # one process speaks
    done = train(*TINY, "loss=isda", "schedule.epochs=2")
    assert "finished already" in done.stdout


@pytest.mark.slow
def test_a_lost_rank_ends_the_run_which_resumes_from_its_checkpoint(tmp_path, train):
    process = torchrun(tmp_path, "schedule.epochs=40", "schedule.milestones=[20]")
    process.until(lambda: len(list(tmp_path.glob("runs/*/checkpoint-*"))) == 2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    assert "resumes from the last checkpoint" in process.wait().check(1).stderr
    (directory,) = tmp_path.glob("runs/*")
    assert not (directory / "record.json").exists()
    done = train(*TINY, "loss=isda", "schedule.epochs=40", "schedule.milestones=[20]")
    done.check()
    assert len(metrics_of(directory)) == 40


@pytest.mark.slow
def test_a_refused_grid_is_reported_once_and_writes_nothing(tmp_path):
    done = torchrun(tmp_path, "-m", "seed=0,1").wait().check(1)
    assert done.stderr.count("no grid under torchrun") == 1
    assert not list(tmp_path.iterdir())
