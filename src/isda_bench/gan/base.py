"""The contract of every kind of generative adversarial network."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isda_bench.gan.networks import NOISE, Critic, Generator


class Gan(nn.Module):
    """A generator and its critic; a subclass builds them and defines their losses.

    Losses have one entry for each of the G networks that stand side by side.

    Attributes:
        critic_steps: steps of the critic to one of the generator.
    """

    generator: Generator
    critic: Critic
    critic_steps: int = 1

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def critic_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Losses (G,) on real images (N, G, channels, H, W) in [-1, 1] of classes `labels` (N,), (N, G)
        where each class has its own.
        """
        raise NotImplementedError

    def generator_loss(self, n: int) -> Tensor:
        """Losses (G,) on `n` generated images of each network."""
        raise NotImplementedError

    def optimizers(self) -> tuple[Optimizer, Optimizer]:
        """The critic's and the generator's."""
        raise NotImplementedError

    def after_critic_step(self) -> None:
        """Changes the critic's weights after each of its steps (clipping)."""

    def noise(self, n: int) -> Tensor:
        """(n, G, 100), standard normal."""
        return torch.randn(n, self.generator.groups, NOISE, device=self._device)

    def labels(self, n: int) -> Tensor:
        """Classes (n,), uniform."""
        return torch.randint(self.num_classes, (n,), device=self._device)

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device
