"""Lists the images of a folder, one sub-folder a class."""

import hashlib
import os
import stat
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isda_bench.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Of images, in small or capital letters; the same that torchvision takes."""
NAMED = 5  # things that a message names


class ImageList(NamedTuple):
    """The images below a folder.

    Attributes:
        root: the folder.
        classes: names of its sub-folders, sorted.
        paths: of the images below `root`, (N,), bytes: a plain array, which worker processes share. They are
            sorted by folder, then by name.
        targets: number of each image's class, (N,), int64.
        sizes: of each file in bytes, (N,), int64; -1 for a link that leads to no file.
    """

    root: Path
    classes: list[str]
    paths: np.ndarray
    targets: np.ndarray
    sizes: np.ndarray

    @property
    def unreadable(self) -> list[str]:
        """Images that cannot be read, as far as their sizes show: empty files and links that lead to none."""
        return [os.fsdecode(path) for path in self.paths[self.sizes <= 0]]

    def take(self, indices: np.ndarray) -> "ImageList":
        """The images with these indices."""
        chosen = (part[indices] for part in (self.paths, self.targets, self.sizes))
        return ImageList(self.root, self.classes, *chosen)


class _File(NamedTuple):
    folder: bytes
    name: bytes
    target: int
    size: int


def list_images(root: Path) -> ImageList:
    """Lists the images; none is opened.

    Not listed are hidden files and folders (.DS_Store, ._x.png, .ipynb_checkpoints), files whose name does
    not end as an image's, and special files (FIFO, device, socket): one line on stderr counts the last two
    kinds. Links are followed, but not to a folder that contains the link; a folder is entered once for each
    class.

    Raises:
        UserError: there is no such folder, no class in it, a class has no image, or a folder cannot be read.
    """
    top = os.fsencode(root)
    ignored: Counter[str] = Counter()
    names = [os.fsencode(name) for name in classes_of(root)]
    try:
        found = [_files_of(top, name, target, ignored) for target, name in enumerate(names)]
    except OSError as error:
        raise UserError(f"dataset.root: {root}: cannot be read: {error.strerror or error}") from error
    if ignored:
        named = ", ".join(f"{count} {kind}" for kind, count in ignored.most_common(NAMED))
        print(f"dataset.root: {root}: not listed as images: {named}", file=sys.stderr)
    _check_classes(root, names, found)
    files = [file for of_class in found for file in of_class]
    return ImageList(
        root,
        [os.fsdecode(name) for name in names],
        np.array([os.path.join(file.folder, file.name) for file in files]),  # noqa: PTH118
        np.array([file.target for file in files], dtype=np.int64),
        np.array([file.size for file in files], dtype=np.int64),
    )


def classes_of(root: Path) -> list[str]:
    """Names of the sub-folders of a folder, sorted; hidden ones are ignored.

    Raises:
        UserError: there is no such folder, it cannot be read, or there is no class in it.
    """
    top = os.fsencode(root)
    try:
        entries = [entry for entry in os.scandir(top) if _is_folder(entry) and not _leads_up(entry, top)]
    except FileNotFoundError as error:
        raise UserError(
            f"dataset.root: there is no folder {root}; it should hold a sub-folder of images for each class"
        ) from error
    except OSError as error:
        raise UserError(f"dataset.root: {root}: cannot be read: {error.strerror or error}") from error
    if not entries:
        raise UserError(f"dataset.root: {root} has no class: it should hold a sub-folder for each")
    return sorted(os.fsdecode(entry.name) for entry in entries)


def checksum_of_files(**parts: ImageList) -> str:
    """SHA-256 of the paths and sizes of the images in folders, each named by its keyword."""
    digest = hashlib.sha256()
    for part, images in parts.items():
        for path, size in sorted(zip(images.paths.tolist(), images.sizes.tolist(), strict=True)):
            name = path.replace(os.sep.encode(), b"/")
            digest.update(b"%s/%s\0%d\0" % (part.encode(), name, size))
    return digest.hexdigest()


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    """Whether it is a folder, or a link to one, that is not hidden."""
    try:
        return not entry.name.startswith(b".") and entry.is_dir()
    except OSError:  # links in a circle
        return False


def _leads_up(entry: os.DirEntry[bytes], folder: bytes) -> bool:
    """Whether an entry of a folder is a link to the folder itself or one that contains it."""
    if not entry.is_symlink():
        return False
    inside, target = os.path.realpath(folder), os.path.realpath(entry.path)
    return os.path.commonpath([inside, target]) == target


def _files_of(top: bytes, name: bytes, target: int, ignored: Counter[str]) -> list[_File]:
    """The images of a class, in torchvision's order; `ignored` counts the others."""
    files: list[_File] = []
    entered: set[tuple[int, int]] = set()
    folders = [name]
    while folders:
        folder = folders.pop()
        path = os.path.join(top, folder)  # noqa: PTH118
        state = os.stat(path)  # noqa: PTH116
        if (state.st_dev, state.st_ino) in entered:
            continue
        entered.add((state.st_dev, state.st_ino))
        below = []
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            if _is_folder(entry) and not _leads_up(entry, path):
                below.append(entry)
            elif not entry.name.startswith(b"."):
                files += _file(folder, entry, target, ignored)
        # the last comes first: real folders before links to them, each kind by its names
        below.sort(key=lambda entry: (entry.is_symlink(), entry.name), reverse=True)
        folders += [os.path.join(folder, entry.name) for entry in below]  # noqa: PTH118
    return sorted(files)


def _file(folder: bytes, entry: os.DirEntry[bytes], target: int, ignored: Counter[str]) -> list[_File]:
    extension = os.path.splitext(os.fsdecode(entry.name))[1].lower()  # noqa: PTH122
    if extension not in EXTENSIONS:
        ignored[f"*{extension}" if extension else "without extension"] += 1
        return []
    try:
        state = entry.stat()
    except OSError:
        return [_File(folder, entry.name, target, -1)]
    if not stat.S_ISREG(state.st_mode):
        ignored["neither file nor folder"] += 1
        return []
    return [_File(folder, entry.name, target, state.st_size)]


def _check_classes(root: Path, names: list[bytes], found: list[list[_File]]) -> None:
    empty = [os.fsdecode(name) for name, files in zip(names, found, strict=True) if not files]
    if empty:
        more = f" and {len(empty) - NAMED} more" if len(empty) > NAMED else ""
        raise UserError(
            f"dataset.root: {root}: no image in the classes {', '.join(empty[:NAMED])}{more}; images end in "
            f"{', '.join(EXTENSIONS)}"
        )
