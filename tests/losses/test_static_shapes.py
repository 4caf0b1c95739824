"""The forms in static shapes, which CUDA and compiled code take, with buffers for some classes at a time."""

import pytest
import torch

from isda_bench.losses import class_statistics, isda
from isda_bench.losses.class_statistics import ClassStatistics

C, A, N = 7, 5, 12


def results():
    """Loss, gradients and statistics of two batches, float64."""
    generator = torch.Generator().manual_seed(0)
    statistics = ClassStatistics(C, A).double()
    rows = []
    for _ in range(2):
        features = torch.randn(N, A, generator=generator, dtype=torch.float64)
        weight = torch.randn(C, A, generator=generator, dtype=torch.float64, requires_grad=True)
        targets = torch.randint(C, (N,), generator=generator)
        logits = (features @ weight.detach().T).requires_grad_()
        statistics.update(features, targets)
        loss = isda.augmented_cross_entropy(logits, weight, statistics.covariance, targets, 0.7)
        loss.backward()
        rows += [loss.detach(), logits.grad, weight.grad, statistics.covariance.clone()]
    return rows


@pytest.mark.parametrize("classes", [1, 2, 3, 6])
def test_some_classes_at_once_give_the_numbers_of_all(monkeypatch, classes):
    wanted = results()
    for module in (isda, class_statistics):
        monkeypatch.setattr(module, "needs_static_shapes", lambda _: True)
        monkeypatch.setattr(module, "classes_that_fit", lambda elements: classes)
    for got, value in zip(results(), wanted, strict=True):
        torch.testing.assert_close(got, value, rtol=1e-12, atol=1e-12)


def test_no_buffer_is_larger_than_the_limit(monkeypatch):
    """ImageNet's 1000 classes with 1024 features would need (C, C, A) buffers of 4 GB."""
    largest = []

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            made = operation(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor) and operation is torch.ops.aten.sub.Tensor:
                largest.append(made.numel())
            return made

    classes, features = 1000, 1024
    monkeypatch.setattr(isda, "needs_static_shapes", lambda _: True)
    with torch.device("meta"), Sizes():
        logits, weight = torch.empty(64, classes), torch.empty(classes, features)
        targets = torch.empty(64, dtype=torch.int64)
        isda.augmented_cross_entropy(logits, weight, torch.empty(classes, features, features), targets, 0.5)
    assert 0.5 * class_statistics.STATIC_LIMIT < max(largest) <= class_statistics.STATIC_LIMIT


def test_no_buffer_of_the_statistics_is_larger_than_the_limit(monkeypatch):
    """1000 classes, 256 images and 2048 features would need a (C, N + 1, A) buffer of 2.1 GB."""
    largest = []

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            made = operation(*args, **(kwargs or {}))
            if operation is torch.ops.aten.cat.default:
                largest.append(made.numel())
            return made

    monkeypatch.setattr(class_statistics, "needs_static_shapes", lambda _: True)
    with torch.device("meta"), Sizes():
        statistics = ClassStatistics(1000, 2048)
        statistics.update(torch.empty(256, 2048), torch.empty(256, dtype=torch.int64))
    assert 0.5 * class_statistics.STATIC_LIMIT < max(largest) <= class_statistics.STATIC_LIMIT
