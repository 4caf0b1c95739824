"""Pillow's image operations on batches in which each image has an operation of its own, to the grey level.

The published codes of AutoAugment run Pillow on an image at a time. Here the operations are tensor operations
on the batch's device, for which the host never waits: a table on the device holds the operations that images
may have, a batch draws rows of it, and each kind of operation is computed under a mask. On a CPU only the
images under the mask are computed.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

FIXED = 65536
"""Pillow's affine transform computes with so many parts of a pixel."""
WHITE = 255
SHEAR, TRANSLATE, ROTATE, ENHANCE, BITS = 0.3, 150 / 331, 30.0, 0.9, 4
"""Full strength: pixels a pixel, parts of a side, degrees, change of the factor, bits less."""


class Operation(NamedTuple):
    """An operation on an image.

    Attributes:
        name: Identity, ShearX, ShearY, TranslateX, TranslateY, Rotate, Brightness, Color, Contrast,
            Sharpness, Posterize, Solarize, AutoContrast, Equalize, Invert; SmoothShearY is ShearY with a
            bicubic interpolation.
        strength: in [-1, 1]; negative turns the direction, or weakens where positive enhances.
    """

    name: str
    strength: float = 0.0


class Rows(NamedTuple):
    """Operations as numbers, K of them."""

    kind: Tensor
    """Index into `KINDS`, (K,)."""
    matrix: Tensor
    """Of AFFINE: where a pixel comes from, in parts of 1 / `FIXED`, (K, 6), int64."""
    value: Tensor
    """A factor, a slope, a threshold or a mask of bits, (K,), float64."""

    def take(self, indices: Tensor) -> "Rows":
        """The rows with these indices (N,)."""
        return Rows(self.kind[indices], self.matrix[indices], self.value[indices])


def rows_of(operations: Sequence[Operation], height: int, width: int, device: torch.device) -> Rows:
    """The table of some operations on images of one size, on the device."""
    rows = [_row(operation, height, width) for operation in operations]
    kinds, matrices, values = zip(*rows, strict=True)
    return Rows(
        torch.tensor([KINDS.index(kind) for kind in kinds], device=device),
        torch.tensor(matrices, device=device),
        torch.tensor(values, dtype=torch.float64, device=device),
    )


def apply_rows(
    images: Tensor, rows: Rows, kinds: Sequence[str], fill: int, masked: bool | None = None
) -> Tensor:
    """The images with the i-th operation applied to the i-th image.

    Args:
        images: (N, C, H, W), uint8, in grey or in red, green and blue.
        rows: (N,).
        kinds: of `KINDS`, those that can be among the rows.
        fill: grey level of pixels that come from outside the image.
        masked: whether each operation is computed for all images, so that no shape depends on what was drawn;
            null: not on a CPU. The result is the same.
    """
    masked = not images.is_cpu if masked is None else masked
    result = images
    for kind in kinds:
        mask = rows.kind == KINDS.index(kind)
        if masked:
            changed = TRANSFORMS[kind](images, rows, fill)
            result = torch.where(mask[:, None, None, None], changed, result)
            continue
        chosen = mask.nonzero()[:, 0]
        if len(chosen):
            changed = TRANSFORMS[kind](images[chosen], rows.take(chosen), fill)
            result = result.index_copy(0, chosen, changed)
    return result


def kinds_of(operations: Sequence[Operation]) -> list[str]:
    """The kinds of some operations, each once, without Identity."""
    kinds = {_row(operation, 1, 1)[0] for operation in operations}
    return [kind for kind in TRANSFORMS if kind in kinds]


def _row(operation: Operation, height: int, width: int) -> tuple[str, list[int], float]:
    """Kind, matrix and value of an operation."""
    name, strength = operation
    still = [FIXED, 0, 0, 0, FIXED, 0]
    if name in ("Color", "Contrast", "Brightness", "Sharpness"):
        return name, still, 1 + ENHANCE * strength
    if name == "Posterize":
        return name, still, WHITE - (2 ** round(BITS * strength) - 1)
    if name == "Solarize":
        return name, still, 256 - 256 * strength
    if name == "SmoothShearY":
        return name, still, SHEAR * strength
    if name in ("Identity", "AutoContrast", "Equalize", "Invert"):
        return name, still, 0.0
    matrix = {
        "ShearX": (1.0, SHEAR * strength, 0.0, 0.0, 1.0, 0.0),
        "ShearY": (1.0, 0.0, 0.0, SHEAR * strength, 1.0, 0.0),
        "TranslateX": (1.0, 0.0, TRANSLATE * strength * width, 0.0, 1.0, 0.0),
        "TranslateY": (1.0, 0.0, 0.0, 0.0, 1.0, TRANSLATE * strength * height),
        "Rotate": _rotation(ROTATE * strength, height, width),
    }[name]
    return "Affine", _fixed(matrix), 0.0


def _rotation(degrees: float, height: int, width: int) -> tuple[float, ...]:
    """The matrix of Pillow's `rotate`, about the image's middle, counter-clockwise."""
    angle = -math.radians(degrees)
    cosine, sine = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = width / 2, height / 2
    return cosine, sine, x - cosine * x - sine * y, -sine, cosine, y + sine * x - cosine * y


def _fixed(matrix: tuple[float, ...]) -> list[int]:
    """The matrix in parts of 1 / `FIXED`, for the middles of pixels."""
    a, b, c, d, e, f = matrix
    parts = (a, b, c + (a + b) / 2, d, e, f + (d + e) / 2)
    return [math.floor(part * FIXED + 0.5) for part in parts]


def _affine(images: Tensor, rows: Rows, fill: int) -> Tensor:
    """Each pixel is the nearest to where it comes from, or `fill` outside the image."""
    n, channels, height, width = images.shape
    a, b, c, d, e, f = rows.matrix[:, :, None, None].unbind(1)
    x = torch.arange(width, device=images.device)
    y = torch.arange(height, device=images.device)[:, None]
    column, row = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).view(n, 1, -1)
    moved = images.flatten(2).gather(2, place.expand(-1, channels, -1)).view_as(images)
    return moved.masked_fill(~inside[:, None], fill)


def _smooth_shear_y(images: Tensor, rows: Rows, fill: int) -> Tensor:
    """Shears columns by `value` pixels a pixel; between pixels a cubic through four is taken, cut to whole
    grey levels.
    """
    height, width = images.shape[-2:]
    x = torch.arange(width, device=images.device, dtype=torch.float64) + 0.5
    y = torch.arange(height, device=images.device, dtype=torch.float64)[:, None] + 0.5
    source = rows.value[:, None, None] * x + y
    inside = (source >= 0) & (source < height)
    below = (source - 0.5).floor()
    d = (source - 0.5 - below)[:, None]
    places = [(below.long() + k).clamp(0, height - 1)[:, None].expand_as(images) for k in (-1, 0, 1, 2)]
    v1, v2, v3, v4 = (images.gather(2, place).double() for place in places)
    cubic = v2 + d * ((v3 - v1) + d * ((2 * (v1 - v2) + v3 - v4) + d * (v2 - v1 - v3 + v4)))
    return cubic.clamp(0, WHITE).to(torch.uint8).masked_fill(~inside[:, None], fill)


def _blend(degenerate: Tensor, images: Tensor, rows: Rows) -> Tensor:
    """The image drawn towards (factor below 1) or away from (above 1) its degenerate form, (N, C, H, W)."""
    degenerate = degenerate.float()
    factor = rows.value.float()[:, None, None, None]
    return (degenerate + factor * (images - degenerate)).clamp(0, WHITE).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """Luma, (N, 1, H, W), int32, by Pillow's weights."""
    if images.shape[1] == 1:
        return images.int()
    red, green, blue = images.int().split(1, dim=1)
    return (red * 19595 + green * 38470 + blue * 7471 + FIXED // 2) >> 16


def _color(images: Tensor, rows: Rows, fill: int) -> Tensor:
    return _blend(_grey(images), images, rows)


def _contrast(images: Tensor, rows: Rows, fill: int) -> Tensor:
    grey = _grey(images)
    count = grey[0].numel()
    mean = (2 * grey.sum((1, 2, 3), dtype=torch.int64, keepdim=True) + count) // (2 * count)
    return _blend(mean, images, rows)


def _brightness(images: Tensor, rows: Rows, fill: int) -> Tensor:
    return _blend(torch.zeros_like(images), images, rows)


def _sharpness(images: Tensor, rows: Rows, fill: int) -> Tensor:
    """Blended with a mean of 3x3 pixels, the middle one five times as heavy; the border stays."""
    smooth = images.int()
    height, width = images.shape[-2:]
    if min(height, width) > 2:
        squares = [smooth[..., i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3)]
        total = torch.stack(squares).sum(0, dtype=torch.int32) + 4 * squares[4]
        smooth = smooth.clone()
        smooth[..., 1:-1, 1:-1] = (2 * total + 13) // 26
    return _blend(smooth, images, rows)


def _posterize(images: Tensor, rows: Rows, fill: int) -> Tensor:
    return images & rows.value.to(torch.uint8)[:, None, None, None]


def _solarize(images: Tensor, rows: Rows, fill: int) -> Tensor:
    return torch.where(images < rows.value[:, None, None, None], images, WHITE - images)


def _invert(images: Tensor, rows: Rows, fill: int) -> Tensor:
    return WHITE - images


def _auto_contrast(images: Tensor, rows: Rows, fill: int) -> Tensor:
    """Each channel's darkest level becomes black, its lightest white."""
    low, high = (level.double() for level in images.flatten(2).aminmax(dim=2, keepdim=True))
    span = (high - low).clamp(min=1)
    scale = torch.full_like(span, WHITE) / span  # `WHITE / span` would take the reciprocal first
    levels = torch.arange(256, device=images.device, dtype=torch.float64)
    stretched = (levels * scale + -low * scale).clamp(0, WHITE).to(torch.uint8)
    return _looked_up(images, torch.where(high > low, stretched, levels.to(torch.uint8)))


def _equalize(images: Tensor, rows: Rows, fill: int) -> Tensor:
    """Each channel's levels spread so that they become equally frequent."""
    pixels = images.flatten(2).int().sort(dim=2).values
    levels = torch.arange(256, device=images.device, dtype=torch.int32).expand(*pixels.shape[:2], -1)
    below = torch.searchsorted(pixels, levels.contiguous())
    step = below.gather(2, pixels[..., -1:].long()) // WHITE  # pixels below the lightest level
    spread = (step // 2 + below) // step.clamp(min=1)
    return _looked_up(images, torch.where(step > 0, spread.clamp(max=WHITE), levels).to(torch.uint8))


def _looked_up(images: Tensor, table: Tensor) -> Tensor:
    """The levels of each channel replaced by those of its table, (N, C, 256)."""
    return table.gather(2, images.flatten(2).long()).view_as(images)


TRANSFORMS: dict[str, Callable[[Tensor, Rows, int], Tensor]] = {
    "Affine": _affine,
    "SmoothShearY": _smooth_shear_y,
    "Color": _color,
    "Contrast": _contrast,
    "Brightness": _brightness,
    "Sharpness": _sharpness,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "Invert": _invert,
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
}
KINDS = ["Identity", *TRANSFORMS]
