"""One training step: forward pass, backward pass and update; on CUDA also as a captured graph."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isda_bench.errors import UserError
from isda_bench.losses.base import Loss, Outputs
from isda_bench.models.base import Classifier
from isda_bench.runtime.ranks import processes
from isda_bench.storage.checkpoint import random_states, restore_random_states

BACKEND = "inductor"


class TrainingModule(nn.Module):
    """Maps a batch to its loss and logits.

    Args:
        model: the network.
        loss: given the network's features, logits and head.
        bf16: whether the network runs under bfloat16 autocast; the loss never does.

    Attributes:
        captured: whether its training steps are to be captured as CUDA graphs.
    """

    def __init__(self, model: Classifier, loss: Loss, bf16: bool = False) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.bf16 = bf16
        self.captured = False

    def forward(self, images: Tensor, targets: Tensor, progress: float | Tensor) -> tuple[Tensor, Tensor]:
        """The loss, a scalar, and the logits (N, C) of `images` (N, C, H, W) with classes `targets` (N,)."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            features = self.model.features(images)
            logits = self.model.classify(features)
        return self.loss(Outputs(features, logits, self.model.head), targets, progress), logits


def compile_step(module: TrainingModule) -> None:
    """Compiles forward and backward pass, statistics included, and the network as it is evaluated.

    Each is one graph for each batch size (the last batch of an epoch is a second one). On CUDA the network is
    evaluated as a CUDA graph.
    """
    on_cuda = next(module.parameters()).is_cuda
    settings: dict[str, Any] = {"fullgraph": True, "dynamic": False, "backend": BACKEND}
    module.model.compile(**settings, mode="reduce-overhead" if on_cuda else None)
    module.compile(**settings)


def can_be_captured(module: TrainingModule) -> bool:
    """Whether its training steps can be CUDA graphs: on such a device, alone, with a loss that allows it."""
    return next(module.parameters()).is_cuda and processes() == 1 and module.loss.capturable


T = TypeVar("T")
Results = tuple[Tensor, Tensor]
"""Loss and logits."""
WARM_UP = 3
"""Steps before a capture: compilers, autotuners and libraries do then what they do once."""


class Step:
    """Makes a step of training; of a loss that is not finite, and after one, no update.

    Args:
        module: model and loss.
        optimizer: over their parameters; on CUDA its kernels are fused: they look at `found_inf`.
    """

    def __init__(self, module: TrainingModule, optimizer: Optimizer) -> None:
        self.module = module
        self.optimizer = optimizer
        self.stopped = torch.zeros((), device=next(module.parameters()).device)
        if self.stopped.is_cuda:
            optimizer.found_inf = self.stopped  # type: ignore[attr-defined]

    def __call__(self, images: Tensor, targets: Tensor, progress: Tensor) -> Results:
        """Updates model and loss.

        Args:
            images: (N, C, H, W), float32.
            targets: (N,).
            progress: of the run, 0-d.

        Returns:
            The loss, a scalar, and the logits (N, C), from before the update.
        """
        loss, logits = self.module(images, targets, progress)
        torch.maximum(self.stopped, (~loss.detach().isfinite()).float(), out=self.stopped)
        # On CUDA the kernels look, and nothing waits for the device.
        if self.stopped.is_cuda or not self.stopped:
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return loss.detach(), logits.detach()


class Captured(NamedTuple):
    """A graph, and the tensors that it reads and writes."""

    replay: Callable[[], object]
    inputs: list[Tensor]
    results: Results


class CapturedStep(Step):
    """The same from memory: a CUDA graph for each shape of batch, replayed without the host's part.

    Learning rates become tensors on the device, which the graphs read.
    """

    def __init__(self, module: TrainingModule, optimizer: Optimizer) -> None:
        super().__init__(module, optimizer)
        self.graphs: dict[torch.Size, Captured] = {}
        self.pool = torch.cuda.graph_pool_handle() if self.stopped.is_cuda else None
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=self.stopped.device)

    def __call__(self, images: Tensor, targets: Tensor, progress: Tensor) -> Results:
        """As `Step`; the results are good until the next step."""
        batch = (images, targets, progress)
        if images.shape not in self.graphs:
            self.graphs[images.shape] = self._capture(batch)
        captured = self.graphs[images.shape]
        for kept, value in zip(captured.inputs, batch, strict=True):
            kept.copy_(value)
        captured.replay()
        return captured.results

    def _capture(self, batch: tuple[Tensor, ...]) -> Captured:
        """Captures a step for batches of this shape, and leaves everything as it was before.

        Raises:
            UserError: a step that cannot be replayed.
        """
        inputs = [value.clone() for value in batch]
        restore, places = self._restorer(), self._places()
        step = partial(Step.__call__, self, *inputs)
        warm_up(step)
        moved = [name for name, place in self._places().items() if place != places.get(name)]
        if moved:
            raise UserError(
                f"capture=true: {moved[0]} is replaced in a step, where it should be changed in place "
                f"(add_, copy_, ...); capture=false trains without"
            )
        try:
            replay, results = record(step, self.pool)
        except RuntimeError as error:
            why = str(error.__context__ or error).partition("\n")[0]
            raise UserError(
                f"capture=true: this step cannot be captured as a CUDA graph ({why}); "
                f"capture=false trains without"
            ) from error
        restore()
        return Captured(replay, inputs, results)

    def _places(self) -> dict[str, int]:
        """Where each parameter and buffer lies, which a graph reads and writes."""
        named = [*self.module.named_parameters(), *self.module.named_buffers()]
        return {name: tensor.data_ptr() for name, tensor in named}

    def _restorer(self) -> Callable[[], None]:
        """What puts everything back that a step changes: parameters, statistics, momentum, random states."""
        own = [*self.module.parameters(), *self.module.buffers(), self.stopped]
        values = [tensor.detach().clone() for tensor in own]
        momenta = {parameter: buffer.clone() for parameter, buffer in self._momenta().items()}
        states = random_states()

        @torch.no_grad()
        def restore() -> None:
            for tensor, value in zip(own, values, strict=True):
                tensor.copy_(value)
            for parameter, buffer in self._momenta().items():  # one of zeros is as none
                buffer.copy_(momenta[parameter]) if parameter in momenta else buffer.zero_()
            restore_random_states(states)

        return restore

    def _momenta(self) -> dict[Tensor, Tensor]:
        buffers = {parameter: kept.get("momentum_buffer") for parameter, kept in self.optimizer.state.items()}
        return {parameter: buffer for parameter, buffer in buffers.items() if buffer is not None}


def make_step(module: TrainingModule, optimizer: Optimizer) -> Step:
    """A step, captured if `module` is to be."""
    return CapturedStep(module, optimizer) if module.captured else Step(module, optimizer)


def capture(step: Callable[[], T], pool: Any = None) -> tuple[Callable[[], object], T]:
    """Captures what `step` does on the GPU, after it has done it a few times.

    Args:
        step: with fixed shapes, and without waiting for the device. What it keeps has to be kept.
        pool: of memory, that graphs share which never run at once.

    Returns:
        What does it again, and where its results will be.
    """
    warm_up(step)
    return record(step, pool)


def warm_up(step: Callable[[], object]) -> None:
    """Does `step` a few times, beside the stream of the rest."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)


def record(step: Callable[[], T], pool: Any = None) -> tuple[Callable[[], object], T]:
    """`capture` of what was warmed up."""
    stream = torch.cuda.current_stream()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, pool, capture_error_mode="thread_local"):  # loaders pin memory meanwhile
            results = step()
    finally:
        torch.cuda.set_stream(stream)  # a capture that fails leaves its own
    return graph.replay, results
