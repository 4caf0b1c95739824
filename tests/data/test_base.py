"""Splits and checks that every data set shares."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from helpers.tiny import TINY
from isda_bench.config.components import build_dataset
from isda_bench.config.compose import compose_run
from isda_bench.data.base import DataSet, ImageSet, checksum_of
from isda_bench.data.digits import Digits
from isda_bench.data.splits import checksum_of_indices, long_tail, split_indices, stratified_order
from isda_bench.errors import UserError

UNEVEN = np.random.default_rng(0).permutation(np.repeat(np.arange(5), [7, 50, 100, 3, 141]))  # 301 images


def shares(indices: np.ndarray) -> np.ndarray:
    return np.bincount(UNEVEN[indices], minlength=5)


def test_the_order_holds_every_index_once():
    assert sorted(stratified_order(UNEVEN, 0)) == list(range(len(UNEVEN)))


@pytest.mark.parametrize("size", [1, 10, 43, 150, 300])
def test_subsets_are_stratified(size):
    wanted = np.bincount(UNEVEN) * size / len(UNEVEN)
    train, held_out = split_indices(UNEVEN, size, len(UNEVEN) - size, seed=0)
    assert (len(train), len(held_out)) == (size, len(UNEVEN) - size)
    assert np.abs(shares(train) - wanted).max() <= 1
    assert np.abs(shares(held_out) - (np.bincount(UNEVEN) - wanted)).max() <= 1


def test_a_smaller_subset_lies_in_every_larger_one():
    training = [set(split_indices(UNEVEN, size, 0, seed=0)[0]) for size in range(1, 302)]
    held_out = [set(split_indices(UNEVEN, None, size, seed=0)[1]) for size in range(301)]
    for sets in (training, held_out):
        assert all(small < large for small, large in pairwise(sets))


def test_training_and_validation_share_no_image_and_take_all():
    train, held_out = split_indices(UNEVEN, None, 60, seed=3)
    assert not set(train) & set(held_out)
    assert set(train) | set(held_out) == set(range(301))


def test_indices_are_sorted_seeded_and_shuffled():
    first, again, other = (split_indices(UNEVEN, 100, 50, seed) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        assert np.array_equal(a, b)
        assert not np.array_equal(a, c)
        assert np.array_equal(a, np.sort(a))


def test_test_split_by_default():
    data = Digits().load()
    assert (data.split, len(data.train.targets), len(data.evaluation.targets)) == ("test", 1437, 360)


def test_validation_leaves_the_test_set_alone():
    digits = Digits(train_size=300, val_size=200)
    train, test = digits.read()
    data = digits.load()
    assert (data.split, len(data.train.targets), len(data.evaluation.targets)) == ("validation", 300, 200)
    pool = {image.numpy().tobytes() for image in train.images}
    assert all(image.numpy().tobytes() in pool for image in data.evaluation.images)
    held = {image.numpy().tobytes() for image in data.evaluation.images}
    assert not any(image.numpy().tobytes() in held for image in data.train.images)
    assert not any(image.numpy().tobytes() in held for image in test.images)


def test_the_subset_is_the_same_with_another_seed_of_the_run_and_moves_with_the_split_seed():
    a, b = Digits(train_size=50).load(), Digits(train_size=50, split_seed=1).load()
    assert torch.equal(a.evaluation.images, b.evaluation.images)
    assert not torch.equal(a.train.images, b.train.images)


def test_images_keep_their_labels():
    digits = Digits(train_size=100)
    whole = {i.numpy().tobytes(): int(t) for i, t in zip(*digits.read()[0], strict=True)}
    train = digits.load().train
    assert all(whole[i.numpy().tobytes()] == int(t) for i, t in zip(*train, strict=True))


def test_the_checksum_is_of_the_whole_set_whatever_the_split():
    assert Digits(train_size=10, val_size=20).load().checksum == Digits().load().checksum
    train, test = Digits().read()
    changed = train.images.clone()
    changed[0, 0, 0, 0] ^= 1
    assert checksum_of(ImageSet(changed, train.targets), test) != checksum_of(train, test)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"train_size": 1438}, "train_size=1438: too many for the 1437 images"),
        ({"val_size": 1437}, "val_size=1437: too many"),
        ({"train_size": 1000, "val_size": 438}, "val_size=438 and train_size=1000: too many"),
        ({"train_size": 0}, "greater than 0"),
        ({"val_size": -1}, "greater than or equal to 0"),
        ({"split_seed": -1}, "greater than or equal to 0"),
        ({"split_seed": 2**32}, "less than"),
        ({"padding": 8}, "padding=8: should be less than the images' side, 8"),
        ({"train_size": 10.0}, "valid integer"),
        ({"flip": 1}, "valid boolean"),
    ],
)
def test_wrong_arguments_are_value_errors(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        Digits(**arguments)


def test_all_wrong_arguments_at_once():
    with pytest.raises(ValidationError) as raised:
        Digits(train_size=0, val_size=-1, padding=-1)
    assert raised.value.error_count() == 3


class Labelled(DataSet):
    num_classes, in_channels, train_images, mean, std = 3, 1, 4, (0.0,), (1.0,)

    def __init__(self, targets, test_targets):
        super().__init__(None, 0, 0, 0, False)
        self.targets = [torch.tensor(targets), torch.tensor(test_targets)]

    def read(self):
        train, test = (ImageSet(torch.zeros(len(t), 1, 2, 2, dtype=torch.uint8), t) for t in self.targets)
        return train, test


@pytest.mark.parametrize(
    ("targets", "test_targets", "complaint"),
    [
        ([0, 1, 2, 3], [0], "labels from 0 to 3, should lie in 0..2"),
        ([0, 1, 2, -1], [0], "labels from -1 to 2"),
        ([0, 1, 2, 0], [3], "labels from 3 to 3"),
        ([0, 1, 2], [0], "3 training images, should be 4"),
    ],
)
def test_wrong_labels_and_numbers_of_images_are_refused(targets, test_targets, complaint):
    with pytest.raises(UserError, match=complaint):
        Labelled(targets, test_targets).load()


def test_right_labels_pass():
    assert len(Labelled([0, 1, 2, 0], [2]).load().train.targets) == 4


def tail_of(total: int, classes: int, imbalance: float) -> np.ndarray:
    targets = np.random.default_rng(1).permutation(np.arange(total) % classes)
    order = stratified_order(targets, 0)
    return np.bincount(targets[long_tail(order, targets, imbalance)])


@pytest.mark.parametrize(("classes", "imbalance", "images"), [(10, 100, 12_406), (100, 100, 10_847)])
def test_the_long_tail_is_cifars_of_the_literature(classes, imbalance, images):
    counts = tail_of(50_000, classes, imbalance)
    assert counts.sum() == images
    assert counts[0] == 50_000 // classes == imbalance * counts[-1]
    assert (np.diff(counts) <= 0).all()


def test_a_tail_of_uneven_classes_has_the_profile_that_they_allow():
    targets = np.repeat([0, 1, 2], [40, 300, 8])
    tail = long_tail(stratified_order(targets, 0), targets, 16)
    assert np.bincount(targets[tail]).tolist() == [40, 10, 2]
    assert len(set(tail)) == len(tail)


def test_every_beginning_of_the_tail_has_each_class_in_its_share():
    targets = np.random.default_rng(1).permutation(np.arange(1000) % 4)
    tail = long_tail(stratified_order(targets, 0), targets, 8)
    whole = np.bincount(targets[tail])
    for size in (1, 50, 200, len(tail)):
        wanted = whole * size / len(tail)
        assert np.abs(np.bincount(targets[tail[:size]], minlength=4) - wanted).max() <= 1


def test_a_long_tailed_data_set():
    whole, tail = Digits().load(), Digits(imbalance=10).load()
    counts = tail.train.targets.bincount().tolist()
    assert counts[0] == pytest.approx(10 * counts[9], rel=0.1)
    assert torch.equal(tail.evaluation.images, whole.evaluation.images)
    assert tail.checksum == whole.checksum and tail.indices != whole.indices
    held = Digits(imbalance=10, val_size=300).load()
    assert held.evaluation.targets.bincount().min() > 20  # in the shares of the set as it is
    small = Digits(imbalance=10, train_size=100).load()
    larger = {image.numpy().tobytes() for image in tail.train.images}
    assert all(image.numpy().tobytes() in larger for image in small.train.images)
    with pytest.raises(UserError, match=r"train_size=1000: the long-tailed set of dataset.imbalance=10 has"):
        Digits(imbalance=10, train_size=1000).load()


def test_resampling_draws_anew_for_each_seed_and_only_then():
    def drawn(seed, **settings):
        return Digits(train_size=50, val_size=40, **settings).with_seed(seed).load()

    def same(a, b):
        return tuple(torch.equal(x.images, y.images) for x, y in zip(a[:2], b[:2], strict=True))

    assert same(drawn(0), drawn(1)) == (True, True)
    assert same(drawn(3, resample=True), drawn(3, resample=True)) == (True, True)
    assert same(drawn(0, resample=True), drawn(1, resample=True)) == (False, False)
    assert same(drawn(1, resample=True), drawn(1)) == (False, False)
    assert same(drawn(0, resample=True), drawn(0, resample=True, split_seed=1)) == (False, False)
    expected, _ = split_indices(Digits().read()[0].targets.numpy(), 50, 40, np.random.SeedSequence([0, 3]))
    assert torch.equal(drawn(3, resample=True).train.images, Digits().read()[0].take(expected).images)
    with pytest.raises(ValueError, match="with_seed"):
        Digits(train_size=50, resample=True).load()


def test_the_run_s_seed_reaches_the_data_set():
    run = compose_run([*TINY, "dataset.resample=true", "seed=5"])
    wanted = Digits(train_size=run.settings.dataset["train_size"], resample=True).with_seed(5)
    assert build_dataset(run.settings).fingerprint() == wanted.fingerprint()


def test_the_fingerprint_is_that_of_the_loaded_data():
    digits = Digits(train_size=100)
    assert digits.fingerprint() == digits.load().fingerprint
    assert digits.fingerprint().data == checksum_of(*digits.read())
    prints = [Digits(**given).fingerprint() for given in ({}, {"train_size": 100}, {"val_size": 100})]
    assert len({given.indices for given in prints}) == 3 and len({given.data for given in prints}) == 1


def test_the_checksum_of_indices_knows_which_are_trained_on():
    a, b = np.arange(5), np.arange(5, 8)
    sums = {checksum_of_indices(*parts) for parts in ((a, b), (b, a), (np.arange(8), a[:0]), (a[:4], a[4:]))}
    assert len(sums) == 4
    assert checksum_of_indices(a, b) == checksum_of_indices(a.astype(np.int32), b)


def test_new_keys_leave_older_ids_alone():
    old = compose_run(["dataset=cifar10"]).as_dict()["identity"]["dataset"]
    assert not {"resample", "imbalance"} & set(old)
    new = compose_run(["dataset=cifar10", "dataset.imbalance=100", "dataset.resample=true"])
    assert new.as_dict()["identity"]["dataset"] == old | {"imbalance": 100, "resample": True}
