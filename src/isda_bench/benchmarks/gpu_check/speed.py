"""Checks of speed: captured and compiled steps beside eager ones, ISDA beside its memory floor."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from isda_bench.benchmarks.gpu_check.outcome import CheckFailed, CheckSkipped, Outcome
from isda_bench.benchmarks.gpu_check.step_trials import Trial
from isda_bench.benchmarks.timing import medians

BATCH = 128
LEAST_PART = 0.97
"""Of the images/s of eager steps, that captured and compiled ones reach at least."""
STEPS_OF_A_BLOCK, BLOCKS = 10, 7
COPIED = 2**28
"""Bytes of the copy that measures the memory's bandwidth."""


def rates(device: torch.device, network: str, precision: str) -> Outcome:
    """Images/s of a network's steps: medians of blocks in turn.

    Raises:
        CheckFailed: captured or compiled steps are slower than eager ones.
        CheckSkipped: the GPU has too little memory for the three at once.
    """
    with enough_memory(network):
        return _rates(device, network, precision)


@contextmanager
def enough_memory(network: str) -> Iterator[None]:
    """Skips the check where a step, or what a failed capture reports, is out of memory."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, torch.OutOfMemoryError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise CheckSkipped(f"{network} with batches of {BATCH}: too little memory on this GPU") from error


def _rates(device: torch.device, network: str, precision: str) -> Outcome:
    overrides = [f"model={network}", "loss=isda", f"precision={precision}"]
    modes: dict[str, dict[str, Any]] = {
        "eager": {},
        "captured": {"captured": True},
        "compiled": {"captured": True, "compiled": True},
    }
    blocks = {name: _block(Trial(device, overrides, batch=BATCH, **mode)) for name, mode in modes.items()}
    seconds = medians(blocks, BLOCKS)
    speed = {name: BATCH * STEPS_OF_A_BLOCK / value for name, value in seconds.items()}
    rows = [
        {"network": network, "precision": precision, "step": name, "images_per_second": value}
        for name, value in speed.items()
    ]
    listed = ", ".join(f"{name} {value:,.0f}" for name, value in speed.items())
    slow = [name for name, value in speed.items() if value < LEAST_PART * speed["eager"]]
    if slow:
        raise CheckFailed(f"{' and '.join(slow)} steps are slower than eager ones; images/s: {listed}")
    return Outcome("PASS", f"images/s: {listed}", {"throughput": rows})


def _block(trial: Trial) -> Any:
    (batch,) = trial.batches(1)

    def block() -> None:
        for _ in range(STEPS_OF_A_BLOCK):
            trial.step(*batch)

    return block


def isda_memory_floor(device: torch.device, network: str = "wrn28_10") -> Outcome:
    """ISDA's extra time in a captured step, beside the time in which memory could move its covariances.

    They are read and written once by the update, and read once by the loss.

    Raises:
        CheckSkipped: the GPU has too little memory for both at once.
    """
    with enough_memory(network):
        return _isda_memory_floor(device, network)


def _isda_memory_floor(device: torch.device, network: str) -> Outcome:
    captured = device.type == "cuda"
    trials = {
        loss: Trial(device, [f"model={network}", f"loss={loss}", "precision=bf16"], captured, batch=BATCH)
        for loss in ("cross_entropy", "isda")
    }
    blocks = {name: _block(trial) for name, trial in trials.items()}
    seconds = {name: value / STEPS_OF_A_BLOCK for name, value in medians(blocks, BLOCKS).items()}
    extra = seconds["isda"] - seconds["cross_entropy"]
    source = torch.empty(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = medians({"copy": lambda: target.copy_(source)}, 9)["copy"]
    covariance = trials["isda"].module.loss.get_buffer("statistics.covariance")
    floor = 3 * covariance.nbytes * copy / (2 * COPIED)
    numbers = {
        "step_ms": 1000 * seconds["cross_entropy"],
        "isda_extra_ms": 1000 * extra,
        "memory_floor_ms": 1000 * floor,
    }
    sentence = (
        f"ISDA adds {1000 * extra:.3f} ms to a step of {1000 * seconds['cross_entropy']:.3f} ms; "
        f"its covariances alone take {1000 * floor:.3f} ms to move"
    )
    return Outcome("PASS", sentence, numbers)
