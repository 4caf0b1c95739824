"""SVHN from small files in its own format."""

import hashlib

import numpy as np
import pytest
import torch
from scipy.io import savemat

from isda_bench.config.compose import compose_run
from isda_bench.data.svhn import SVHN
from isda_bench.errors import UserError
from isda_bench.runtime import torchvision_import  # noqa: F401

# isort: split
import torchvision


@pytest.fixture
def svhn(tmp_path, monkeypatch):
    """The folder with 40 training and 20 test images; the digit 0 is stored as 10, as published."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    published = torchvision.datasets.SVHN
    draws, pinned = np.random.default_rng(0), {}
    for part, count in (("train", 40), ("test", 20)):
        url, name, _ = published.split_list[part]
        labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
        images = draws.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        savemat(tmp_path / name, {"X": images, "y": labels})
        pinned[part] = [url, name, hashlib.md5((tmp_path / name).read_bytes()).hexdigest()]
    monkeypatch.setattr(published, "split_list", published.split_list | pinned)
    monkeypatch.setattr(SVHN, "train_images", 40)
    return tmp_path


def test_images_and_labels_are_those_of_the_files(svhn):
    theirs = torchvision.datasets.SVHN(str(svhn), split="train")
    train, test = SVHN(root=str(svhn)).read()
    assert np.array_equal(train.images, theirs.data) and train.images.shape == (40, 3, 32, 32)
    assert train.targets.tolist() == [(i + 1) % 10 for i in range(40)]
    assert (len(test.targets), test.targets.dtype) == (20, torch.int64)


def test_the_arrays_are_kept_and_give_the_fingerprint(svhn):
    loaded = SVHN(root=str(svhn), train_size=20).load()
    for file in svhn.glob("*.mat"):
        file.unlink()
    dataset = SVHN(root=str(svhn), train_size=20)
    assert dataset.fingerprint() == dataset.load().fingerprint == loaded.fingerprint


def test_damaged_and_missing_files_are_named(svhn):
    (svhn / "test_32x32.mat").write_bytes(b"x")
    (svhn / "train_32x32.mat").unlink()
    with pytest.raises(UserError) as raised:
        SVHN(root=str(svhn)).load()
    for part in ("no usable SVHN", "missing: train_32x32.mat", "damaged: test_32x32.mat", "stanford.edu"):
        assert part in str(raised.value)


def test_its_defaults_are_those_of_the_configuration():
    config = compose_run(["dataset=svhn", "model=wrn16_8"])
    assert config.run_id.startswith("svhn-wrn16_8-cross_entropy-s0-")
    assert config.settings.dataset["flip"] is False


@pytest.mark.data
def test_the_real_set(real_data):
    if not (real_data / "svhn.safetensors").exists() and not (real_data / "train_32x32.mat").exists():
        pytest.skip("no real SVHN there")
    data = SVHN(root=str(real_data), download=False).load()
    pixels = data.train.images.double()
    for ours, figure in ((SVHN.mean, pixels.mean((0, 2, 3))), (SVHN.std, pixels.std((0, 2, 3)))):
        assert torch.allclose(figure, torch.tensor(ours, dtype=torch.float64), atol=0.1)
