"""`isda-bench gpu-check`: its checks find what they look for; processes, page and exit code."""

import json
from functools import partial

import pytest
import torch

from isda_bench.benchmarks.gpu_check import captures, checks, parts, processes, step_trials
from isda_bench.benchmarks.gpu_check.checks import Check, all_checks
from isda_bench.benchmarks.gpu_check.outcome import CheckFailed, CheckSkipped
from isda_bench.benchmarks.gpu_check.page import check_device, count
from isda_bench.benchmarks.gpu_check.processes import make_check, outcome_of
from isda_bench.cli import gpu_check
from isda_bench.cli.gpu_check import GpuCheckOptions
from isda_bench.errors import ConfigError
from isda_bench.training import capture, cuda_graphs

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


def test_kernels_that_are_not_deterministic_skip_with_the_layer(monkeypatch):
    run, calls = step_trials.Trial.run, []

    def unsteady(self):
        calls.append(self)
        found = run(self)
        return found | {"model.head.weight": found["model.head.weight"] + len(calls)}

    monkeypatch.setattr(step_trials.Trial, "run", unsteady)
    with pytest.raises(CheckSkipped, match=r"eager steps differ from themselves in model\.head\.weight \(by"):
        step_trials.captured_equals_eager(CPU, SMALL)


def test_updates_after_nan_fail(monkeypatch):
    monkeypatch.setattr(torch, "maximum", lambda a, b, out: out)
    with pytest.raises(CheckFailed, match=r"eager steps update .* after a loss that is not finite"):
        captures.no_update_after_nan(CPU, ("eager",))


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


def test_a_check_has_a_process_and_a_time_limit():
    name = "planted NaN, eager"
    assert make_check(name, all_checks()[name], CPU)["status"] == "PASS"
    late = make_check(name, all_checks()[name]._replace(seconds=0.01), CPU)
    assert (late["status"], late["sentence"]) == ("FAIL", "took longer than 0.01 s and was stopped")
    crashed = make_check("no such check", all_checks()[name], CPU)
    assert crashed["status"] == "FAIL" and "KeyError" in crashed["sentence"]


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


def test_a_check_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="only=drivers: no check begins so; they begin with driver, "):
        gpu_check.gpu_check(GpuCheckOptions(only="drivers"))


def test_every_loss_covariance_and_family_is_checked():
    names = list(all_checks())
    assert {f"captured loss {p.stem}" for p in checks.CONF.glob("loss/*.yaml")} <= set(names)
    assert names[0] == "driver"
