"""Splits a data set into training and held-out images, by class and seed."""

import hashlib

import numpy as np

Seed = int | np.random.SeedSequence


def split_indices(
    targets: np.ndarray, train_size: int | None, val_size: int, seed: Seed
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices (training, validation), disjoint and stratified.

    The training images are the first of `stratified_order`, the validation images its last, so that the
    subset of a smaller size lies in that of a larger one.
    """
    order = stratified_order(targets, seed)
    rest = len(order) - val_size
    return np.sort(order[: rest if train_size is None else train_size]), np.sort(order[rest:])


def stratified_order(targets: np.ndarray, seed: Seed) -> np.ndarray:
    """All indices, shuffled so that every beginning and every end has each class in its share."""
    generator = np.random.default_rng(seed)
    return _interleaved([generator.permutation(np.flatnonzero(targets == c)) for c in np.unique(targets)])


def long_tail(order: np.ndarray, targets: np.ndarray, imbalance: float) -> np.ndarray:
    """The indices of a long-tailed set, in an order whose every beginning has each class in its share.

    Class c of C keeps the first n * imbalance^(-c / (C - 1)) images that it has in `order`, rounded down, at
    least one. n is as large as the classes allow: the first one's images, where all have as many.

    Source: Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples", section 5.1, with the
    rounding of Cao et al. 2019 (LDAM).

    Args:
        order: indices of the images to choose from, (M,).
        targets: classes of all images, (N,).
        imbalance: images of the first class to one of the last, at least 1.
    """
    classes = [order[targets[order] == c] for c in np.unique(targets)]
    profile = imbalance ** (-np.arange(len(classes)) / max(1, len(classes) - 1))
    available = np.array([len(indices) for indices in classes])
    counts = np.maximum(1, (available / profile).min() * profile * (1 + 1e-12)).astype(int)
    return _interleaved([indices[:count] for indices, count in zip(classes, counts, strict=True)])


def _interleaved(classes: list[np.ndarray]) -> np.ndarray:
    """The indices of all classes in one order.

    The k-th of a class of n images, from 0, comes at (k + 1/2) / n of the way (Webster's method). Shares by
    the largest remainder would not do: there a class can lose an image when the subset grows.
    """
    places = np.concatenate([(np.arange(len(indices)) + 0.5) / len(indices) for indices in classes])
    return np.concatenate(classes)[np.argsort(places, kind="stable")]


def checksum_of_indices(chosen: np.ndarray, held_out: np.ndarray) -> str:
    """SHA-256 of the sorted indices that are trained on, and of those evaluated on (none: the test set)."""
    digest = hashlib.sha256()
    for indices in (chosen, held_out):
        digest.update(b"%d " % len(indices))
        digest.update(np.ascontiguousarray(indices, dtype="<i8").data)
    return digest.hexdigest()
