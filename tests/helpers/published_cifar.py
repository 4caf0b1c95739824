"""CIFAR of few images, in the format of the published files."""

import hashlib
import pickle
from pathlib import Path

import numpy as np

from isda_bench.data.cifar import CIFAR10

# isort: split
import torchvision


class Published:
    """CIFAR-10 or CIFAR-100 with few images, below `root`, in the format of the published files.

    Args:
        ours: CIFAR10 or CIFAR100.
        root: the data folder.
        monkeypatch: anything with its `setattr`.
        images: in a batch file.
    """

    def __init__(self, ours, root: Path, monkeypatch, images: int = 100) -> None:
        self.ours = ours
        self.root = root
        self.source = getattr(torchvision.datasets, ours.torchvision_class)
        self.folder = root / self.source.base_folder
        self.key = "labels" if ours is CIFAR10 else "fine_labels"
        self.classes = ours.num_classes
        self.monkeypatch = monkeypatch
        self.folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        self.batches = {
            name: {
                "data": rng.integers(0, 256, (images, 3072), dtype=np.uint8),
                self.key: rng.permutation(np.arange(images) % self.classes).tolist(),
            }
            for name, _ in [*self.source.train_list, *self.source.test_list]
        }
        for name, batch in self.batches.items():
            self.write(name, batch)
        meta = self.source.meta["filename"]
        self.write(meta, {self.source.meta["key"]: [str(c) for c in range(self.classes)]})
        self.pin()
        monkeypatch.setattr(ours, "train_images", images * len(self.source.train_list))

    def write(self, name, content):
        (self.folder / name).write_bytes(pickle.dumps(content))

    def md5(self, name):
        return hashlib.md5((self.folder / name).read_bytes()).hexdigest()

    def pin(self):
        """Makes torchvision hold these files for the published ones."""
        for files in ("train_list", "test_list"):
            pinned = [[name, self.md5(name)] for name, _ in getattr(self.source, files)]
            self.monkeypatch.setattr(self.source, files, pinned)
        meta = self.source.meta | {"md5": self.md5(self.source.meta["filename"])}
        self.monkeypatch.setattr(self.source, "meta", meta)

    def stacked(self, files):
        names = [name for name, _ in getattr(self.source, files)]
        images = np.concatenate([self.batches[name]["data"] for name in names]).reshape(-1, 3, 32, 32)
        return images, [label for name in names for label in self.batches[name][self.key]]
