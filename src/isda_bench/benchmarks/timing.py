"""Times functions side by side in one process, so that a change of the machine's load meets them all."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def medians(functions: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1) -> dict[str, float]:
    """Median seconds of each function over `rounds`, each round calling every one in turn.

    Args:
        functions: name -> the timed function.
        rounds: calls of each that count.
        warmup: calls of each before, which do not.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for call in range(-warmup, rounds):
        for name, function in functions.items():
            taken = _seconds(function)
            if call >= 0:
                seconds[name].append(taken)
    return {name: statistics.median(values) for name, values in seconds.items()}


def median_ratio(function: Callable[[], object], reference: Callable[[], object], rounds: int) -> float:
    """Median over rounds of function's time over the reference's, taken one right after the other."""
    return statistics.median(ratios(function, reference, rounds))


def ratios(function: Callable[[], object], reference: Callable[[], object], rounds: int) -> list[float]:
    """Function's time over the reference's in each of `rounds`, taken one right after the other."""
    found = []
    for call in range(rounds + 1):
        order = [function, reference] if call % 2 else [reference, function]  # neither is always the second
        taken = {timed: _seconds(timed) for timed in order}
        if call:
            found.append(taken[function] / taken[reference])
    return found


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - start
