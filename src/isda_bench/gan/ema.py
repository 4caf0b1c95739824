"""The exponential moving average of a generator's weights, which oscillate during adversarial training."""

from copy import deepcopy
from typing import Any

import torch

from isda_bench.gan.networks import Generator


class ExponentialMovingAverage:
    """The exponential moving average of another generator's weights.

    After n steps its weights and BatchNorm statistics are the exponential mean of those after each step, with
    weight max(1 - decay, 1 / n) for the newest, so that the first ones do not count for more. (torch's
    AveragedModel waits for the device at every tensor.) Source: Yazici et al. 2019, "The Unusual
    Effectiveness of Averaging in GAN Training".

    Args:
        generator: the averaged one.
        decay: of the mean; 0: always the newest weights.

    Attributes:
        generator: the mean.
        steps: n.
    """

    def __init__(self, generator: Generator, decay: float) -> None:
        self.generator = deepcopy(generator).requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, generator: Generator) -> None:
        """Updates the average with the weights after another step."""
        self.steps += 1
        weight = max(1 - self.decay, 1 / self.steps)
        for average, newest in zip(self.generator.parameters(), generator.parameters(), strict=True):
            average.lerp_(newest, weight)
        for kept, new in zip(self.generator.buffers(), generator.buffers(), strict=True):
            kept.lerp_(new, weight) if kept.is_floating_point() else kept.copy_(new)

    def state_dict(self) -> dict[str, Any]:
        """The state that a checkpoint stores."""
        return {"generator": self.generator.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state of a checkpoint."""
        self.generator.load_state_dict(state["generator"])
        self.steps = state["steps"]
