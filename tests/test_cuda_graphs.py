"""What happens around a capture, in which order; stand-ins for CUDA note it."""

import contextlib
import gc
from types import SimpleNamespace

import pytest
import torch

from isda_bench.training import cuda_graphs

BEFORE, OWN = "the stream before", SimpleNamespace(device=torch.device("cuda", 1))


@pytest.fixture
def happened(monkeypatch):
    """The calls in their order."""
    calls = []

    @contextlib.contextmanager
    def graph(made, pool, stream, capture_error_mode):
        calls.append(("begin", pool, stream, capture_error_mode))
        yield
        calls.append("end")

    @contextlib.contextmanager
    def device(chosen):
        calls.append(("device", chosen))
        yield

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: BEFORE)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: calls.append(("current", stream)))
    monkeypatch.setattr(
        torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: calls.append("replay"))
    )
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "device", device)
    clear = lambda: calls.append("workspaces cleared")  # noqa: E731
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", clear, raising=False)
    monkeypatch.setattr(gc, "collect", lambda: calls.append("collected"))
    return calls


AHEAD = [
    "collected",
    "workspaces cleared",
    ("device", OWN.device),
    ("begin", "pool", OWN, "thread_local"),
    "the step",
]


def test_a_capture_has_its_own_stream_and_clears_workspaces_before_and_after(happened):
    def step():
        happened.append("the step")
        return "results"

    replay, results = cuda_graphs.capture_graph(step, OWN, "pool")
    assert results == "results"
    assert happened == [*AHEAD, "end", ("current", BEFORE), "workspaces cleared"]
    replay()
    assert happened[-1] == "replay"


def test_a_capture_that_fails_leaves_the_stream_and_the_workspaces_of_before(happened):
    def step():
        happened.append("the step")
        raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="not permitted"):
        cuda_graphs.capture_graph(step, OWN, "pool")
    assert happened == [*AHEAD, ("current", BEFORE), "workspaces cleared"]


def test_mending_is_a_capture_on_the_run_s_device_in_a_pool_of_its_own(happened, monkeypatch):
    zeros, places = torch.zeros, []

    def on_the_cpu(size, device):
        places.append(device)
        return zeros(size)

    monkeypatch.setattr(torch, "zeros", on_the_cpu)
    cuda_graphs.mend_generators(OWN)
    assert places == [OWN.device]
    assert ("begin", None, OWN, "thread_local") in happened
