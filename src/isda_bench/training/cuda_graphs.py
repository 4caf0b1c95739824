"""CUDA graphs: captures the kernels of a function, apart from everything else that torch captures."""

import gc
from collections.abc import Callable
from typing import Any, TypeVar

import torch

T = TypeVar("T")
WARM_UP = 3
"""Calls before a capture, in which compilers, autotuners and libraries initialise themselves."""


def capture(step: Callable[[], T], pool: Any = None) -> tuple[Callable[[], object], T]:
    """Captures the kernels of `step` after a warm-up.

    Args:
        step: has static shapes and does not wait for the device; its tensors must outlive the graph.
        pool: memory that graphs share which never run at once.

    Returns:
        A function that replays them, and the tensors that receive the results.
    """
    stream = torch.cuda.Stream()
    warm_up(step, stream)
    return capture_graph(step, stream, pool)


def warm_up(step: Callable[[], object], stream: torch.cuda.Stream) -> None:
    """Calls `step` a few times on `stream`."""
    stream.wait_stream(torch.cuda.current_stream(stream.device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream(stream.device).wait_stream(stream)


def capture_graph(
    step: Callable[[], T], stream: torch.cuda.Stream, pool: Any = None
) -> tuple[Callable[[], object], T]:
    """Captures the kernels of a warm `step`, on a stream of the caller's own.

    All captures on torch's default capture stream would share its cuBLAS workspace, which one of them frees.
    That stream also belongs to the device of the first capture: a capture on another device would be empty.
    """
    before = torch.cuda.current_stream(stream.device)
    graph = torch.cuda.CUDAGraph()
    gc.collect()  # a graph that is freed during a capture breaks it
    clear_workspaces()
    try:
        with (
            torch.cuda.device(stream.device),  # whose random generator the graph registers
            # Loaders pin memory meanwhile, in threads of their own.
            torch.cuda.graph(graph, pool, stream=stream, capture_error_mode="thread_local"),
        ):
            results = step()
    finally:
        torch.cuda.set_stream(before)  # torch leaves its stream current after a capture that fails
        clear_workspaces()
    return graph.replay, results


def clear_workspaces() -> None:
    """Frees cuBLAS's workspaces: one that was allocated in a graph's memory must not serve other kernels."""
    clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if clear is not None:
        clear()


def mend_generators(stream: torch.cuda.Stream | None) -> None:
    """Lets torch draw random numbers again after a capture that failed.

    In torch 2.11 every later draw on the GPU raises until some capture succeeds; 2.13 needs no mending.

    Raises:
        RuntimeError: a trivial capture fails too: the device is lost.
    """
    if stream is None:
        return
    scratch = torch.zeros(1, device=stream.device)
    capture_graph(scratch.zero_, stream)
