"""CIFAR-10 and CIFAR-100: downloaded and checked by torchvision, kept afterwards as arrays."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import torch
from filelock import FileLock
from pydantic import Field, NonNegativeInt, PositiveInt
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from isda_bench.arguments import checked
from isda_bench.data.base import DataSet, ImageSet, checksum_of
from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import remove_leftovers, write_atomically

DOWNLOAD_TIMEOUT = 30  # seconds without an answer


class CIFAR10(DataSet):
    """50,000 training and 10,000 test images of 3x32x32 in ten classes (Krizhevsky 2009).

    Args:
        root: folder with torchvision's `cifar-10-batches-py`, or to download it to; relative to the working
            directory. The arrays are kept beside it and read from then on.
        download: whether to download what is missing.
        train_size, val_size, split_seed, padding, flip: as in `DataSet`.
    """

    torchvision_class = "CIFAR10"
    num_classes = 10
    in_channels = 3
    image_size = 32
    train_images = 50_000
    mean = (125.3, 123.0, 113.9)
    std = (63.0, 62.1, 66.7)

    @checked
    def __init__(
        self,
        root: Annotated[str, Field(min_length=1)] = "data",
        download: bool = True,
        train_size: PositiveInt | None = None,
        val_size: NonNegativeInt = 0,
        split_seed: NonNegativeInt = 0,
        padding: NonNegativeInt = 4,
        flip: bool = True,
    ) -> None:
        super().__init__(train_size, val_size, split_seed, padding, flip)
        self.root = Path(root).expanduser()
        self.download = download

    def read(self) -> tuple[ImageSet, ImageSet]:
        """Both sets, from the kept arrays or from the published files.

        Raises:
            UserError: the files are missing or damaged and cannot be downloaded, or `root` cannot be written.
        """
        arrays = self.root / f"{self.torchvision_class.lower()}.safetensors"
        kept = self._read_arrays(arrays)
        if kept is not None:
            return kept
        with self._writable_root():
            sets = self._read_published()
            self._keep(arrays, sets)
        return sets

    @contextmanager
    def _writable_root(self) -> Iterator[None]:
        """Makes `root` and holds its lock, so that two processes do not download into it at once.

        A folder made in vain is removed again.
        """
        made = not self.root.exists()
        lock = FileLock(self.root / ".isda_bench.lock")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except FileExistsError as error:
            raise UserError(f"dataset.root={self.root}: is not a folder") from error
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"dataset.root={self.root}: cannot be written: {reason}") from error
        try:
            yield
        except UserError:
            if made:
                _remove_if_empty(self.root, Path(lock.lock_file))
            raise
        finally:
            lock.release()

    def _read_arrays(self, path: Path) -> tuple[ImageSet, ImageSet] | None:
        """The kept arrays; None where there are none, or none that are whole."""
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                parts = [file.get_tensor(name).clone() for name in _ARRAYS]
            train, test = ImageSet(*parts[:2]), ImageSet(*parts[2:])
            if metadata.get("sha256") == checksum_of(train, test):
                return train, test
        except (OSError, SafetensorError):
            pass
        print(
            f"dataset.root: {path} is damaged; made again from the published files",
            file=sys.stderr,
        )
        return None

    def _keep(self, path: Path, sets: tuple[ImageSet, ImageSet]) -> None:
        remove_leftovers(self.root)
        arrays = dict(zip(_ARRAYS, (array for part in sets for array in part), strict=True))
        write_atomically(path, save(arrays, {"sha256": checksum_of(*sets)}))

    def _read_published(self) -> tuple[ImageSet, ImageSet]:
        source = _torchvision_datasets()
        build = getattr(source, self.torchvision_class)
        timeout = socket.getdefaulttimeout()
        try:
            socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
            train, test = (build(str(self.root), train=t, download=self.download) for t in (True, False))
        except (OSError, RuntimeError) as error:
            raise UserError(self._explain(error)) from error
        finally:
            socket.setdefaulttimeout(timeout)
        return _as_set(train), _as_set(test)

    def _explain(self, error: Exception) -> str:
        published = getattr(_torchvision_datasets(), self.torchvision_class)
        folder = self.root / published.base_folder
        state = _state_of_files(folder, published.train_list + published.test_list)
        tried = f"downloading {published.url} failed ({error})" if self.download else "dataset.download=false"
        return (
            f"dataset.root={self.root}: no usable {self.torchvision_class} there.\n"
            f"  looked in: {folder.absolute()}: {state}\n"
            f"  tried:     {tried}\n"
            f"  way on:    put {published.filename} into {self.root.absolute()}, set dataset.root, "
            f"or use the embedded data set: dataset=digits"
        )


class CIFAR100(CIFAR10):
    """The same in a hundred classes, normalised as the reference code does, by CIFAR-10's figures.

    Arguments as in `CIFAR10`.
    """

    torchvision_class = "CIFAR100"
    num_classes = 100


_ARRAYS = ("train_images", "train_targets", "test_images", "test_targets")


def _torchvision_datasets() -> Any:
    """Imported only where the published files are read: torchvision takes a second."""
    from isda_bench.runtime import torchvision_import as torchvision_import

    # isort: split
    from torchvision import datasets

    return datasets


def _remove_if_empty(folder: Path, lock: Path) -> None:
    with suppress(OSError):
        if list(folder.iterdir()) == [lock]:
            lock.unlink()
            folder.rmdir()


def _as_set(published: Any) -> ImageSet:
    images = torch.from_numpy(published.data).permute(0, 3, 1, 2).contiguous()
    return ImageSet(images, torch.tensor(published.targets))


def _state_of_files(folder: Path, files: list[list[str]]) -> str:
    from torchvision.datasets.utils import check_integrity

    missing = [name for name, _ in files if not (folder / name).is_file()]
    damaged = [name for name, md5 in files if name not in missing and not check_integrity(folder / name, md5)]
    parts = [
        f"{what}: {', '.join(names)}" for what, names in (("missing", missing), ("damaged", damaged)) if names
    ]
    return "; ".join(parts) or "all files right"
