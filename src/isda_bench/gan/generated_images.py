"""Generated images that fill up a classifier's mini-batches (supplement B: a sixth)."""

import torch
from torch import Tensor

from isda_bench.data.loader import Normalise
from isda_bench.gan.networks import NOISE, Generator


class Generated:
    """Fills each batch up with generated images of uniformly drawn classes.

    They come as the generator makes them, neither cropped nor flipped: it has learnt whole images, and its
    noise varies them. They pass the same normalisation as real ones. An epoch is one pass over the real
    images; its last, short batch has generated ones in the same proportion.

    Args:
        generator: trained, frozen, on the device of the batches.
        num_classes: C.
        batch_size: images in a full batch, real and generated.
        count: generated ones among them.
        normalise: as for real images.
        bf16: whether the generator runs under bfloat16 autocast.
    """

    def __init__(
        self,
        generator: Generator,
        num_classes: int,
        batch_size: int,
        count: int,
        normalise: Normalise,
        bf16: bool = False,
    ) -> None:
        self.generator = generator
        self.num_classes = num_classes
        self.real_images = batch_size - count
        self.count = count
        self.normalise = normalise
        self.bf16 = bf16

    def added(self, real: int) -> int:
        """Generated images beside `real` ones."""
        return round(real * self.count / self.real_images)

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The real images, then the generated ones; then their classes, in the same order."""
        generated, labels = self.draw(self.added(len(targets)), images.device)
        labels = labels.to(targets.device, non_blocking=True)
        return torch.cat([images, generated]), torch.cat([targets, labels])

    @torch.no_grad()
    def draw(self, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Normalised images (n, C, H, W) on `device` and their classes (n,) on the CPU.

        There the classes are drawn, so that no generator that sorts by them has to wait for the device.
        """
        labels = torch.randint(self.num_classes, (n,))
        noise = torch.randn(n, NOISE, device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            images = self.generator.generate(noise, labels)
        return self.normalise(images), labels
