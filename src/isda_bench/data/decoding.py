"""Image files of any kind as 8-bit RGB."""

import os
import stat
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""Of the files that are opened, whatever their names say; others (EPS among them) would start programs."""
SIXTEEN_BITS = 65535
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what undoes it."""
Conversion = Literal["pillow", "viewer"]


class Decoding(NamedTuple):
    """How the pixels of a file become 8-bit RGB.

    Attributes:
        conversion: `viewer` shows an image as a viewer does: levels of 16 bits are scaled to 8, transparent
            images lie on white; floats and 32-bit integers, whose range is unknown, and images above
            Pillow's limit (89 million pixels) are refused. `pillow` is the older function, Pillow's
            `convert("RGB")`: it clips high levels and makes transparent pixels opaque.
        exif: whether a photograph is turned as its EXIF orientation says. torchvision, timm and the published
            protocols of ImageNet ignore the orientation.
    """

    conversion: Conversion = "pillow"
    exif: bool = False

    def read(self, path: Path | str) -> Image.Image:
        """The image in `path`, its first one where it holds several, in mode RGB.

        Raises:
            OSError, ValueError, ...: it cannot be read. Files may hold anything, and what Pillow raises for
                them has no common class.
        """
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a FIFO would wait for ever
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("is no regular file")
            try:
                image = Image.open(file, formats=FORMATS)
            except Image.UnidentifiedImageError as error:
                raise OSError(f"is not one of {', '.join(FORMATS)}") from error
            with image:
                return self.convert(image)

    def convert(self, image: Image.Image) -> Image.Image:
        """The image in mode RGB, its pixels loaded."""
        if self.conversion == "pillow":
            converted = _opaque(image)
        else:
            limit = Image.MAX_IMAGE_PIXELS
            if limit and image.width * image.height > limit:
                raise ValueError(f"{image.width}x{image.height}: more than {limit:,} pixels")
            converted = as_viewed(image)
        return _turned(converted, image) if self.exif else converted


def image_of(path: Path, channels: int, side: int) -> Tensor:
    """An image file as a viewer shows it, resized to a square: (channels, side, side), uint8.

    Args:
        path: the file.
        channels: 1 for grey, 3 for red, green and blue.
        side: in pixels; an image of this size keeps its pixels.

    Raises:
        OSError, ValueError, ...: it cannot be read (see `Decoding.read`).
    """
    image = Decoding("viewer", exif=True).read(path)
    if channels == 1:
        image = image.convert("L")
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if channels == 1 else pixels.permute(2, 0, 1)


def as_viewed(image: Image.Image) -> Image.Image:
    """The image in mode RGB, as a viewer shows it on white.

    Raises:
        ValueError: its levels are floats or 32-bit integers.
    """
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise ValueError(f"levels of {'32-bit integers' if image.mode == 'I' else 'floats'}: unknown range")
    if image.mode.startswith("I"):  # Pillow reads 16-bit PNG and PGM as I, too
        return _scaled(image)
    if image.has_transparency_data:
        return _on_white(image)
    return _opaque(image)


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode != "RGB":
        return image.convert("RGB")
    image.load()  # what has the right mode need not be copied
    return image


def _scaled(image: Image.Image) -> Image.Image:
    """An image of 16-bit grey levels; one level may be declared transparent."""
    levels = np.asarray(image).astype(np.int64)
    grey = (levels * 255 + SIXTEEN_BITS // 2) // SIXTEEN_BITS
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey = np.where(levels == transparent, 255, grey)
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    layers = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(layers, mask=layers.getchannel("A"))
    return white


def _turned(converted: Image.Image, image: Image.Image) -> Image.Image:
    """The image turned as the file's EXIF orientation says; Pillow turns a TIFF itself when it loads it."""
    method = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return converted if method is None else converted.transpose(method)
