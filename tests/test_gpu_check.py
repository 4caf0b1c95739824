"""`isda-bench gpu-check`: its checks find what they look for; processes, page and exit code."""

import errno
import itertools
import json
import sys
import threading
import time
from functools import partial
from unittest.mock import Mock

import pytest
import torch
from omegaconf import OmegaConf

from isda_bench.benchmarks.gpu_check import (
    captures,
    checks,
    parts,
    processes,
    speed,
    step_trials,
    two_processes,
    whole_runs,
)
from isda_bench.benchmarks.gpu_check import page as page_module
from isda_bench.benchmarks.gpu_check.checks import Check, all_checks
from isda_bench.benchmarks.gpu_check.outcome import CheckFailed, CheckSkipped, Outcome
from isda_bench.benchmarks.gpu_check.page import check_device, count
from isda_bench.benchmarks.gpu_check.processes import make_check, make_checks, outcome_of
from isda_bench.cli import gpu_check
from isda_bench.cli.gpu_check import GpuCheckOptions
from isda_bench.config.compose import compose_run
from isda_bench.config.optimizer_choice import OptimizerChoice
from isda_bench.errors import ConfigError, UserError
from isda_bench.losses import isda
from isda_bench.training import capture, cuda_graphs, step

CPU = torch.device("cpu")
SMALL = ["model=resnet8", "model.dropout=0.1", "loss=isda"]


@pytest.fixture
def replaying(monkeypatch):
    """Stands in for CUDA graphs; its argument is the faulty replay of a test."""

    def use(replay_of=lambda call: call):
        def warm_up(call, stream):
            for _ in range(cuda_graphs.WARM_UP):
                call()

        def capture_graph(call, stream, pool=None):
            kept = tuple(result.clone() for result in call())
            again = replay_of(call)

            def replay():
                for result, value in zip(kept, again(), strict=True):
                    result.copy_(value)

            return replay, kept

        monkeypatch.setattr(capture, "warm_up", warm_up)
        monkeypatch.setattr(capture, "capture_graph", capture_graph)

    return use


def frozen_draws(call):
    """Replays that draw the same numbers each time."""
    state = torch.get_rng_state()

    def replay():
        torch.set_rng_state(state)
        return call()

    return replay


def test_right_replays_pass(replaying):
    replaying()
    assert "equal eager ones to the bit" in step_trials.captured_equals_eager(CPU, SMALL)
    assert "dropout, shake, disturb_label" in captures.replays_draw(CPU)
    assert captures.random_offsets(CPU)
    assert captures.no_update_after_nan(CPU)


def test_rates_of_float32_and_of_doubles_are_equal_in_fused_kernels(replaying, monkeypatch):
    """The kernels compute with doubles; captured steps hold the rate as float32."""
    build = OptimizerChoice.build

    def as_on_cuda(self, groups, recipe, fused):
        return build(self, groups, recipe, fused=True)

    monkeypatch.setattr(OptimizerChoice, "build", as_on_cuda)
    replaying()
    assert step_trials.captured_equals_eager(CPU, [*SMALL, "optimizer=adamw"])


@pytest.mark.parametrize(
    ("check", "found"),
    [
        (partial(step_trials.captured_equals_eager, overrides=SMALL), "captured steps differ from eager"),
        (captures.replays_draw, "dropout: two replays of a batch are equal: its random numbers are frozen"),
        (captures.random_offsets, "random state of cpu"),
    ],
)
def test_replays_with_frozen_random_numbers_fail(replaying, check, found):
    replaying(frozen_draws)
    with pytest.raises(CheckFailed, match=found):
        check(CPU)


@pytest.mark.parametrize("forward", [False, True])
def test_kernels_that_are_not_deterministic_skip_with_the_layer(monkeypatch, forward):
    """The losses and all layers differ after some steps; one is the first."""
    count = itertools.count(1)

    def unsteady(gradient):
        return gradient * (1 + 1e-3 * next(count))

    trial = step_trials.Trial.__init__

    def init(self, *arguments, **more):
        trial(self, *arguments, **more)
        block = self.module.model.stages[1][0]
        if forward:
            block.conv1.register_forward_hook(lambda module, inputs, output: unsteady(output))
        else:
            block.conv1.weight.register_hook(unsteady)

    monkeypatch.setattr(step_trials.Trial, "__init__", init)
    first = r"model\.stages\.1\.0\." + (r"norm1\.running_mean" if forward else r"conv1\.weight")
    with pytest.raises(CheckSkipped, match=f"eager steps differ from themselves, first in {first}: "):
        step_trials.captured_equals_eager(CPU, SMALL)


def test_updates_after_nan_fail(monkeypatch):
    monkeypatch.setattr(torch, "maximum", lambda a, b, out: out)
    with pytest.raises(CheckFailed, match=r"eager steps update .* after a loss that is not finite"):
        captures.no_update_after_nan(CPU, ("eager",))


def test_updates_after_nan_in_compiled_steps_fail(monkeypatch):
    monkeypatch.setattr(step, "BACKEND", "eager")
    assert "compiled steps make no update" in captures.no_update_after_nan(CPU, ("compiled",))
    monkeypatch.setattr(torch, "maximum", lambda a, b, out: out)
    with pytest.raises(CheckFailed, match=r"compiled steps update .* after a loss that is not finite"):
        captures.no_update_after_nan(CPU, ("compiled",))


def test_momenta_that_move_after_nan_fail(monkeypatch):
    """Parameters alone would not show it: the next good batch would."""
    call = step.Step.__call__

    def moves_momenta(self, images, *rest):
        results = call(self, images, *rest)
        if images.isnan().any():
            next(iter(self.optimizer.state.values()))["momentum_buffer"].add_(1)
        return results

    monkeypatch.setattr(step.Step, "__call__", moves_momenta)
    with pytest.raises(CheckFailed, match="eager steps update momentum_buffer of"):
        captures.no_update_after_nan(CPU, ("eager",))


@pytest.mark.parametrize("fault", [0.0, 1e-6])
def test_two_processes_are_compared_with_one(monkeypatch, fault):
    def run_alone(arguments):
        state = two_processes.trained(CPU)
        state["model.head.weight"][0, 0] += fault
        torch.save(state, arguments[-1])

    monkeypatch.setattr(whole_runs, "torchrun", run_alone)
    if fault:
        with pytest.raises(CheckFailed, match=r"two processes: model\.head\.weight differs"):
            whole_runs.two_processes_agree(CPU)
    else:
        assert "those of one process" in whole_runs.two_processes_agree(CPU)


@pytest.mark.slow
def test_the_message_of_a_process_that_dies_under_torchrun_is_shown(tmp_path, monkeypatch):
    """Torchrun writes fifty lines behind it."""
    (tmp_path / "dies.py").write_text("import os\nos.write(2, b'free(): invalid pointer')\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CheckFailed, match=r"free\(\): invalid pointer"):
        whole_runs.torchrun(["dies"])


@pytest.mark.slow
def test_two_processes_on_a_cpu_agree_with_one():
    assert "those of one process" in whole_runs.two_processes_agree(CPU)


def test_the_other_parts_pass_on_a_cpu():
    for name in parts.GENERATORS:
        assert parts.generator_steps(CPU, name)
    assert parts.inversion_iteration(CPU)
    assert parts.augments(CPU, "autoaugment")


def test_an_exception_fails_with_its_words():
    def broken(device):
        raise RuntimeError("CUDA error: two\n  lines")

    found = outcome_of(Check(broken), CPU)
    assert (found.status, found.sentence) == ("FAIL", "RuntimeError: CUDA error: two lines")
    assert "in broken" in found.numbers["traceback"]


@pytest.mark.slow
def test_a_check_has_a_process_and_a_time_limit():
    name = "planted NaN, eager"
    assert make_check(name, all_checks()[name], CPU)["status"] == "PASS"
    late = make_check(name, all_checks()[name]._replace(seconds=0.01), CPU)
    assert (late["status"], late["sentence"]) == ("FAIL", "took longer than 0.01 s and was stopped")
    crashed = make_check("no such check", all_checks()[name], CPU)
    assert crashed["status"] == "FAIL" and "KeyError" in crashed["sentence"]


def test_a_gpu_too_small_for_a_measurement_skips_it(monkeypatch):
    def trial(*arguments, **more):
        try:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        except torch.OutOfMemoryError as error:
            raise UserError("capture=true: this step cannot be captured") from error

    monkeypatch.setattr(speed, "Trial", trial)
    for check in (partial(speed.rates, network="wrn28_10", precision="fp32"), speed.isda_memory_floor):
        with pytest.raises(CheckSkipped, match="wrn28_10 with batches of 128: too little memory"):
            check(CPU)
    monkeypatch.setattr(speed, "Trial", Mock(side_effect=UserError("another")))
    with pytest.raises(UserError, match="another"):
        speed.isda_memory_floor(CPU)


@pytest.mark.parametrize(("captured", "passes"), [(1.02, True), (1.04, False)])
def test_captured_steps_slower_than_eager_ones_fail(monkeypatch, captured, passes):
    seconds = {"eager": 1.0, "captured": captured, "compiled": 0.5}
    monkeypatch.setattr(speed, "Trial", Mock(return_value=Mock(batches=lambda count: [()])))
    monkeypatch.setattr(speed, "medians", lambda blocks, rounds: seconds)
    if passes:
        (eager, *_) = speed.rates(CPU, "resnet32", "bf16").numbers["throughput"]
        assert eager["images_per_second"] == speed.BATCH * speed.STEPS_OF_A_BLOCK
        return
    with pytest.raises(CheckFailed, match="captured steps are slower than eager ones; images/s: eager 1,280"):
        speed.rates(CPU, "resnet32", "bf16")


def test_the_page_lists_skipped_checks_and_the_exit_code_reports_failed_ones(tmp_path, monkeypatch, capsys):
    def in_this_process(name, device, seconds):
        return outcome_of(listed[name], device)

    listed = {
        "driver": all_checks()["driver"],
        "planted NaN, eager": all_checks()["planted NaN, eager"],
    }
    monkeypatch.setattr(processes, "in_a_process", in_this_process)
    page, passed = check_device(CPU, listed, tmp_path)
    assert passed and count(page) == "1 passed, 0 failed, 1 skipped"
    content = json.loads(page.read_text())
    assert [found["name"] for found in content["checks"]] == list(listed)
    assert capsys.readouterr().out.startswith("SKIP  driver: needs a GPU (0 s)\nPASS  planted NaN, eager: ")
    listed["planted NaN, eager"] = Check(lambda _: captures.no_update_after_nan(CPU, ("x",)), False)
    monkeypatch.setattr(torch, "maximum", lambda a, b, out: out)
    monkeypatch.setattr(gpu_check, "all_checks", lambda: listed)
    with pytest.raises(SystemExit) as ended:
        gpu_check.gpu_check(GpuCheckOptions(device="cpu", out=str(tmp_path)))
    assert ended.value.code == 1
    assert "0 passed, 1 failed, 1 skipped" in capsys.readouterr().out


def test_checks_run_at_once_and_those_of_speed_behind_them_one_by_one(tmp_path, monkeypatch):
    both_run, order = threading.Barrier(2, timeout=30), []

    def made(name, device, seconds):
        order.append(name)
        if not listed[name].alone:
            both_run.wait()
        order.append(name)
        return Outcome("PASS", name)

    listed = {name: Check(Mock(), needs_gpu=False, alone=name.startswith("speed")) for name in "abcd"}
    listed = {
        "speed 1": Check(Mock(), False, alone=True),
        "speed 2": Check(Mock(), False, alone=True),
        **listed,
    }
    monkeypatch.setattr(processes, "in_a_process", made)
    page, passed = check_device(CPU, listed, tmp_path, jobs=2)
    assert passed and [found["name"] for found in json.loads(page.read_text())["checks"]] == list(listed)
    assert order[-4:] == ["speed 1", "speed 1", "speed 2", "speed 2"]
    assert {name for name, check in all_checks().items() if check.alone} == {
        name for name in all_checks() if name.startswith(("speed", "ISDA's extra time"))
    }


@pytest.mark.parametrize("jobs", [1, 3, 9])
def test_an_interruption_stops_the_checks_that_are_being_made(tmp_path, monkeypatch, jobs):
    python = tmp_path / "python"
    found = json.dumps({"status": "PASS", "sentence": "done", "numbers": {}})
    python.write_text(f"#!/bin/sh\n[ \"$3\" = quick ] && echo '{found}' && exit\nexec sleep 100\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    names = ("quick", "long", "longer", "never begun", "neither", "nor this")
    making = make_checks({name: Check(Mock(), needs_gpu=False, seconds=60) for name in names}, CPU, jobs=jobs)
    assert next(making)["sentence"] == "done"
    start = time.monotonic()
    making.close()
    assert not processes.running and time.monotonic() < start + 30


def test_a_page_that_cannot_be_written_stops_the_checks(tmp_path, monkeypatch):
    released = threading.Event()

    def made(name, device, seconds):
        assert name == "first" or released.wait(30)
        return Outcome("PASS", name)

    def full(path, content):
        released.set()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(processes, "in_a_process", made)
    monkeypatch.setattr(page_module, "write_atomically", full)
    checks = {name: Check(Mock(), needs_gpu=False) for name in ("first", "second", "third", "fourth")}
    with pytest.raises(OSError, match="No space left"):
        check_device(CPU, checks, tmp_path, jobs=1)


def test_the_page_has_the_order_of_the_list_whichever_check_ends_first(tmp_path, monkeypatch, capsys):
    quick_ended = threading.Event()

    def made(name, device, seconds):
        assert name == "quick" or quick_ended.wait(30)
        quick_ended.set()
        return Outcome("PASS", name)

    monkeypatch.setattr(processes, "in_a_process", made)
    checks = {name: Check(Mock(), needs_gpu=False) for name in ("slow", "quick")}
    page, _ = check_device(CPU, checks, tmp_path, jobs=2)
    assert [found["name"] for found in json.loads(page.read_text())["checks"]] == ["slow", "quick"]


def test_a_check_that_prints_something_else_fails(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nprintf '\\377'; echo no outcome\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    found = make_check("driver", Check(Mock(), needs_gpu=False), CPU)
    assert found["status"] == "FAIL" and "it printed no outcome: \ufffdno outcome" in found["sentence"]
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    found = make_check("driver", Check(Mock(), needs_gpu=False), CPU)
    assert found["status"] == "FAIL" and "could not be started" in found["sentence"]


def test_a_stopped_check_may_end_processes_in_sessions_of_their_own(tmp_path, monkeypatch):
    """As torchrun does, on SIGTERM."""
    python, ended = tmp_path / "python", tmp_path / "ended"
    script = f"trap 'kill $!; echo > {ended}; exit' TERM\nsetsid sleep 100 &\nwait\n"
    python.write_text(f"#!/bin/sh\n{script}")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    found = make_check("driver", Check(Mock(), needs_gpu=False, seconds=1), CPU)
    assert found["sentence"] == "took longer than 1 s and was stopped" and ended.exists()


def test_a_check_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="only=drivers: no check begins so; they begin with driver, "):
        gpu_check.gpu_check(GpuCheckOptions(only="drivers"))


def test_every_loss_covariance_and_family_is_checked():
    names = list(all_checks())
    for part in ("loss", "optimizer"):
        assert {f"captured {part} {p.stem}" for p in checks.CONF.glob(f"{part}/*.yaml")} <= set(names)
    fixed = set(isda.STATISTICS) - {"full"}  # loss isda
    assert {f"captured covariance {covariance}" for covariance in fixed} <= set(names)
    wanted = {OmegaConf.load(path)["_target_"] for path in checks.CONF.glob("model/*.yaml")}
    built = [compose_run(["dataset=cifar10", *lines]).settings.model for lines in checks.NETWORKS.values()]
    assert {model["_target_"] for model in built} == wanted
    assert {f"captured network {name}" for name in checks.NETWORKS} <= set(names)
    assert names[0] == "driver"


@pytest.mark.parametrize("left", ["first", "last", "nothing"])
def test_memory_has_to_come_back_to_that_of_the_start(monkeypatch, left):
    used = {"first": [0, 2**30, 2**30, 2**30], "last": [0, 0, 0, 2**30], "nothing": [2**20, 0, 0, 2**20]}[
        left
    ]
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: used.pop(0))
    monkeypatch.setattr(captures, "Trial", Mock())
    monkeypatch.setattr(captures, "gc", Mock())
    monkeypatch.setattr(torch._dynamo, "reset", lambda: None)
    if left == "nothing":
        assert captures.memory_comes_back(CPU)
        return
    with pytest.raises(CheckFailed, match=r"bytes in use at the start and after"):
        captures.memory_comes_back(CPU)
