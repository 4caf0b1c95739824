"""Folders of JPEGs: read, cropped, left out where they cannot be read, and trained on."""

import isda_bench.runtime.torchvision_import  # isort: skip

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

import isda_bench
from helpers.image_folder import SIZES, make_image_folder
from helpers.interruption import Killed, dying_after_batches
from helpers.run_files import metrics_of, same_weights
from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import identity
from isda_bench.data.base import ImageSet
from isda_bench.data.decoding import Decoding
from isda_bench.data.image_files import centre_crop, default_workers, random_crop
from isda_bench.data.image_folder import ImageFolder
from isda_bench.data.imagenet import ImageNet
from isda_bench.data.loader import Loader, evaluation_loader
from isda_bench.errors import ConfigError, UserError
from isda_bench.storage import checkpoint
from isda_bench.training.evaluate import evaluate_run
from isda_bench.training.run import run

CPU = torch.device("cpu")
CLASSES = 40
SMALL = {"num_classes": CLASSES, "image_size": 16, "resize": 18, "workers": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_image_folder(tmp_path_factory.mktemp("images"), CLASSES)


@pytest.fixture
def damaged(folder, tmp_path) -> Path:
    """A copy in which three training images cannot be read, each for a reason of its own."""
    root = tmp_path / "damaged"
    shutil.copytree(folder, root)
    files = sorted((root / "train").rglob("*.JPEG"))
    files[0].write_bytes(b"")
    files[10].write_bytes(files[10].read_bytes()[:-40])
    files[20].write_text("not an image")
    return root


@pytest.mark.parametrize("size", [*SIZES, (500, 375), (31, 1000), (224, 224)])
def test_the_centre_is_torchvisions(size):
    draws = np.random.default_rng(0)
    image = Image.fromarray(draws.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    reference = transforms.Compose([transforms.Resize(36), transforms.CenterCrop(32)])(image)
    assert np.array_equal(np.asarray(centre_crop(image, 32, 36)), np.asarray(reference))


@pytest.mark.parametrize("size", [(30_000, 1), (1, 30_000), (40_000, 2)])
def test_a_thin_image_is_cut_before_it_is_resized(size, monkeypatch):
    """Resized whole to 36 pixels of width, one of 30,000 x 1 would have 39 million."""
    ramp = np.linspace(0, 255, max(size)).astype(np.uint8)
    levels = ramp[None].repeat(size[1], 0) if size[0] > size[1] else ramp[:, None].repeat(size[0], 1)
    resize = Image.Image.resize

    def small(self, size, *more):
        assert size[0] * size[1] < 2**24
        return resize(self, size, *more)

    monkeypatch.setattr(Image.Image, "resize", small)
    pixels = np.asarray(centre_crop(Image.fromarray(levels).convert("RGB"), 32, 36))
    assert pixels.shape == (32, 32, 3)
    assert np.abs(pixels.astype(int) - 127).max() <= 1  # the middle of the ramp


@pytest.mark.parametrize("size", SIZES)
def test_the_random_crop_is_torchvisions(size):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    for seed in range(20):
        torch.manual_seed(seed)
        reference = transforms.RandomResizedCrop(16)(image)
        torch.manual_seed(seed)
        assert np.array_equal(np.asarray(random_crop(image, 16)), np.asarray(reference))


def test_the_loaded_images(folder):
    data = ImageNet(root=str(folder), **SMALL).load()
    assert (len(data.train.targets), len(data.evaluation.targets), data.split) == (120, 40, "test")
    images, targets = next(data.evaluation.batches([torch.tensor([3, 39])], seed=0))
    assert images.shape == (2, 3, 16, 16) and images.dtype == torch.uint8
    assert targets.tolist() == [3, 39]
    path = folder / "val" / "n00000039" / "39_0.JPEG"
    assert np.array_equal(images[1].permute(1, 2, 0), centre_crop(Image.open(path).convert("RGB"), 16, 18))


def test_subset_and_held_out_images_are_stratified_and_held_out_ones_not_drawn(folder):
    data = ImageNet(root=str(folder), train_size=80, val_size=40, **SMALL).load()
    assert data.train.targets.bincount().tolist() == [2] * CLASSES
    assert data.evaluation.targets.bincount().tolist() == [1] * CLASSES
    assert data.split == "validation"
    assert not set(data.train.paths) & set(data.evaluation.paths)
    assert data.train.random and not data.evaluation.random


def loader(folder: Path, **settings) -> Loader:
    data = ImageNet(root=str(folder), **(SMALL | settings)).load()
    return Loader(data.train, 32, CPU, [], shuffle=True)


def epoch(batches: Loader) -> list[torch.Tensor]:
    return [tensor.clone() for batch in batches for tensor in batch]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return len(left) == len(right) and all(map(torch.equal, left, right))


def test_the_seed_decides_the_images_and_the_number_of_workers_does_not(folder):
    torch.manual_seed(0)
    ours = loader(folder, workers=2)
    first, second = epoch(ours), epoch(ours)
    assert not same(first, second)
    torch.manual_seed(0)
    alone = loader(folder, workers=0)
    assert same(epoch(alone), first) and same(epoch(alone), second)


def test_an_epoch_resumes_with_the_same_images_and_crops(folder):
    torch.manual_seed(0)
    given = []
    for step, batch in enumerate(ours := loader(folder)):
        given += [tensor.clone() for tensor in batch]
        if step == 1:
            position = ours.position()
    torch.manual_seed(7)
    resumed = loader(folder)
    resumed.restore_position(position)
    assert same(epoch(resumed), given[4:])
    assert len(epoch(resumed)) == len(given)
    with pytest.raises(UserError, match="has 80 training images, but had 120"):
        loader(folder, train_size=80).restore_position(position)


def test_reading_draws_one_order_and_one_seed_from_the_runs_generator(folder):
    dataset = ImageNet(root=str(folder), **(SMALL | {"workers": 1}))
    data = dataset.load()
    before = torch.get_rng_state()
    assert sum(len(targets) for _, targets in evaluation_loader(data.evaluation, dataset, CPU)) == 40
    assert torch.equal(torch.get_rng_state(), before)


def test_unreadable_images_are_skipped_and_reported(damaged, capsys):
    batches = loader(damaged, unreadable_limit=3, workers=1)
    for _ in range(2):
        assert sum(len(targets) for _, targets in batches) == 117
    reported = capsys.readouterr().err.splitlines()
    assert len(reported) == 3 and all("cannot be read" in line for line in reported)
    assert sum("n00000000/0_0.JPEG" in line for line in reported) == 1


def test_too_many_unreadable_images_are_an_error_with_their_names(damaged):
    with pytest.raises(UserError, match=r"3 images cannot be read, dataset.unreadable_limit=2: ") as error:
        epoch(loader(damaged, unreadable_limit=2))
    assert all(name in str(error.value) for name in ("0_0.JPEG", "3_1.JPEG", "6_2.JPEG"))


def test_a_batch_of_unreadable_images_is_an_error(damaged):
    data = ImageNet(root=str(damaged), **SMALL).load()
    with pytest.raises(UserError, match="no image of a batch can be read"):
        next(data.train.batches([torch.tensor([0])], seed=0))


def test_a_single_image_that_is_left_comes_twice(damaged):
    """BatchNorm cannot be trained on one."""
    data = ImageNet(root=str(damaged), **SMALL).load()
    images, targets = next(data.train.batches([torch.tensor([0, 5])], seed=0))
    assert len(images) == len(targets) == 2 and torch.equal(images[0], images[1])
    images, targets = next(data.train.batches([torch.tensor([5])], seed=0))
    assert len(images) == len(targets) == 1


def test_an_unreadable_evaluation_image_is_an_error(folder, tmp_path):
    root = tmp_path / "damaged"
    shutil.copytree(folder, root)
    file = root / "val" / "n00000005" / "5_0.JPEG"
    dataset = ImageNet(root=str(root), unreadable_limit=10, **SMALL)
    file.write_text("<html>")
    batches = evaluation_loader(dataset.load().evaluation, dataset, CPU)
    with pytest.raises(UserError, match=r"5_0\.JPEG: cannot be read .*evaluated are never left out"):
        epoch(batches)
    file.write_text("")
    with pytest.raises(UserError, match=r"5_0\.JPEG: is empty .*evaluated are never left out"):
        dataset.load()


def test_the_record_counts_unreadable_training_images(damaged, tmp_path):
    record = run(compose_run([*overrides(damaged, tmp_path / "runs"), "schedule.epochs=1"]))
    assert record["unreadable_images"] == 3


@pytest.mark.parametrize("size", [33, 119])
def test_a_last_batch_of_one_is_reported_before_the_training(folder, tmp_path, size):
    given = [f"dataset.train_size={size}", f"schedule.batch_size={'32' if size == 33 else '118'}"]
    with pytest.raises(ConfigError) as raised:
        run(compose_run([*overrides(folder, tmp_path / "runs", "resnet50"), *given]))
    (line,) = raised.value.problems
    assert f"the last batch of {size} training images has a single one" in line
    assert not (tmp_path / "runs").exists()


def test_a_batch_of_one_is_no_problem_where_the_last_features_are_larger(folder, tmp_path):
    given = ["dataset.train_size=33", "schedule.epochs=1"]
    assert run(compose_run([*overrides(folder, tmp_path / "runs"), *given]))["epochs"] == 1


@pytest.mark.parametrize("dataset", [ImageNet, ImageFolder])
def test_the_fingerprint_is_that_of_the_data_and_reads_no_image(folder, tmp_path, monkeypatch, dataset):
    root = tmp_path / "images"
    shutil.copytree(folder, root)
    settings = SMALL | {"train_size": 80}
    loaded = dataset(root=str(root), **settings).load()
    monkeypatch.setattr(Decoding, "read", lambda *_: pytest.fail("an image was read"))
    given = dataset(root=str(root), **settings).fingerprint()
    assert given == loaded.fingerprint
    other = dataset(root=str(root), **settings | {"split_seed": 1}).fingerprint()
    assert other.data == given.data and other.indices != given.indices
    file = root / "val" / "n00000005" / "5_0.JPEG"
    file.write_bytes(file.read_bytes() + b"\0")
    assert dataset(root=str(root), **settings).fingerprint().data != given.data
    assert dataset(root=str(tmp_path / "none"), **settings).fingerprint() is None


def test_an_image_folder_is_the_same_in_memory_and_by_the_batch(folder):
    sets = []
    for in_memory in (True, False, None):
        dataset = ImageFolder(root=str(folder), **SMALL, in_memory=in_memory, train_size=90)
        data = dataset.load()
        torch.manual_seed(0)
        sets.append(epoch(Loader(data.train, 32, CPU, [], shuffle=True)))
        sets[-1] += epoch(evaluation_loader(data.evaluation, dataset, CPU))
        assert (
            isinstance(data.train, ImageSet)
            == isinstance(data.evaluation, ImageSet)
            == (in_memory is not False)
        )
    assert same(sets[0], sets[1]) and same(sets[0], sets[2])


def test_an_image_folder_by_size(folder, monkeypatch):
    monkeypatch.setattr("isda_bench.data.image_folder.IN_MEMORY", 100 * 3 * 16 * 16)
    data = ImageFolder(root=str(folder), **SMALL).load()  # 120 training, 40 evaluation images
    assert not isinstance(data.train, ImageSet) and isinstance(data.evaluation, ImageSet)


def test_an_image_folder_counts_its_classes_and_needs_no_val_where_images_are_held_out(folder, tmp_path):
    root = tmp_path / "images"
    shutil.copytree(folder / "train", root / "train")
    dataset = ImageFolder(root=str(root), **SMALL | {"num_classes": None}, val_size=40)
    data = dataset.load()
    assert (dataset.num_classes, data.split, len(data.evaluation.targets)) == (CLASSES, "validation", 40)
    with pytest.raises(UserError, match=r"there is no folder .*val"):
        ImageFolder(root=str(root), **SMALL).load()


def test_an_image_folder_in_memory_leaves_unreadable_images_out(damaged):
    data = ImageFolder(root=str(damaged), **SMALL).load()
    assert len(data.train.targets) == 117
    assert sorted(Path(name).name for name in data.train.unreadable) == ["0_0.JPEG", "3_1.JPEG", "6_2.JPEG"]
    with pytest.raises(UserError, match=r"3 images cannot be read, dataset.unreadable_limit=2"):
        ImageFolder(root=str(damaged), **SMALL, unreadable_limit=2).load()


def test_an_image_folder_trains(folder, tmp_path):
    given = [line.replace("dataset=imagenet", "dataset=image_folder") for line in overrides(folder, tmp_path)]
    given += ["dataset.num_classes=null", "dataset.mean=[120,110,100]", "schedule.epochs=1"]
    record = run(compose_run(given))
    assert record["run_id"].startswith("image_folder-resnet8-isda-s0-")
    assert isda_bench.load_run(tmp_path / record["run_id"]).model.head.out_features == CLASSES


def without(part: str):
    return lambda root: shutil.rmtree(root / part)


def no_images(root: Path) -> None:
    for file in (root / "train" / "n00000007").iterdir():
        file.unlink()


def no_classes(root: Path) -> None:
    shutil.rmtree(root / "train")
    (root / "train").mkdir()


def another_class(root: Path) -> None:
    (root / "val" / "n00000007").rename(root / "val" / "dog")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("train"), "there is no folder .*train; it should hold"),
        (without("val"), "there is no folder .*val; it should hold"),
        (without("train/n00000007"), "has 39 classes, should be dataset.num_classes=40"),
        (no_images, "no image in the classes n00000007"),
        (no_classes, "train has no class"),
        (another_class, "train and val should have the same classes; dog, n00000007"),
    ],
)
def test_a_folder_that_is_not_as_it_should_be(folder, tmp_path, change, message):
    root = tmp_path / "images"
    shutil.copytree(folder, root)
    change(root)
    with pytest.raises(UserError, match=message):
        ImageNet(root=str(root), **SMALL).load()


def test_a_missing_folder_is_reported_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"dataset.root=.*there is no folder .*train; it should hold train/"):
        run(compose_run(overrides(tmp_path / "none", tmp_path / "runs")))
    assert not (tmp_path / "runs").exists()


def test_wrong_settings_are_reported_before_anything_is_written(folder, tmp_path):
    for wrong, message in {
        "dataset.train_size=121": "dataset.val_size=0 and train_size=121: too many for the 120 images",
        "schedule.batch_size=121": "schedule.batch_size=121: larger than the training set of 120",
        "dataset.resize=8": "dataset.resize=8: should be at least the image_size",
        "dataset.workers=-1": "dataset.workers=-1",
    }.items():
        with pytest.raises((ConfigError, UserError), match=message):
            run(compose_run([*overrides(folder, tmp_path / "runs"), wrong]))
    assert not (tmp_path / "runs").exists()


def test_defaults_are_imagenets_and_nothing_is_read_before_it_is_needed():
    settings = compose_run(["dataset=imagenet", "model=resnet50"]).settings
    assert (settings.schedule.epochs, settings.schedule.batch_size) == (120, 256)
    assert settings.dataset["num_classes"] == 1000
    dataset = ImageNet(root="/nowhere")
    assert (dataset.image_size, dataset.num_classes, dataset.train_count) == (224, 1000, None)
    assert default_workers() >= 1


def test_where_the_images_are_and_how_they_are_read_is_not_in_the_identity():
    plain, other = (
        identity(compose_run(["dataset=imagenet", "model=resnet50", *more]).config)
        for more in ([], ["dataset.root=/x", "dataset.workers=3", "dataset.unreadable_limit=0"])
    )
    assert plain == other


def overrides(root: Path, runs: Path, model: str = "resnet8") -> list[str]:
    return [
        "dataset=imagenet",
        f"dataset.root={root}",
        *(f"dataset.{key}={value}" for key, value in SMALL.items()),
        f"model={model}",
        "loss=isda",
        "loss.covariance=diagonal",
        "schedule.epochs=2",
        "schedule.milestones=[2]",
        "schedule.batch_size=32",
        f"runs_dir={runs}",
    ]


def test_a_run_that_dies_within_an_epoch_is_the_one_that_did_not(folder, tmp_path):
    unbroken = compose_run([*overrides(folder, tmp_path / "a"), "dataset.workers=1"])
    broken = compose_run([*overrides(folder, tmp_path / "b"), "checkpoint.every_minutes=0.000001"])
    assert broken.run_id == unbroken.run_id
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Loader, "__iter__", dying_after_batches(4 + 3))  # in epoch 2, of four steps
        run(broken)
    directory = tmp_path / "b" / broken.run_id
    assert checkpoint.checkpoints(directory)[0].name.startswith("checkpoint-00001_000002-")
    torch.manual_seed(99)
    record = run(broken)
    run(unbroken)
    other = tmp_path / "a" / unbroken.run_id
    assert metrics_of(directory) == metrics_of(other)
    assert same_weights(directory, other)
    last = metrics_of(directory)[-1]
    assert record["top5_error"]["final"] == last["test_top5_error"] <= last["test_error"]
    measured = evaluate_run(directory, device="cpu")
    assert (measured["error"], measured["top5_error"]) == (last["test_error"], last["test_top5_error"])


@pytest.mark.slow
def test_a_network_learns_the_colours(tmp_path):
    root = make_image_folder(tmp_path / "images", CLASSES, train=8, val=2)
    steps = ["schedule.epochs=12", "schedule.milestones=[10]", "dataset.workers=2"]
    record = run(compose_run([*overrides(root, tmp_path / "runs"), *steps]))
    assert record["error"]["final"] < 60 and record["top5_error"]["final"] < 25


@pytest.mark.slow
@pytest.mark.parametrize("augment", ["none", "standard", "cutout", "randaugment", "autoaugment"])
def test_an_imagenet_network_with_every_augmentation(folder, tmp_path, augment):
    size = ["dataset.image_size=48", "dataset.resize=54", "model.width_per_group=8"]
    once = ["schedule.epochs=1", "schedule.milestones=[2]", f"augment={augment}"]
    record = run(compose_run([*overrides(folder, tmp_path / "runs", "resnet50"), *size, *once]))
    assert record["epochs"] == 1
