"""Training steps captured as CUDA graphs: the same numbers without the host's work at each step."""

import sys
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from isda_bench.errors import UserError
from isda_bench.training.cuda_graphs import capture_graph, mend_generators, warm_up
from isda_bench.training.step import Results, Step, TrainingModule
from isda_bench.training.step_state import StepState


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
        self.state = StepState(module, optimizer, self.stopped)
        self.sizes = sizes
        self.required = required
        self.has_state = bool(optimizer.state)
        self.graphs: dict[torch.Size, Captured] = {}
        self._renew_pool()
        if self.stopped.is_cuda:
            _keep_on_the_device(optimizer)
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=self.stopped.device)

    def __call__(self, images: Tensor, targets: Tensor, progress: Tensor, *mixed: Tensor) -> Results:
        """Updates model and loss as `Step` does; the next step overwrites the results."""
        batch = (images, targets, progress, *mixed)
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
            for group in self.optimizer.param_groups:
                group["lr"] = float(group["lr"])  # an eager optimizer may wait for a tensor in every step
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
        restore = self.state.snapshot()
        places, values = self.state.addresses(), self.state.host_values()
        step = partial(Step.__call__, self, *inputs)
        try:
            warm_up(step, self.stream)
            self._check_replayable(places, values)
            replay, results = self._record(step)
        finally:
            restore()
        return Captured(replay, inputs, results)

    def _check_replayable(self, places: dict[str, int], values: dict[str, Any]) -> None:
        """Raises CaptureFailed if a step changed a value that a replay would not change.

        Args:
            places: the addresses of the tensors before; replays would read a tensor that a step replaced.
            values: on the host before; replays would not change them.
        """
        for name, place in self.state.addresses().items():
            if place != places.get(name):
                raise CaptureFailed(
                    f"{name} is replaced in a step, where it should be changed in place (add_, copy_, ...)"
                )
        after = self.state.host_values()
        for name, value in values.items():
            if name not in after or (after[name] is not value and after[name] != value):
                raise CaptureFailed(
                    f"{name} changes in a step on the host, where it should be a tensor on the device"
                )

    def _record(self, step: Callable[[], Results]) -> tuple[Callable[[], object], Results]:
        try:
            return capture_graph(step, self.stream, self.pool)
        except Exception as error:
            why = str(error.__context__ or error).partition("\n")[0]
            self._renew_pool()  # the pool of a capture that failed may be unusable
            mend_generators(self.stream)
            raise CaptureFailed(f"this step cannot be captured as a CUDA graph ({why})") from error

    def _renew_pool(self) -> None:
        on_cuda = self.stopped.is_cuda
        self.pool: Any = torch.cuda.graph_pool_handle() if on_cuda else None
        self.stream: Any = torch.cuda.Stream(self.stopped.device) if on_cuda else None


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


def _keep_on_the_device(optimizer: Optimizer) -> None:
    """Moves counts of steps (Adam's, for one) to the device, where the optimizer can keep them there.

    A state that an eager run or a CPU saved has them on the host.
    """
    for group in optimizer.param_groups:
        if "capturable" not in group:
            continue
        group["capturable"] = True
        for parameter in group["params"]:
            count = optimizer.state.get(parameter, {}).get("step")
            if isinstance(count, Tensor):
                optimizer.state[parameter]["step"] = count.to(parameter.device, torch.float32)
