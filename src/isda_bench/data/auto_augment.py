"""AutoAugment and RandAugment: chains of image operations, drawn for each image.

Their `operations` are `pillow`, those of the published codes to the grey level, for which the host never
waits on a GPU (`pil_operations`), or `torchvision`, the older function, which runs without the key had
(`image_operations`).
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from isda_bench.arguments import checked
from isda_bench.data.assumptions import SCALE_ASSUMPTION  # noqa: F401 - of RandAugment, below
from isda_bench.data.augment import Standard, cut_out
from isda_bench.data.image_operations import CIFAR10_POLICY, OPERATIONS, Choice, apply_choices, choose
from isda_bench.data.pil_operations import Operation, Rows, apply_rows, kinds_of, rows_of

PixelValue = Annotated[int, Field(ge=0, le=255)]
Operations = Literal["torchvision", "pillow"]
LAST_BIN = 9
"""AutoAugment's strengths are the numbers 0 to 9."""
STRONGEST = 30
"""RandAugment's are 0 to 30, as in its figures and in torchvision."""


class AutoAugment:
    """Crop and flip, the policy found for CIFAR-10, then a hole: the order of the ISDA authors' code.

    Each image draws one of 25 sub-policies, two operations with a probability and a strength each, and a sign
    for every operation that has one.

    With `operations=pillow` each operation is that of the ISDA authors' code (their autoaugment.py, Pillow on
    an image at a time) to the grey level: translations are rounded, shears are bicubic, a rotation always
    turns counter-clockwise, solarize starts at 256, the second Equalize of sub-policy 16 has a probability of
    0.8. Only the random numbers differ. `operations=torchvision` is another function: translations are cut to
    whole pixels, most of them one less, shears take the nearest pixel, rotations have a sign, solarize starts
    at 255, that Equalize has 0.6.

    Source: Cubuk et al. 2019, "AutoAugment: Learning Augmentation Strategies from Data", Table 7.

    Args:
        padding, flip: as in `Standard`.
        fill: value of the pixels that come from outside the image.
        cutout: side of the hole, as in `Cutout`; None leaves it out.
        operations: whose operations.

    Raises:
        ValueError: a fill outside 0..255; the hole's errors are those of `Cutout`.
    """

    @checked
    def __init__(
        self,
        padding: NonNegativeInt,
        flip: bool,
        fill: PixelValue = 128,
        cutout: PositiveInt | None = 16,
        operations: Operations = "torchvision",
    ) -> None:
        self.standard = Standard(padding, flip)
        self.fill = fill
        self.cutout = cutout
        self.drawn = _AutoAugmentDraws() if operations == "pillow" else None

    def __call__(self, images: Tensor) -> Tensor:
        """Augments each image with draws of its own."""
        images = self.standard(images)
        if self.drawn is not None:
            images = self.drawn.apply(images, self.fill)
        else:
            for choices in self.draw(len(images)):
                images = apply_choices(images, choices, self.fill)
        return cut_out(images, self.cutout) if self.cutout else images

    def draw(self, n: int) -> list[list[Choice | None]]:
        """For the first and the second of torchvision's operations, the choices of `n` images.

        They are drawn on the CPU.
        """
        drawn = torch.randint(len(CIFAR10_POLICY), (n,)).tolist()
        luck = torch.rand(2, n).tolist()
        negative = (torch.rand(2, n) < 0.5).tolist()
        choices: list[list[Choice | None]] = [[None] * n, [None] * n]
        for i, sub_policy in enumerate(drawn):
            for k, (operation, probability, bin_) in enumerate(CIFAR10_POLICY[sub_policy]):
                if luck[k][i] < probability:
                    choices[k][i] = choose(operation, (bin_ or 0) / LAST_BIN, negative[k][i])
        return choices


class RandAugment:
    """Crop and flip, N operations drawn from 14 with one strength for all, then a hole.

    Source: Cubuk et al. 2020, "RandAugment: Practical automated data augmentation with a reduced search
    space". Its appendix trains CIFAR-10 with N = 3 and M = 4 (Wide-ResNet-28-2), 5 (Wide-ResNet-28-10),
    9 (Shake-Shake 26 2x96d), 7 (PyramidNet with ShakeDrop), and Cutout after the operations. On which scale M
    lies it does not say: 0 to 30 is an assumption (`SCALE_ASSUMPTION`). The ISDA authors' code has no
    RandAugment.

    Args:
        padding, flip: as in `Standard`.
        num_operations: N; an operation can come twice.
        strength: M, from 0 to 30.
        fill, cutout, operations: as in `AutoAugment`; shears take the nearest pixel, rotations have a sign.

    Raises:
        ValueError: an N or M out of range, otherwise as `AutoAugment`.
    """

    operations = tuple(name for name in OPERATIONS if name != "Invert")

    @checked
    def __init__(
        self,
        padding: NonNegativeInt,
        flip: bool,
        num_operations: PositiveInt = 3,
        strength: Annotated[int, Field(ge=0, le=STRONGEST)] = 5,
        fill: PixelValue = 128,
        cutout: PositiveInt | None = 16,
        operations: Operations = "torchvision",
    ) -> None:
        self.standard = Standard(padding, flip)
        self.num_operations = num_operations
        self.strength = strength
        self.fill = fill
        self.cutout = cutout
        pillow = operations == "pillow"
        self.drawn = _RandAugmentDraws(self.operations, num_operations, strength) if pillow else None

    def __call__(self, images: Tensor) -> Tensor:
        """Augments each image with draws of its own."""
        images = self.standard(images)
        if self.drawn is not None:
            images = self.drawn.apply(images, self.fill)
        else:
            for _ in range(self.num_operations):
                images = apply_choices(images, self.draw(len(images)), self.fill)
        return cut_out(images, self.cutout) if self.cutout else images

    def draw(self, n: int) -> list[Choice | None]:
        """The choices of `n` images for one of torchvision's operations, drawn on the CPU."""
        drawn = torch.randint(len(self.operations), (n,)).tolist()
        negative = (torch.rand(n) < 0.5).tolist()
        strength = self.strength / STRONGEST
        return [choose(self.operations[k], strength, sign) for k, sign in zip(drawn, negative, strict=True)]


class _Draws:
    """Draws Pillow's operations for the images of a batch, on their device.

    Args:
        choices: the operations that can be drawn.
    """

    def __init__(self, choices: Sequence[Operation]) -> None:
        self.choices = choices
        self.kinds = kinds_of(choices)
        self.tables: dict[tuple[int, int, torch.device], Rows] = {}

    def apply(self, images: Tensor, fill: int) -> Tensor:
        """The images (N, C, H, W), uint8, after each operation that is drawn for them."""
        height, width = images.shape[-2:]
        key = (height, width, images.device)
        if key not in self.tables:
            self.tables[key] = rows_of(self.choices, *key)
        for drawn in self.draw(len(images), images.device):
            images = apply_rows(images, self.tables[key].take(drawn), self.kinds, fill)
        return images

    def draw(self, n: int, device: torch.device) -> Iterator[Tensor]:
        """For each operation in turn, an index into `choices` for each of `n` images, (n,)."""
        raise NotImplementedError


class _AutoAugmentDraws(_Draws):
    """Operation k of sub-policy s is at 4 s + 2 k + (1 where negative); the last is no operation."""

    def __init__(self) -> None:
        super().__init__(
            [
                Operation(_AUTHORS_NAMES.get(name, name), (-1) ** negative * (bin_ or 0) / LAST_BIN)
                for sub_policy in _AUTHORS_POLICY
                for name, _, bin_ in sub_policy
                for negative in ((False, False) if name in _ONE_WAY else (False, True))
            ]
            + [Operation("Identity")]
        )
        self.probabilities: dict[torch.device, Tensor] = {}

    def draw(self, n: int, device: torch.device) -> Iterator[Tensor]:
        drawn = torch.randint(len(_AUTHORS_POLICY), (n,), device=device)
        luck = torch.rand(2, n, device=device)
        negative = (torch.rand(2, n, device=device) < 0.5).long()
        if device not in self.probabilities:
            pairs = [[probability for _, probability, _ in pair] for pair in _AUTHORS_POLICY]
            self.probabilities[device] = torch.tensor(pairs, device=device)
        probabilities = self.probabilities[device][drawn]
        for k in range(2):
            chosen = 4 * drawn + 2 * k + negative[k]
            yield torch.where(luck[k] < probabilities[:, k], chosen, len(self.choices) - 1)


class _RandAugmentDraws(_Draws):
    """The operation of number k, with sign, is at 2 k + (1 where negative)."""

    def __init__(self, names: Sequence[str], num_operations: int, strength: int) -> None:
        share = strength / STRONGEST
        super().__init__(
            [
                Operation(name, -share if negative and OPERATIONS[name].signed else share)
                for name in names
                for negative in (False, True)
            ]
        )
        self.num_operations = num_operations
        self.count = len(names)

    def draw(self, n: int, device: torch.device) -> Iterator[Tensor]:
        for _ in range(self.num_operations):
            drawn = torch.randint(self.count, (n,), device=device)
            yield 2 * drawn + (torch.rand(n, device=device) < 0.5).long()


_ONE_WAY = {"Rotate", *(name for name, operation in OPERATIONS.items() if not operation.signed)}
_AUTHORS_NAMES = {"ShearY": "SmoothShearY"}
_AUTHORS_POLICY = [
    (("Equalize", 0.2, None), ("Equalize", 0.8, None)) if number == 16 else sub_policy
    for number, sub_policy in enumerate(CIFAR10_POLICY)
]
"""torchvision's list of the policy, but for the second probability of sub-policy 16."""
