"""Measures of generated images against references, and what the traversal tells."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors

from helpers.made_runs import write_run
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.gan.quality import Quality, find_classifier, frechet_distance, precision_and_recall
from isda_bench.gan.traversal import steadiness


@pytest.fixture
def features():
    own = torch.Generator().manual_seed(0)
    real = torch.randn(300, 12, generator=own) @ torch.randn(12, 12, generator=own)
    return real, 0.7 * torch.randn(200, 12, generator=own) @ torch.randn(12, 12, generator=own) + 0.5


def test_the_frechet_distance_is_that_of_a_matrix_root(features):
    real, made = (part.double().numpy() for part in features)
    a, b = np.cov(real.T), np.cov(made.T)
    root = sqrtm(a @ b).real
    wanted = ((real.mean(0) - made.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root)
    assert frechet_distance(*features) == pytest.approx(wanted, rel=1e-6)


def test_the_frechet_distance_of_a_set_to_itself_and_to_a_shifted_one(features):
    real, _ = features
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-3)
    assert frechet_distance(real, real + 2) == pytest.approx(4 * 12, rel=1e-3)


def test_dead_features_do_no_harm(features):
    real, made = (torch.cat([part, torch.zeros(len(part), 3)], 1) for part in features)
    assert frechet_distance(real, made) == pytest.approx(frechet_distance(*features), rel=1e-4)


def test_precision_and_recall_are_those_of_nearest_neighbours(features):
    def part_within(centres, points):
        search = NearestNeighbors(n_neighbors=4).fit(centres)
        radii = search.kneighbors(centres)[0][:, 3]
        distances = np.linalg.norm(points[:, None] - centres[None], axis=2)
        return (distances <= radii).any(1).mean()

    real, made = (part.double() for part in features)
    wanted = part_within(real.numpy(), made.numpy()), part_within(made.numpy(), real.numpy())
    assert 0 < wanted[1] < 1
    assert precision_and_recall(real, made) == pytest.approx(wanted)


def test_one_image_a_class_has_precision_and_no_recall(features):
    real, _ = features
    one = real[:1].expand(50, -1)
    precision, recall = precision_and_recall(real, one)
    assert precision == 1 and recall < 0.01


def test_the_classifier_is_the_best_one_trained_on_real_images_alone(tmp_path, monkeypatch):
    # the checkpoints are empty
    monkeypatch.setattr(
        "isda_bench.gan.quality.load_run", lambda path, allow: None
    )  # the checkpoints are empty

    def finished(error, *overrides):
        path = write_run(tmp_path, compose_run([*TINY, *overrides]), error)
        (path / "checkpoint.pt").touch()
        return path

    best = finished(3.0, "seed=1")
    finished(20.0, "seed=2")
    finished(1.0, "generator=cgan")
    finished(1.0, "dataset=cifar10", "dataset.train_size=200", "schedule.batch_size=16")
    section = compose_run(TINY).config["dataset"]
    assert find_classifier(None, tmp_path, None, section) == best


def test_a_measurement_names_the_classifier_and_its_error():
    reported = Quality("digits-s0", 500, 1.0, 0.9, 0.8, None, None, None, None, 2.5).line()
    assert reported.endswith("; in the features of digits-s0 (error 2.50%)")


def test_steadiness_distinguishes_a_moving_bar_from_noise():
    own = torch.Generator().manual_seed(0)
    images = 10 * torch.rand(20, 6, 1, 8, 8, generator=own)
    for step in range(6):
        images[:, step, :, :, step + 1] = 255
    values = steadiness(images)
    assert values["column"] > 0.99
    assert abs(values["row"]) < 0.3
