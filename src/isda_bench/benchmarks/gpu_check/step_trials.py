"""Short trainings on random images from one state, step by step, for the checks to compare."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from hydra.utils import instantiate
from torch import Tensor

from isda_bench.benchmarks.gpu_check.outcome import CheckFailed, CheckSkipped
from isda_bench.config.compose import compose_run
from isda_bench.config.optimizer_choice import OptimizerChoice
from isda_bench.runtime.devices import image_layout, set_precision
from isda_bench.storage.checkpoint import random_states
from isda_bench.training.capture import CapturedStep
from isda_bench.training.optimizers import make_optimizer, set_learning_rate
from isda_bench.training.step import Step, TrainingModule, compile_step

CLASSES, IMAGES, STEPS = 10, 16, 5


class Trial:
    """A network and a loss with their step, from a fixed seed.

    Args:
        device: where it trains.
        overrides: of the configuration: network, loss, optimizer, precision.
        captured: whether its steps are captured; a capture that fails is then an error.
        compiled: whether they are compiled.
        batch: images of a batch.
    """

    def __init__(
        self,
        device: torch.device,
        overrides: list[str],
        captured: bool = False,
        compiled: bool = False,
        batch: int = IMAGES,
    ) -> None:
        settings = compose_run(["dataset=cifar10", "logger=none", *overrides]).settings
        set_precision(settings.precision)
        torch.manual_seed(0)
        model = instantiate(settings.model, num_classes=CLASSES, in_channels=3)
        loss = instantiate(settings.loss, num_classes=CLASSES, feature_dim=model.feature_dim)
        self.module = TrainingModule(model, loss, settings.precision == "bf16").to(device).train()
        layout = image_layout(device, settings.precision)
        self.module.model.to(memory_format=layout)  # type: ignore[call-overload]
        if compiled:
            compile_step(self.module)
        choice = OptimizerChoice.of(settings.optimizer)
        self.optimizer = make_optimizer(self.module, settings.schedule, choice)
        for group in self.optimizer.param_groups:
            # Captured steps hold the rate as float32, eager ones as a double; fused kernels take doubles.
            group["initial_lr"] = torch.tensor(0.1 * group["initial_lr"], dtype=torch.float32).item()
            if "foreach" in group and not group.get("fused"):
                group["foreach"] = False  # Lion's captured steps never use them, its eager ones would
        self.step = (
            CapturedStep(self.module, self.optimizer, {batch}, required=True)
            if captured
            else Step(self.module, self.optimizer)
        )
        set_learning_rate(self.optimizer, 1.0)
        self.device, self.batch = device, batch
        torch.manual_seed(1)  # of the draws in the steps

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Random images, labels and the progress, the same for every trial."""
        generator = torch.Generator().manual_seed(2)
        for i in range(count):
            images = torch.randn(self.batch, 3, 32, 32, generator=generator)
            targets = torch.randint(CLASSES, (self.batch,), generator=generator)
            progress = torch.tensor(0.1 * (i + 1), dtype=torch.float64)
            yield images.to(self.device), targets.to(self.device), progress.to(self.device)

    def run(self, steps: int = STEPS) -> dict[str, Tensor]:
        """Trains, and returns everything that the steps have changed, by name."""
        found: dict[str, Tensor] = {}
        for i, batch in enumerate(self.batches(steps)):
            loss, logits = self.step(*batch)
            found |= {f"loss of step {i + 1}": loss.clone(), f"logits of step {i + 1}": logits.clone()}
        return found | self.state()

    def updated(self) -> dict[str, Tensor]:
        """Copies of the parameters and of the optimizer's momenta: what an update changes."""
        found = {}
        for name, parameter in self.module.named_parameters():
            state = self.optimizer.state.get(parameter, {})
            found[name] = parameter.detach().clone()
            found |= {
                f"{k} of {name}": v.clone() for k, v in state.items() if isinstance(v, Tensor) and v.ndim
            }
        return found

    def state(self) -> dict[str, Tensor]:
        """Parameters, buffers, the optimizer's state and the random states."""
        found = {name: value.clone() for name, value in self.module.state_dict().items()}
        for (name, _), state in zip(
            self.module.named_parameters(), self.optimizer.state.values(), strict=False
        ):
            found |= {f"{key} of {name}": v.clone() for key, v in state.items() if isinstance(v, Tensor)}
        return found | {f"random state of {name}": state for name, state in random_states().items()}


def first_difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> str | None:
    """The first tensor that differs in a bit, and the size of the difference; None if all are equal."""
    for name, value in theirs.items():
        if not torch.equal(ours[name], value):
            off = (ours[name].double() - value.double()).abs().max().item()
            return f"{name} (by up to {off:.3g})"
    return None


@contextmanager
def deterministic_kernels() -> Iterator[None]:
    """Within it torch takes kernels that sum in the same order every time, where it has them."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def captured_equals_eager(device: torch.device, overrides: list[str]) -> str:
    """Trains eager, eager again as the control, and captured, with deterministic kernels.

    Raises:
        CheckSkipped: the control differs: this machine's kernels are not deterministic there.
        CheckFailed: captured steps differ.
    """
    with deterministic_kernels():
        eager, again = Trial(device, overrides).run(), Trial(device, overrides).run()
        if first_difference(again, eager) is not None:
            place = unsteady_place(device, overrides)
            raise CheckSkipped(
                f"eager steps differ from themselves, first in {place}: nothing to compare with"
            )
        differs = first_difference(Trial(device, overrides, captured=True).run(), eager)
    if differs is not None:
        raise CheckFailed(f"captured steps differ from eager ones in {differs}")
    return f"{STEPS} captured steps equal eager ones to the bit, random states included"


def unsteady_place(device: torch.device, overrides: list[str]) -> str:
    """The place in which equal eager trials differ first.

    Where the logits differ already, the first BatchNorm whose statistics do. Otherwise the last parameter,
    because gradients come from there.
    """
    for steps in range(1, STEPS + 1):
        one, two = (Trial(device, overrides).run(steps) for _ in range(2))
        differ = [name for name, value in two.items() if not torch.equal(one[name], value)]
        if any(name.startswith("logits") for name in differ):
            return next((name for name in differ if ".running_" in name), "a forward pass without BatchNorm")
        if differ:
            return [name for name in differ if name.startswith("model.")][-1]
    return "no place in another attempt"


def numbers_agree(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> None:
    """Compares the losses of trials in which kernels may sum in another order.

    Raises:
        CheckFailed: one differs by more than `tolerance` relative to it.
    """
    for name in (name for name in theirs if name.startswith("loss of step")):
        a, b = ours[name].item(), theirs[name].item()
        if not abs(a - b) <= tolerance * abs(b):
            raise CheckFailed(f"the {name} is {a:.6g}, should be {b:.6g} within {tolerance:g}")
