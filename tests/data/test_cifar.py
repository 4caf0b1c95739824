"""CIFAR from small files in its own format: right, kept, damaged, hostile; the real sets where they are."""

import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.published_cifar import Published
from isda_bench.data.cifar import CIFAR10, CIFAR100
from isda_bench.errors import UserError


@pytest.fixture(params=[CIFAR10, CIFAR100], ids=lambda ours: ours.__name__)
def published(request, tmp_path, monkeypatch):
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    files = Published(request.param, tmp_path / "data", monkeypatch)
    return files


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return Published(CIFAR10, tmp_path / "data", monkeypatch)


def kept(files) -> os.PathLike:
    return files.root / "cifar10.safetensors"


def test_images_and_labels_are_those_of_the_files(published):
    train, test = published.ours(root=str(published.root)).read()
    for given, files in ((train, "train_list"), (test, "test_list")):
        images, labels = published.stacked(files)
        assert given.images.shape == (len(labels), 3, 32, 32)
        assert (given.images.dtype, given.targets.dtype) == (torch.uint8, torch.int64)
        assert given.images.is_contiguous()
        assert np.array_equal(given.images.numpy(), images)
        assert given.targets.tolist() == labels


def test_the_kept_arrays_serve_the_second_time_without_the_files(published, monkeypatch):
    dataset = published.ours(root=str(published.root))
    first = dataset.load()
    for path in published.folder.iterdir():
        path.unlink()
    monkeypatch.setattr(published.source, "__init__", lambda *_, **__: pytest.fail("torchvision asked"))
    second = dataset.load()
    assert first.checksum == second.checksum
    for a, b in zip((*first.train, *first.evaluation), (*second.train, *second.evaluation), strict=True):
        assert torch.equal(a, b)


def test_kept_arrays_can_be_read_by_others_and_nothing_else_is_left(cifar10):
    CIFAR10(root=str(cifar10.root)).read()
    assert {path.name for path in cifar10.root.iterdir()} == {
        "cifar10.safetensors",
        "cifar-10-batches-py",
        ".isda_bench.lock",
    }
    umask = os.umask(0)
    os.umask(umask)
    assert kept(cifar10).stat().st_mode & 0o777 == 0o666 & ~umask


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path):
    path.write_bytes(b"")


def drop_an_array(path):
    arrays = load_file(path)
    del arrays["test_targets"]
    save_file(arrays, path)


def drop_the_checksum(path):
    save_file(load_file(path), path)


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, empty, drop_an_array, drop_the_checksum])
def test_damaged_kept_arrays_are_made_again_saying_so(cifar10, damage, capsys):
    dataset = CIFAR10(root=str(cifar10.root))
    first = dataset.load()
    good = kept(cifar10).read_bytes()
    damage(kept(cifar10))
    assert dataset.load().checksum == first.checksum
    message = capsys.readouterr().err
    assert "cifar10.safetensors is damaged; made again" in message
    assert kept(cifar10).read_bytes() == good
    dataset.load()
    assert capsys.readouterr().err == ""


class Hostile:
    def __reduce__(self):
        return os.system, ("echo executed > executed",)


def replace_by_hostile(path):
    path.write_bytes(pickle.dumps(Hostile()))


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, empty, replace_by_hostile])
@pytest.mark.parametrize("download", [True, False])
@pytest.mark.parametrize("name", ["data_batch_3", "test_batch"])
def test_altered_files_are_refused_with_one_error_and_never_executed(
    cifar10, damage, download, name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    damage(cifar10.folder / name)
    with pytest.raises(UserError) as raised:
        CIFAR10(root=str(cifar10.root), download=download).read()
    message = str(raised.value)
    assert f"damaged: {name}" in message
    assert "missing" not in message
    assert ("dataset.download=false" in message) is not download
    assert not kept(cifar10).exists()
    assert not (tmp_path / "executed").exists()


def test_a_hostile_pickle_in_place_of_the_kept_arrays_is_not_executed(cifar10, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    replace_by_hostile(kept(cifar10))
    CIFAR10(root=str(cifar10.root)).read()
    assert not (tmp_path / "executed").exists()


def test_the_fingerprint_reads_no_image_of_kept_arrays(published, monkeypatch):
    dataset = published.ours(root=str(published.root), train_size=40)
    loaded = dataset.load()
    monkeypatch.setattr(published.ours, "read", lambda self: pytest.fail("was read"))
    assert dataset.fingerprint() == loaded.fingerprint
    other = published.ours(root=str(published.root), train_size=60).fingerprint()
    assert other.data == loaded.checksum and other.indices != loaded.indices


def test_the_fingerprint_of_published_files_is_that_of_the_arrays_made_of_them(cifar10):
    given = CIFAR10(root=str(cifar10.root)).fingerprint()
    assert given == CIFAR10(root=str(cifar10.root)).load().fingerprint


def test_the_fingerprint_downloads_nothing(cifar10, monkeypatch, tmp_path):
    monkeypatch.setattr("torchvision.datasets.utils.urllib.request.urlopen", lambda *_: pytest.fail("asked"))
    assert CIFAR10(root=str(tmp_path / "none")).fingerprint() is None
    assert not (tmp_path / "none").exists()
    (cifar10.folder / "data_batch_2").unlink()
    assert CIFAR10(root=str(cifar10.root)).fingerprint() is None


def test_missing_files_are_named(cifar10):
    (cifar10.folder / "data_batch_2").unlink()
    with pytest.raises(UserError, match="missing: data_batch_2"):
        CIFAR10(root=str(cifar10.root)).read()


@pytest.mark.parametrize("download", [True, False])
def test_offline_one_error_names_the_attempts_the_place_and_the_remedy(cifar10, tmp_path, download):
    root = tmp_path / "nowhere"
    with pytest.raises(UserError) as raised:
        CIFAR10(root=str(root), download=download).load()
    message = str(raised.value)
    for part in (
        f"dataset.root={root}: no usable CIFAR10 there",
        f"looked in: {root / 'cifar-10-batches-py'}: missing: data_batch_1, data_batch_2",
        "https://www.cs.toronto.edu" if download else "dataset.download=false",
        f"put cifar-10-python.tar.gz into {root}",
        "dataset=digits",
    ):
        assert part in message
    assert not root.exists()


def test_labels_outside_the_classes_are_refused(cifar10):
    cifar10.batches["test_batch"]["labels"][7] = 10
    cifar10.write("test_batch", cifar10.batches["test_batch"])
    cifar10.pin()
    with pytest.raises(UserError, match=r"labels from 0 to 10, should lie in 0\.\.9"):
        CIFAR10(root=str(cifar10.root)).load()


def test_splits(cifar10):
    root = str(cifar10.root)
    data = CIFAR10(root=root, train_size=100, val_size=50).load()
    assert data.split == "validation"
    assert data.train.targets.bincount().tolist() == [10] * 10
    assert data.evaluation.targets.bincount().tolist() == [5] * 10
    smaller = CIFAR10(root=root, train_size=50, val_size=50).load()
    images = {image.numpy().tobytes() for image in data.train.images}
    assert all(image.numpy().tobytes() in images for image in smaller.train.images)
    assert torch.equal(smaller.evaluation.images, data.evaluation.images)
    test = {image.tobytes() for image in cifar10.stacked("test_list")[0]}
    assert not any(image.numpy().tobytes() in test for image in data.evaluation.images)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"root": ""}, "at least 1 character"),
        ({"train_size": 50_000, "val_size": 1}, "too many for the 50000 images"),
        ({"padding": 32}, "padding=32: should be less than the images' side, 32"),
    ],
)
def test_wrong_arguments(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        CIFAR10(**arguments)


def test_a_file_as_root(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not a folder"):
        CIFAR10(root=str(tmp_path / "file")).read()
    with pytest.raises(UserError, match=r"dataset\.root=.*file/below: cannot be written: Not a directory"):
        CIFAR10(root=str(tmp_path / "file" / "below")).read()


def test_a_full_disk_leaves_nothing_half_written(cifar10, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("isda_bench.runtime.atomic_files.os.fsync", full)
    with pytest.raises(UserError, match=r"cifar10\.safetensors: cannot be written: No space left on device"):
        CIFAR10(root=str(cifar10.root)).read()
    assert not [path for path in cifar10.root.iterdir() if "safetensors" in path.name]


@pytest.mark.data
@pytest.mark.parametrize("ours", [CIFAR10, CIFAR100])
def test_the_real_sets(real_data, ours):
    if not (real_data / {CIFAR10: "cifar-10-batches-py", CIFAR100: "cifar-100-python"}[ours]).is_dir():
        pytest.skip(f"no real {ours.__name__} there")
    data = ours(root=str(real_data)).load()
    each = 50_000 // ours.num_classes
    assert data.train.images.shape == (50_000, 3, 32, 32)
    assert data.train.targets.bincount().tolist() == [each] * ours.num_classes
    assert data.evaluation.targets.bincount().tolist() == [each // 5] * ours.num_classes
    assert data.checksum == REAL[ours]
    if ours is CIFAR10:
        pixels = data.train.images.double()
        assert torch.allclose(pixels.mean((0, 2, 3)), torch.tensor(ours.mean, dtype=torch.float64), atol=0.1)


REAL = {
    CIFAR10: "9048fcbac9c08a64d57a7c5a5a66750a974ad4eab380914df129f7e223d823df",
    CIFAR100: "283e80e15e3841cce98044da5929d8557a88969bfd2d77d1c1db7bb78ba419f7",
}
