"""Checks of captured steps: the numbers, the draws, losses that are not finite, failed captures, memory."""

import contextlib
import gc
import io

import torch
from torch import Tensor

from isda_bench.benchmarks.gpu_check.outcome import CheckFailed
from isda_bench.benchmarks.gpu_check.step_trials import Trial, first_difference, numbers_agree
from isda_bench.losses.base import Outputs
from isda_bench.losses.cross_entropy import CrossEntropy
from isda_bench.training.capture import CapturedStep
from isda_bench.training.cuda_graphs import clear_workspaces
from isda_bench.training.optimizers import set_learning_rate
from isda_bench.training.step import Step

RESNET = ["model=resnet8"]
DRAWING = {
    "dropout": [*RESNET, "model.dropout=0.3"],
    "shake": ["model=shake_shake_26_2x32d", "model.depth=8", "model.width=8"],
    "disturb_label": [*RESNET, "loss=disturb_label", "loss.rate=0.9"],
}
MEMORY_SLACK = 8 * 2**20
"""Bytes that libraries may keep."""


def replays_draw(device: torch.device) -> str:
    """Replays of one batch differ where something is drawn, and are equal where nothing is."""
    for name, overrides in DRAWING.items():
        first, second = _two_results(device, overrides)
        if all(torch.equal(*pair) for pair in zip(first, second, strict=True)):
            raise CheckFailed(f"{name}: two replays of a batch are equal: its random numbers are frozen")
    first, second = _two_results(device, RESNET)
    if not all(torch.equal(*pair) for pair in zip(first, second, strict=True)):
        raise CheckFailed("two replays of a batch differ, though nothing is drawn")
    return f"two replays of a batch differ with {', '.join(DRAWING)}, and are equal without"


def _two_results(device: torch.device, overrides: list[str]) -> tuple[list[Tensor], list[Tensor]]:
    """Loss and logits of two steps on one batch; a rate of 0 leaves the weights alone."""
    trial = Trial(device, overrides, captured=True)
    set_learning_rate(trial.optimizer, 0.0)
    (batch,) = trial.batches(1)
    trial.step(*batch)  # eager: the optimizer creates its state
    first = [value.clone() for value in trial.step(*batch)]
    return first, [value.clone() for value in trial.step(*batch)]


def random_offsets(device: torch.device) -> str:
    """Captured steps leave the random states where eager ones leave them."""
    overrides = [*RESNET, "model.dropout=0.3"]
    ours, theirs = (Trial(device, overrides, captured=captured).run() for captured in (True, False))
    states = [name for name in theirs if name.startswith("random state")]
    differs = first_difference({n: ours[n] for n in states}, {n: theirs[n] for n in states})
    if differs is not None:
        raise CheckFailed(f"after 5 steps the {differs} is not that of eager steps")
    return "after 5 steps the random states are those of eager steps"


def no_update_after_nan(device: torch.device, modes: tuple[str, ...] = ("eager", "captured")) -> str:
    """After a loss that is not finite no update is made.

    Args:
        device: where the steps are made.
        modes: of the steps: eager, captured, compiled, compiled and captured.

    Raises:
        CheckFailed: parameters or states of the optimizer change, or the loss goes unnoticed.
    """
    for mode in modes:
        trial = Trial(device, [*RESNET, "loss=isda"], "captured" in mode, compiled="compiled" in mode)
        good, also_good, bad, late = trial.batches(4)
        trial.step(*good)
        trial.step(*also_good)
        before = trial.updated()
        trial.step(bad[0] * torch.nan, *bad[1:])
        trial.step(*late)
        differs = first_difference(trial.updated(), before)
        if differs is not None:
            raise CheckFailed(f"{mode} steps update {differs} after a loss that is not finite")
        if not trial.step.stopped:
            raise CheckFailed(f"{mode} steps do not notice a loss that is not finite")
    return f"{' and '.join(modes)} steps make no update after a loss that is not finite"


class Waits(CrossEntropy):
    """Cannot be captured: the host looks at its result."""

    def compute(self, outputs: Outputs, targets: Tensor, progress: float | Tensor) -> Tensor:
        """The cross-entropy, times 1."""
        return super().compute(outputs, targets, progress) * float(outputs.logits.isfinite().all())


def failed_capture(device: torch.device) -> str:
    """A capture that fails, then eager steps, then a capture that succeeds, in one process."""
    overrides = [*RESNET, "model.dropout=0.3"]
    eager = _with_waits(device, overrides, captured=False).run()
    falling_back = _with_waits(device, overrides, captured=True)
    with contextlib.redirect_stderr(io.StringIO()) as said:
        numbers_agree(falling_back.run(), eager, 1e-4)
    if falling_back.step.mode != "eager" or "capture=auto" not in said.getvalue():
        raise CheckFailed("a step that waits for the device was captured, without a warning")
    torch.rand(3, device=device)  # torch 2.11 draws nothing more after a capture that failed
    ours = Trial(device, overrides, captured=True)
    numbers_agree(ours.run(), Trial(device, overrides).run(), 1e-4)
    if ours.step.mode != "captured":
        raise CheckFailed("after a capture that failed, nothing is captured any more")
    return "after a capture that fails, steps are eager, numbers are drawn, and another step is captured"


def _with_waits(device: torch.device, overrides: list[str], captured: bool) -> Trial:
    trial = Trial(device, overrides)
    trial.module.loss = Waits(trial.module.loss.num_classes, trial.module.loss.feature_dim).to(device)
    if captured:
        trial.step = CapturedStep(trial.module, trial.optimizer, {trial.batch}, required=False)
    else:
        trial.step = Step(trial.module, trial.optimizer)
    return trial


def memory_comes_back(device: torch.device) -> str:
    """Captured, compiled, captured: after each the device's memory is as it was at the start."""
    overrides = [*RESNET, "loss=isda"]
    used = [_bytes_in_use(device)]
    for compiled in (False, True, False):
        Trial(device, overrides, captured=True, compiled=compiled).run()
        used.append(_bytes_in_use(device))
    if max(used) > used[0] + MEMORY_SLACK:
        raise CheckFailed(
            f"bytes in use at the start and after captured, compiled, captured: {', '.join(map(str, used))}"
        )
    return f"captured, compiled, captured in one process leave {used[-1] / 2**20:.1f} MiB in use"


def _bytes_in_use(device: torch.device) -> int:
    """Of the device's memory, without what libraries keep for the next call."""
    gc.collect()
    torch._dynamo.reset()
    gc.collect()
    clear_workspaces()
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated(device)
