"""Data sets that are downloaded once and kept as arrays."""

import copy
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from filelock import FileLock
from pydantic import Field, NonNegativeInt, PositiveInt
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from isda_bench.arguments import checked
from isda_bench.data.base import DataFingerprint, DataSet, ImageSet, checksum_of
from isda_bench.data.splits import checksum_of_indices
from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import remove_leftovers, write_atomically

DOWNLOAD_TIMEOUT = 30  # seconds without an answer
ARRAYS = ("train_images", "train_targets", "test_images", "test_targets")


class PublishedFiles(NamedTuple):
    """The files of a data set as its authors publish them."""

    folder: Path
    """Where they lie."""
    checksums: dict[str, str]
    """Name below the folder -> MD5."""
    url: str
    """Where they are downloaded from."""
    by_hand: str
    """Name of the file that a user without a network can put into the root."""


class DownloadedDataSet(DataSet):
    """A data set whose published files are downloaded and checked, and whose arrays are kept beside them.

    A subclass writes `published_files` and `read_published`; this class holds a lock, so that two processes
    do not download at once, keeps the arrays in <root>/<class name>.safetensors, makes them again where they
    are damaged, and reports places and remedies where the data are missing.

    Args:
        root: folder with the published files, or to download them to; relative to the working directory.
        download: whether to download missing files.
        train_size, val_size, split_seed, padding, flip, imbalance, resample: as in `DataSet`.
    """

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
        imbalance: float | None = None,
        resample: bool = False,
    ) -> None:
        super().__init__(train_size, val_size, split_seed, padding, flip, imbalance, resample)
        self.root = Path(root).expanduser()
        self.download = download

    def published_files(self) -> PublishedFiles:
        """The expected files, for the error message."""
        raise NotImplementedError

    def read_published(self) -> tuple[ImageSet, ImageSet]:
        """The training and the test set from the published files, downloaded first if `download` allows it.

        Raises:
            OSError, RuntimeError: the files are missing or damaged, and cannot be downloaded.
        """
        raise NotImplementedError

    @property
    def arrays(self) -> Path:
        """The file of the kept arrays."""
        return self.root / f"{type(self).__name__.lower()}.safetensors"

    def read(self) -> tuple[ImageSet, ImageSet]:
        """Both sets, from the kept arrays or from the published files.

        Raises:
            UserError: the files are missing or damaged and cannot be downloaded, or `root` cannot be written.
        """
        kept = self._read_arrays()
        if kept is not None:
            return kept
        with self._writable_root():
            sets = self._read_or_download()
            self._keep(sets)
        return sets

    def fingerprint(self) -> DataFingerprint | None:
        """The fingerprint of the data that `load` would give; None without data. Downloads nothing.

        Of the kept arrays the checksum beside them and the labels are read, not the images. Where only the
        published files are there, the arrays are made from them.
        """
        kept = self._read_labels()
        if kept is not None:
            checksum, targets = kept
            return DataFingerprint(checksum, checksum_of_indices(*self.split(targets.numpy())))
        if not self.root.is_dir():
            return None
        offline = copy.copy(self)
        offline.download = False
        try:
            return offline.load().fingerprint
        except UserError:
            return None

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

    def _read_arrays(self) -> tuple[ImageSet, ImageSet] | None:
        """The kept arrays; None where they are missing or damaged."""
        if not self.arrays.exists():
            return None
        try:
            with safe_open(self.arrays, "pt") as file:
                metadata = file.metadata() or {}
                parts = [file.get_tensor(name).clone() for name in ARRAYS]
            train, test = ImageSet(*parts[:2]), ImageSet(*parts[2:])
            if metadata.get("sha256") == checksum_of(train, test):
                return train, test
        except (OSError, SafetensorError):
            pass
        print(
            f"dataset.root: {self.arrays} is damaged; made again from the published files",
            file=sys.stderr,
        )
        return None

    def _read_labels(self) -> tuple[str, torch.Tensor] | None:
        """The checksum beside the kept arrays and the training images' classes; None without arrays."""
        try:
            with safe_open(self.arrays, "pt") as file:
                return (file.metadata() or {})["sha256"], file.get_tensor("train_targets").clone()
        except (OSError, SafetensorError, KeyError):
            return None

    def _keep(self, sets: tuple[ImageSet, ImageSet]) -> None:
        remove_leftovers(self.root)
        arrays = dict(zip(ARRAYS, (array for part in sets for array in part), strict=True))
        write_atomically(self.arrays, save(arrays, {"sha256": checksum_of(*sets)}))

    def _read_or_download(self) -> tuple[ImageSet, ImageSet]:
        timeout = socket.getdefaulttimeout()
        try:
            socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
            return self.read_published()
        except (OSError, RuntimeError) as error:
            raise UserError(self._explain(error)) from error
        finally:
            socket.setdefaulttimeout(timeout)

    def _explain(self, error: Exception) -> str:
        files = self.published_files()
        tried = f"downloading {files.url} failed ({error})" if self.download else "dataset.download=false"
        return (
            f"dataset.root={self.root}: no usable {type(self).__name__} there.\n"
            f"  looked in: {files.folder.absolute()}: {_state_of_files(files)}\n"
            f"  tried:     {tried}\n"
            f"  way on:    put {files.by_hand} into {self.root.absolute()}, set dataset.root, "
            f"or use the embedded data set: dataset=digits"
        )


def _remove_if_empty(folder: Path, lock: Path) -> None:
    with suppress(OSError):
        if list(folder.iterdir()) == [lock]:
            lock.unlink()
            folder.rmdir()


def _state_of_files(files: PublishedFiles) -> str:
    from torchvision.datasets.utils import check_integrity

    missing = [name for name in files.checksums if not (files.folder / name).is_file()]
    damaged = [
        name
        for name, md5 in files.checksums.items()
        if name not in missing and not check_integrity(files.folder / name, md5)
    ]
    parts = [
        f"{what}: {', '.join(names)}" for what, names in (("missing", missing), ("damaged", damaged)) if names
    ]
    return "; ".join(parts) or "all files right"
