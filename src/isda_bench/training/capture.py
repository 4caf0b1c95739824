"""Training steps captured as CUDA graphs: the same numbers without the host's work at each step."""

import gc
import sys
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from isda_bench.errors import UserError
from isda_bench.storage.checkpoint import random_states, restore_random_states
from isda_bench.training.step import Results, Step, TrainingModule

T = TypeVar("T")
WARM_UP = 3
"""Steps before a capture, in which compilers, autotuners and libraries initialise themselves."""


class Captured(NamedTuple):
    """A graph, and the tensors that it reads and writes."""

    replay: Callable[[], object]
    inputs: list[Tensor]
    results: Results


class CapturedStep(Step):
    """A step replayed from a CUDA graph, one graph for each usual size of batch.

    The first step of a training is eager: optimizers create their state in it. Batches of other sizes (with
    unreadable images left out) are eager too. Learning rates become tensors on the device, which graphs read.

    Args:
        module: model and loss.
        optimizer: over their parameters.
        sizes: of the batches that are captured: the full one and the last one of an epoch.
        required: whether a capture that fails is an error; else the steps become eager, with one warning.
    """

    def __init__(
        self, module: TrainingModule, optimizer: Optimizer, sizes: Collection[int], required: bool
    ) -> None:
        super().__init__(module, optimizer)
        self.mode = "captured"
        self.sizes = sizes
        self.required = required
        self.has_state = bool(optimizer.state)
        self.graphs: dict[torch.Size, Captured] = {}
        self._renew_pool()
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=self.stopped.device)

    def __call__(self, images: Tensor, targets: Tensor, progress: Tensor) -> Results:
        """As `Step`; the next step overwrites the results."""
        batch = (images, targets, progress)
        if not self._is_captured(images):
            self.has_state = True
            return super().__call__(*batch)
        captured = self.graphs.get(images.shape) or self._capture_or_fall_back(batch)
        if captured is None:
            return super().__call__(*batch)
        for own, value in zip(captured.inputs, batch, strict=True):
            own.copy_(value)
        captured.replay()
        return captured.results

    def _is_captured(self, images: Tensor) -> bool:
        return self.mode == "captured" and self.has_state and len(images) in self.sizes

    def _capture_or_fall_back(self, batch: tuple[Tensor, ...]) -> Captured | None:
        """Captures a step for batches of this shape.

        Raises:
            UserError: it cannot be captured, and `required`.
        """
        try:
            self.graphs[batch[0].shape] = self.capture(*batch)
        except CaptureFailed as error:
            self.graphs.clear()
            self.mode = "eager"
            if self.required:
                raise UserError(f"capture=true: {error}; capture=auto or false trains without") from error
            print(
                f"warning: capture=auto: {error}; the steps are eager instead, which is slower",
                file=sys.stderr,
                flush=True,
            )
            return None
        return self.graphs[batch[0].shape]

    def capture(self, *batch: Tensor) -> Captured:
        """The graph of a step for batches of this shape; parameters, states and random states stay as before.

        Raises:
            CaptureFailed: the step cannot be replayed.
        """
        inputs = [value.clone() for value in batch]
        restore, places = self._snapshot(), self._places()
        step = partial(Step.__call__, self, *inputs)
        try:
            warm_up(step, self.stream)
            self._check_places(places)
            replay, results = self._record(step)
        finally:
            restore()
        return Captured(replay, inputs, results)

    def _check_places(self, before: dict[str, int]) -> None:
        """Raises CaptureFailed if a step replaced a tensor: replays would read the old one."""
        moved = [name for name, place in self._places().items() if place != before.get(name)]
        if moved:
            raise CaptureFailed(
                f"{moved[0]} is replaced in a step, where it should be changed in place (add_, copy_, ...)"
            )

    def _record(self, step: Callable[[], Results]) -> tuple[Callable[[], object], Results]:
        try:
            return capture_graph(step, self.stream, self.pool)
        except RuntimeError as error:
            why = str(error.__context__ or error).partition("\n")[0]
            self._renew_pool()  # the pool of a capture that failed may be unusable
            mend_generators(self.stream)
            raise CaptureFailed(f"this step cannot be captured as a CUDA graph ({why})") from error

    def _renew_pool(self) -> None:
        on_cuda = self.stopped.is_cuda
        self.pool: Any = torch.cuda.graph_pool_handle() if on_cuda else None
        self.stream: Any = torch.cuda.Stream(self.stopped.device) if on_cuda else None

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor that a step changes: parameters, buffers, optimizer states, the flag."""
        yield from self.module.named_parameters()
        yield from self.module.named_buffers()
        yield "stopped", self.stopped
        for i, state in enumerate(self.optimizer.state.values()):
            for key, value in state.items():
                if isinstance(value, Tensor):
                    yield f"the optimizer's {key} of parameter {i}", value

    def _places(self) -> dict[str, int]:
        """The addresses that a graph reads and writes."""
        return {name: tensor.data_ptr() for name, tensor in self._tensors()}

    def _snapshot(self) -> Callable[[], None]:
        """Copies everything that a step changes to the host's memory; returns what restores it.

        The host's memory, because class statistics can fill half of a GPU's.
        """
        values = [(tensor, tensor.detach().to("cpu", copy=True)) for _, tensor in self._tensors()]
        states = random_states()

        @torch.no_grad()
        def restore() -> None:
            for tensor, value in values:
                tensor.copy_(value)
            restore_random_states(states)

        return restore


class CaptureFailed(Exception):
    """A step cannot be captured; the message says why."""


def make_step(module: TrainingModule, optimizer: Optimizer, sizes: Collection[int]) -> Step:
    """A step, captured where `module.capture` asks for it.

    Args:
        module: model and loss.
        optimizer: over their parameters.
        sizes: images in a full batch and in the last one.
    """
    if not module.capture:
        return Step(module, optimizer)
    return CapturedStep(module, optimizer, sizes, required=module.capture is True)


def capture(step: Callable[[], T], pool: Any = None) -> tuple[Callable[[], object], T]:
    """Captures the kernels of `step` after a warm-up.

    Args:
        step: has static shapes and does not wait for the device; its tensors must outlive the graph.
        pool: of memory, which graphs share that never run at once.

    Returns:
        A function that replays them, and the tensors that receive the results.
    """
    stream = torch.cuda.Stream()
    warm_up(step, stream)
    return capture_graph(step, stream, pool)


def warm_up(step: Callable[[], object], stream: torch.cuda.Stream) -> None:
    """Runs `step` a few times on `stream`."""
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
    """
    before = torch.cuda.current_stream(stream.device)
    graph = torch.cuda.CUDAGraph()
    gc.collect()  # a graph that is freed during a capture breaks it
    clear_workspaces()
    try:
        with (
            torch.cuda.device(stream.device),
            # Loaders pin memory meanwhile, in threads of their own.
            torch.cuda.graph(graph, pool, stream=stream, capture_error_mode="thread_local"),
        ):
            results = step()
    finally:
        torch.cuda.set_stream(before)  # a capture that fails stays on its own
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
    """
    if stream is None:
        return
    scratch = torch.zeros(1, device=stream.device)
    capture_graph(scratch.zero_, stream)
