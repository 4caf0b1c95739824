"""The state that a training step changes: tensors, their addresses, and the host's numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isda_bench.storage.checkpoint import random_states, restore_random_states

PLAIN = (bool, int, float, str, type(None))


class StepState:
    """The parameters, buffers, optimizer states and flags of a step.

    Args:
        module: model and loss.
        optimizer: over their parameters.
        stopped: the flag of a loss that is not finite, 0-d.
    """

    def __init__(self, module: nn.Module, optimizer: Optimizer, stopped: Tensor) -> None:
        self.module = module
        self.optimizer = optimizer
        self.stopped = stopped

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor that a step changes, with a name for messages."""
        yield from self.module.named_parameters()
        yield from self.module.named_buffers()
        yield "the flag of the step", self.stopped
        for name, value in self._optimizer_values():
            if isinstance(value, Tensor):
                yield name, value

    def addresses(self) -> dict[str, int]:
        """Where the tensors lie: a graph reads and writes there."""
        return {name: tensor.data_ptr() for name, tensor in self.tensors()}

    def host_values(self) -> dict[str, Any]:
        """The host's values of a step: plain attributes of the modules, numbers of the optimizer.

        A graph keeps the values that they had at the capture.
        """
        found: dict[str, Any] = {
            f"{prefix}.{name}".lstrip("."): value
            for prefix, module in self.module.named_modules()
            for name, value in vars(module).items()
            if isinstance(value, PLAIN)
        }
        for name, value in self._optimizer_values():
            if isinstance(value, Tensor):
                if self.stopped.is_cuda and not value.is_cuda:
                    found[name] = value.tolist()
            elif isinstance(value, PLAIN):
                found[name] = value
        return found

    def snapshot(self) -> Callable[[], None]:
        """Copies everything that a step changes to the host's memory; returns what restores it.

        The host's memory, because class statistics can fill half of a GPU's. A tensor that a step replaced
        is put back, too.
        """
        values = [(tensor, tensor.detach().to("cpu", copy=True)) for _, tensor in self.tensors()]
        modules = [(module, _attributes(module)) for module in self.module.modules()]
        states = {parameter: _copy(state) for parameter, state in self.optimizer.state.items()}
        groups = [
            {k: _copy(v) for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups
        ]
        drawn = random_states()

        @torch.no_grad()
        def restore() -> None:
            for module, attributes in modules:
                for name, value in attributes.items():
                    if getattr(module, name) is not value:
                        setattr(module, name, value)
            self.optimizer.state.clear()
            self.optimizer.state.update({p: _copy(state) for p, state in states.items()})
            for group, kept in zip(self.optimizer.param_groups, groups, strict=True):
                group.update(_copy(kept))
            for tensor, value in values:
                tensor.copy_(value)
            restore_random_states(drawn)

        return restore

    def _optimizer_values(self) -> Iterator[tuple[str, Any]]:
        for i, state in enumerate(self.optimizer.state.values()):
            yield from _leaves(f"of parameter {i}", state)
        for i, group in enumerate(self.optimizer.param_groups):
            yield from _leaves(f"of group {i}", {k: v for k, v in group.items() if k != "params"})


def _leaves(owner: str, value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested mappings and sequences, each with the name of its place."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(owner, item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for i, item in enumerate(value):
            yield from _leaves(owner, item, f"{key}.{i}")
    else:
        yield f"the optimizer's {key} {owner}", value


def _copy(value: Any) -> Any:
    """Containers of the optimizer's state copied; tensors in them stay the same objects."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _attributes(module: nn.Module) -> dict[str, Any]:
    """A module's own parameters, buffers and plain attributes, which a step can replace."""
    plain = {name: value for name, value in vars(module).items() if isinstance(value, PLAIN)}
    return plain | dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
