"""Metrics of a user's own modules, as the configuration names them."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from isda_bench.config.building import ANY_MODULE, component_function

IMAGES = 4


def metric_functions(names: Iterable[str]) -> dict[str, Callable[..., Tensor]]:
    """Last part of each name -> its function.

    Raises:
        ValueError: a name is no function's, or two have one last part.
    """
    found: dict[str, Callable[..., Tensor]] = {}
    for name in names:
        last = name.rpartition(".")[2]
        try:
            function = component_function(name, ANY_MODULE)
        except ValueError as error:
            raise ValueError(f"metrics=[{name}]: {error}") from error
        if last in found:
            raise ValueError(f"metrics=[{name}]: a second metric {last}")
        found[last] = function
    return found


def metric_problems(names: list[str], num_classes: int) -> list[str]:
    """Problems of the functions; each is called with a batch of zeros.

    Args:
        names: of functions, with their modules.
        num_classes: C of the logits.
    """
    logits = torch.zeros(IMAGES, num_classes)
    targets = torch.arange(IMAGES) % num_classes
    try:
        functions = metric_functions(names)
    except ValueError as error:
        return [f"evaluate.{error}"]
    problems = []
    for name, function in functions.items():
        reason = _misfit(function, logits, targets)
        if reason:
            problems.append(f"evaluate.metrics: {name}: {reason}")
    return problems


def _misfit(function: Callable[..., Any], logits: Tensor, targets: Tensor) -> str:
    try:
        sums = function(logits, targets)
    except Exception as error:  # of a user's own code
        return f"fails with logits (N, C) and targets (N,): {str(error).splitlines()[0]}"
    if not isinstance(sums, Tensor) or sums.ndim > 1:
        return "should give the sum over a batch, a tensor of at most one dimension"
    return ""
