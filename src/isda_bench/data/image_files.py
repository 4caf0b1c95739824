"""Images that stay in their files: worker processes read, crop and resize them, a batch at a time."""

import isda_bench.runtime.torchvision_import  # noqa: F401  # isort: skip

import os
import sys
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import RandomResizedCrop

from isda_bench.data.base import ImageSet
from isda_bench.data.decoding import Decoding
from isda_bench.errors import UserError
from isda_bench.runtime import ranks

Batch = tuple[Tensor, Tensor, list[str]]
MOST_WORKERS = 16  # of the default number: beyond it the disk decides
READ_AT_ONCE = 64  # images that a process reads at a time into memory
NAMED = 10  # unreadable images that an error names
MOST_PIXELS = 2**24  # of a resized image, of 3 bytes each
THIN = 16  # longer over shorter side to which an image too thin to be resized is cropped
AREA, ASPECT = [0.08, 1.0], [3 / 4, 4 / 3]  # of the random crop, in parts of the image; width over height


def random_crop(image: Image.Image, size: int) -> Image.Image:
    """A crop of random area and aspect ratio, resized to `size` x `size` (Szegedy et al. 2015, section 6).

    Draws from torch's default generator, as torchvision does.
    """
    top, left, height, width = RandomResizedCrop.get_params(image, AREA, ASPECT)
    return image.crop((left, top, left + width, top + height)).resize((size, size), Image.Resampling.BILINEAR)


def centre_crop(image: Image.Image, size: int, resized: int) -> Image.Image:
    """The `size` x `size` pixels in the middle of the image, its shorter side resized to `resized`.

    An image so thin that it would be resized to more than `MOST_PIXELS` is cut to its middle before.
    """
    width, height = image.size
    shorter = min(width, height)
    if resized * resized * max(width, height) > MOST_PIXELS * shorter:
        image = _middle(image, THIN * shorter)
        width, height = image.size
    width, height = int(resized * width / shorter), int(resized * height / shorter)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))


def _middle(image: Image.Image, longest: int) -> Image.Image:
    """The middle of the image, no side longer than `longest`."""
    width, height = (min(side, longest) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


class Crop(NamedTuple):
    """How an image is cut to its size.

    Attributes:
        size: side of the result in pixels.
        resized: length to which an image's shorter side is resized before the centre is cut out.
        random: whether the crop is random instead.
    """

    size: int
    resized: int
    random: bool

    def __call__(self, image: Image.Image, seed: int) -> Image.Image:
        """The cut image; the same seed gives the same crop."""
        if not self.random:
            return centre_crop(image, self.size, self.resized)
        with _seeded(seed):
            return random_crop(image, self.size)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds the CPU's default generator, and restores it; `torch.manual_seed` takes far longer."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


class ReadImages(ImageSet):
    """Images that were read from files into memory."""

    left_out: Collection[str] = ()

    @property
    def unreadable(self) -> Collection[str]:
        """Those that could not be read."""
        return self.left_out


class ImageFiles:
    """Images in the files of a folder, and their classes.

    An image that cannot be read is skipped in its batch and reported, until there are too many of them. If
    that leaves one image, the batch holds it twice: BatchNorm cannot be trained on a single one.

    Args:
        root: the folder.
        paths: of the images below it, (N,), bytes: a plain array, which worker processes share.
        targets: classes (N,).
        crop: how an image is cut to its size.
        workers: processes that read; null: as many as there are cores, shared by the ranks of this machine.
        unreadable_limit: images that may be unreadable; null: none, for they are evaluated.
        decoding: how the pixels of a file become 8-bit RGB.

    Attributes:
        unreadable: name of each image that could not be read -> reason.
    """

    def __init__(
        self,
        root: Path,
        paths: np.ndarray,
        targets: np.ndarray,
        crop: Crop,
        workers: int | None,
        unreadable_limit: int | None,
        decoding: Decoding,
    ) -> None:
        self.root = root
        self.paths = paths
        self.labels = targets
        self.crop = crop
        self.workers = default_workers() if workers is None else workers
        self.unreadable_limit = unreadable_limit
        self.decoding = decoding
        self.unreadable: dict[str, str] = {}
        self.device = torch.device("cpu")
        self.queue: list[list[tuple[int, int]]] = []
        self.reader: DataLoader[Batch] | None = None

    @property
    def random(self) -> bool:
        """Whether the crop is drawn."""
        return self.crop.random

    @property
    def targets(self) -> Tensor:
        """Classes (N,), int64."""
        return torch.from_numpy(self.labels)

    def to(self, device: torch.device) -> "ImageFiles":
        """The same images, for batches on `device`."""
        self.device = device
        return self

    def batches(self, indices: Sequence[Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """As `Images.batches`; the images are (n, 3, size, size), n less what cannot be read.

        Raises:
            UserError: too many images cannot be read, or none of a batch can.
        """
        for images, targets in self._decoded(indices, seed):
            if not len(targets):
                raise UserError(f"dataset.root={self.root}: no image of a batch can be read: {self._names()}")
            yield (
                images.to(self.device, non_blocking=True).permute(0, 3, 1, 2),
                targets.to(self.device, non_blocking=True),
            )

    def read(self) -> "ReadImages":
        """The images in memory, less those that cannot be read.

        Raises:
            UserError: too many images cannot be read.
        """
        everything = torch.arange(len(self.labels)).split(READ_AT_ONCE)
        images = torch.empty(len(self.labels), 3, self.crop.size, self.crop.size, dtype=torch.uint8)
        targets = torch.empty(len(self.labels), dtype=torch.int64)
        read = 0
        for pixels, labels in self._decoded(everything, seed=0):
            images[read : read + len(labels)] = pixels.permute(0, 3, 1, 2)
            targets[read : read + len(labels)] = labels
            read += len(labels)
        self.reader = None  # its processes end
        kept = ReadImages(images[:read], targets[:read])
        kept.left_out = self.unreadable
        return kept

    def _decoded(self, indices: Sequence[Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (n, size, size, 3) and classes of each batch, less what cannot be read."""
        if self.reader is None:
            self.reader = self._reader()
        self.queue[:] = [[(index, seed) for index in batch.tolist()] for batch in indices]
        for chosen, (images, targets, unreadable) in zip(indices, self.reader, strict=True):
            self._note(unreadable)
            twice = 2 if len(targets) == 1 < len(chosen) else 1
            yield images.repeat(twice, 1, 1, 1), targets.repeat(twice)

    def _reader(self) -> DataLoader[Batch]:
        """Reads `queue`; its workers stay from one epoch to the next."""
        return DataLoader(
            self._decoder(),  # type: ignore[arg-type]
            batch_sampler=self.queue,  # of pairs (index, seed)
            num_workers=self.workers,
            collate_fn=_as_it_is,  # type: ignore[arg-type]  # the decoder makes whole batches
            pin_memory=self.device.type == "cuda",
            persistent_workers=self.workers > 0,
            worker_init_fn=_quieten,
            generator=torch.Generator(),  # else it would draw from the run's own
        )

    def _decoder(self) -> "_Decoder":
        return _Decoder(os.fsencode(self.root), self.paths, self.labels, self.crop, self.decoding)

    def _note(self, unreadable: list[str]) -> None:
        for line in unreadable:
            name, _, reason = line.partition("\0")
            if name in self.unreadable:
                continue
            self.unreadable[name] = reason
            if self.unreadable_limit is None:
                raise UserError(
                    f"dataset.root: {self.root / name}: cannot be read ({reason}); images that are evaluated "
                    f"are never left out"
                )
            if len(self.unreadable) > self.unreadable_limit:
                raise UserError(
                    f"dataset.root={self.root}: {len(self.unreadable)} images cannot be read, "
                    f"dataset.unreadable_limit={self.unreadable_limit}: {self._names()}"
                )
            print(f"dataset: {self.root / name}: cannot be read ({reason}); left out", file=sys.stderr)

    def _names(self) -> str:
        named = list(self.unreadable)[-NAMED:]
        return ", ".join(named) + (" and others" if len(self.unreadable) > NAMED else "")


class _Decoder:
    """A worker's task: reads the images of a batch into one array."""

    def __init__(
        self, root: bytes, paths: np.ndarray, targets: np.ndarray, crop: Crop, decoding: Decoding
    ) -> None:
        self.root = root
        self.paths = paths
        self.targets = targets
        self.crop = crop
        self.size = crop.size
        self.decoding = decoding

    def __getitems__(self, keys: list[tuple[int, int]]) -> Batch:
        """Images (n, size, size, 3), uint8, their classes, and a line for each that cannot be read."""
        images = torch.empty(len(keys), self.size, self.size, 3, dtype=torch.uint8)
        pixels = images.numpy()
        read: list[int] = []
        unreadable: list[str] = []
        for index, seed in keys:
            try:
                pixels[len(read)] = self._decode(index, seed)
            except Exception as error:  # of any class: the file may hold anything
                said = getattr(error, "strerror", None) or str(error) or type(error).__name__
                reason = " ".join(said.split())
                unreadable.append(f"{os.fsdecode(self.paths[index])}\0{reason}")
            else:
                read.append(index)
        return images[: len(read)], torch.from_numpy(self.targets[read]), unreadable

    def _decode(self, index: int, seed: int) -> np.ndarray:
        path = os.fsdecode(os.path.join(self.root, self.paths[index]))  # noqa: PTH118
        return np.asarray(self.crop(self.decoding.read(path), (seed + index) % 2**63))


def default_workers() -> int:
    """Processes that read: the cores of this machine, shared by its ranks."""
    return max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0)) // ranks.local_processes()))


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _quieten(worker: int) -> None:
    """Silences warnings about odd metadata of photographs."""
    warnings.filterwarnings("ignore", module="PIL")
