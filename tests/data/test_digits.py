"""The embedded data set."""

import numpy as np
import torch

from isda_bench.data.digits import Digits


def test_shapes_types_and_the_whole_range_of_grey():
    train, test = Digits().read()
    assert train.images.shape == (1437, 1, 8, 8)
    assert test.images.shape == (360, 1, 8, 8)
    assert (train.images.dtype, train.targets.dtype) == (torch.uint8, torch.int64)
    assert (train.images.min(), train.images.max()) == (0, 255)


def test_the_split_is_stratified_and_always_the_same():
    train, test = Digits().read()
    assert set(test.targets.bincount().tolist()) <= {35, 36, 37}
    assert set(train.targets.bincount().tolist()) <= set(range(139, 147))
    again = Digits(split_seed=1, val_size=100).read()
    assert torch.equal(again[1].images, test.images)


def test_no_image_is_in_both():
    train, test = Digits().read()
    seen = {image.numpy().tobytes() for image in train.images}
    assert not any(image.numpy().tobytes() in seen for image in test.images)


def test_mean_and_deviation_are_those_of_the_training_set():
    digits = Digits()
    images = digits.read()[0].images.double()
    assert abs(images.mean() - digits.mean[0]) < 0.05
    assert abs(images.std() - digits.std[0]) < 0.5


def test_they_are_scikit_learns():
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    wanted = zip(np.rint(images * (255 / 16)).astype(np.uint8), targets.tolist(), strict=True)
    ours = ((i.flatten().numpy(), int(t)) for part in Digits().read() for i, t in zip(*part, strict=True))
    assert sorted((i.tobytes(), t) for i, t in ours) == sorted((i.tobytes(), t) for i, t in wanted)
