"""The expected calibration error, against a sum by hand over bins."""

import numpy as np
import pytest
import torch
from torch import nn

from isda_bench.data.base import ImageSet
from isda_bench.data.loader import Loader
from isda_bench.models.base import Classifier
from isda_bench.training.evaluate import evaluate

CPU = torch.device("cpu")


class Logits(Classifier):
    """A network whose logits are the image's pixels."""

    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(classes, classes)
        nn.init.eye_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, images):
        return images.flatten(1)


def expected(logits, targets):
    """Guo et al. 2017, equations 2, 3 and 5, a loop over 15 bins."""
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    confidence, correct = p.max(1), p.argmax(1) == targets
    error = 0.0
    for m in range(15):
        members = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if members.any():
            error += members.mean() * abs(correct[members].mean() - confidence[members].mean())
    return 100 * error


@pytest.mark.parametrize("batch", [7, 200])
def test_expected_calibration_error(batch):
    """Whatever the batches are; some confidences lie on the edge of a bin, two logits alike give 1/2."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (200, 4)).astype(np.float32)
    logits[:3] = [[0, 0, -200, -200], [300, 0, 0, 0], [0, 0, 0, 0]]
    targets = rng.integers(0, 4, 200)
    images = ImageSet(torch.from_numpy(logits).reshape(200, 4, 1, 1), torch.from_numpy(targets))
    measured = evaluate(Logits(4), Loader(images, batch, CPU, [], shuffle=False))
    assert measured["ece"] == pytest.approx(expected(logits.astype(np.float64), targets), rel=1e-6)
    assert measured["ece"] > 1
