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
    """Problems of the functions; each is called with a batch, and with the same batch twice over.

    Args:
        names: of functions, with their modules.
        num_classes: C of the logits.
    """
    logits = torch.linspace(-1, 1, IMAGES * num_classes).view(IMAGES, num_classes)
    targets = torch.arange(IMAGES) % num_classes
    functions: dict[str, Callable[..., Tensor]] = {}
    problems = []
    for name in names:
        try:
            found = metric_functions([name])
        except ValueError as error:
            problems.append(f"evaluate.{error}")
            continue
        if found.keys() & functions.keys():
            problems.append(f"evaluate.metrics=[{name}]: a second metric {name.rpartition('.')[2]}")
        functions |= found
    for name, function in functions.items():
        reason = _misfit(function, logits, targets)
        if reason:
            problems.append(f"evaluate.metrics: {name}: {reason}")
    return problems


def _misfit(function: Callable[..., Any], logits: Tensor, targets: Tensor) -> str:
    """Why the function is no metric; '' where nothing is wrong with it."""
    try:
        once, twice = function(logits, targets), function(logits.repeat(2, 1), targets.repeat(2))
    except Exception as error:  # of a user's own code
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        return f"fails with logits (N, C) and targets (N,): {first_line}"
    if not isinstance(once, Tensor) or not isinstance(twice, Tensor) or once.ndim > 1:
        return "should give the sum over a batch, a tensor of at most one dimension"
    if once.shape != twice.shape:
        return "should give the sum over a batch, not a value for each image"
    if once.isfinite().all() and not torch.allclose(twice.double(), 2 * once.double(), rtol=1e-3, atol=1e-6):
        return (
            "should give the sum over a batch, which is twice as large for every image twice; is it the mean?"
        )
    return ""
