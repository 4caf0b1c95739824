"""Checks the content of an undamaged checkpoint: a wrong one ends in one message before the first step."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from isda_bench.errors import UserError
from isda_bench.storage.checkpoint import checkpoints
from isda_bench.storage.run_results import is_metric, is_number

KERNELS = ("fused", "foreach", "capturable", "differentiable")
"""Keys of a group that depend on the device alone."""
ROW = ("epoch", "seconds")
"""Keys of every epoch's metrics."""


@contextmanager
def one_error(directory: Path, what: str = "this run") -> Iterator[None]:
    """Reports whatever wrong content raises within it as one error that names the newest checkpoint.

    Args:
        directory: of the run.
        what: the checkpoint should belong to.

    Raises:
        UserError: the content is wrong.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # what wrong content makes of torch has no common class
        raise wrong_content(directory, error, what) from error


def wrong_content(directory: Path, error: Exception, what: str = "this run") -> UserError:
    """The error that names the newest checkpoint, whose content is wrong, and the ways on."""
    newest = next(iter(checkpoints(directory)), directory)
    words = " ".join(str(error).split())[:300]
    return UserError(
        f"{newest}: is no checkpoint of {what} ({type(error).__name__}: {words}); without this file the "
        f"checkpoint before it counts; rerun=true trains again from the start"
    )


def check_progress(state: Mapping[str, Any]) -> None:
    """Checks the metrics of the epochs, and the place within the next one.

    Raises:
        ValueError: they are not what a training saves.
    """
    metrics = state["metrics"]
    _expect(isinstance(metrics, list), "metrics should be a list")
    for number, row in enumerate(metrics, 1):
        _expect(isinstance(row, dict) and row.keys() >= set(ROW), f"metrics: epoch {number} lacks keys")
        _expect(all(map(is_metric, row, row.values())), f"metrics: epoch {number} should hold numbers")
        _expect(type(row["epoch"]) is int and row["epoch"] == number, f"metrics: no epoch {number}")
        _expect(row["seconds"] > 0, f"metrics: seconds of epoch {number} should be above 0")
    if "within" in state:
        _check_place(state["within"])


def check_same_tensors(expected: Mapping[str, Any], found: Any, name: str) -> None:
    """Checks names, kinds and dtypes of tensors, which `load_state_dict` converts; it checks their shapes.

    Statistics that were kept in double precision stay so (see `OnlineStatistics`).

    Raises:
        ValueError: they differ.
    """
    _expect(isinstance(found, dict), f"{name} should be a dictionary")
    for key, value in expected.items():
        _expect(key in found, f"{name}.{key} is not there")
        if isinstance(value, Tensor):
            _expect(isinstance(found[key], Tensor), f"{name}.{key} should be a tensor")
            double = found[key].dtype == torch.float64 and value.is_floating_point()
            same = found[key].dtype == value.dtype or double
            _expect(same, f"{name}.{key} is of {found[key].dtype}, should be of {value.dtype}")


def check_optimizer(optimizer: Optimizer, found: Any) -> None:
    """Checks the settings and states of an optimizer, which its `load_state_dict` takes as they are.

    The states are compared with those of another optimizer of the class after its first step.

    Raises:
        ValueError: they are not those of such an optimizer.
    """
    _expect(isinstance(found, dict), "optimizer should be a dictionary")
    groups, states = found["param_groups"], found["state"]
    _expect(isinstance(groups, list) and isinstance(states, dict), "optimizer: groups or states are none")
    _expect(len(groups) == len(optimizer.param_groups), "optimizer: another number of groups")
    for group, own in zip(groups, optimizer.param_groups, strict=True):
        for key, value in own.items():
            if key not in KERNELS:
                _expect(key in group, f"optimizer: the setting {key} is not there")
                _expect(_alike(value, group[key]), f"optimizer: the setting {key} is of another type")
    if states:
        for index, own in enumerate(_states_after_a_step(optimizer)):
            _check_state(index, own, states.get(index))


def _check_state(index: int, own: dict[str, Any], state: Any) -> None:
    if state is None:  # a parameter that had no gradient yet
        return
    _expect(isinstance(state, dict), f"optimizer: the state of parameter {index} should be a dictionary")
    for key, value in own.items():
        name = f"optimizer: {key} of parameter {index}"
        _expect(key in state, f"{name} is not there")
        if isinstance(value, Tensor) and value.ndim:
            _expect(isinstance(state[key], Tensor), f"{name} should be a tensor")
            same = state[key].shape == value.shape and state[key].dtype == value.dtype
            _expect(same, f"{name} is of another shape or dtype")
        else:
            _expect(_alike(value, state[key]), f"{name} is of another type")


def _states_after_a_step(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The state that a step makes for each parameter; empty where the class cannot be asked.

    Some classes look at numbers, which the meta device has not: they make the step on zeros.
    """
    for device in ("meta", "cpu"):
        with suppress(Exception):  # of a user's own class too
            return _states_of_a_copy(optimizer, device)
    return []


def _states_of_a_copy(optimizer: Optimizer, device: str) -> list[dict[str, Any]]:
    kind: Any = type(optimizer)
    groups, parameters = [], []
    for group in optimizer.param_groups:
        own = [torch.nn.Parameter(torch.zeros_like(p, device=device)) for p in group["params"]]
        groups.append({key: value for key, value in group.items() if key not in KERNELS} | {"params": own})
        parameters += own
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    made = kind(groups)
    made.step()
    return [dict(made.state[parameter]) for parameter in parameters]


def _check_place(within: Any) -> None:
    _expect(isinstance(within, dict), "within should be a dictionary")
    order, seed, step = (within["position"][key] for key in ("order", "seed", "step"))
    _expect(isinstance(order, Tensor) and order.dtype == torch.int64, "within: the order should be of int64")
    whole = torch.equal(order.sort().values, torch.arange(len(order)))
    _expect(whole, "within: the order should name every image once")
    numbers = type(seed) is int and type(step) is int and seed >= 0 and 0 < step <= len(order)
    _expect(numbers, "within: seed and step should be numbers")
    sums = within["sums"]
    _expect(isinstance(sums, list) and len(sums) > 0, "within: sums should be a list")
    for part in sums:
        same = isinstance(part, Tensor) and part.dtype == torch.float64 and part.shape == (3,)
        _expect(same, "within: each of the sums should have three values in float64")
    _expect(is_number(within["seconds"]), "within: seconds should be a number")


def _alike(own: Any, found: Any) -> bool:
    """Whether it is a value of the same type; an integer and a float, and a tensor of one value, are numbers.

    A setting that is null here may have any type.
    """
    if own is None:
        return True
    if isinstance(own, bool) or isinstance(found, bool):
        return type(own) is type(found)
    if isinstance(own, list | tuple):
        return isinstance(found, list | tuple) and len(own) == len(found) and all(map(_alike, own, found))
    if is_number(own) or isinstance(own, Tensor):
        return is_number(found) or (isinstance(found, Tensor) and found.numel() == 1)
    return type(own) is type(found)


def _expect(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(problem)
