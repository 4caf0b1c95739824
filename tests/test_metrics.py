"""The metrics of an evaluation, against independent implementations, and their way into files."""

import json
import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, top_k_accuracy_score
from torch.nn import functional as F

from helpers.run_files import metrics_of
from helpers.tiny import TINY
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_run
from isda_bench.errors import ConfigError
from isda_bench.reporting.measures import measures
from isda_bench.training.metrics import METRICS, Measurement, with_further_metrics
from isda_bench.training.run import run

CPU = torch.device("cpu")


def batches(classes=12, count=3, n=50, scale=3.0):
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        yield (
            scale * torch.randn(n, classes, generator=generator),
            torch.randint(classes - 1, (n,), generator=generator),  # none of the last class
        )


def measured(pairs, classes=12):
    measurement = Measurement(classes, CPU)
    for logits, targets in pairs:
        measurement.add(logits, targets)
    return measurement.values()


def test_against_other_implementations():
    logits, targets = (torch.cat(parts).numpy() for parts in zip(*batches(), strict=True))
    found = measured(batches())
    predicted = logits.argmax(1)
    assert found["error"] == pytest.approx(100 * np.mean(predicted != targets), rel=1e-12)
    top5 = top_k_accuracy_score(targets, logits, k=5, labels=range(12))
    assert found["top5_error"] == pytest.approx(100 * (1 - top5), rel=1e-12)
    likelihoods = torch.from_numpy(logits).double().log_softmax(1).numpy()
    assert found["loss"] == pytest.approx(-np.mean(likelihoods[range(150), targets]), rel=1e-6)
    confusion = confusion_matrix(targets, predicted, labels=range(12))
    wanted = 100 * confusion.diagonal()[:-1] / confusion.sum(1)[:-1]
    assert found["class_accuracy"][:-1] == pytest.approx(wanted.tolist())
    assert found["class_accuracy"][-1] is None


def test_the_calibration_error_bin_by_bin():
    """Guo et al., Eq. 3: over the bins, their part of the images times |accuracy - confidence|."""
    logits, targets = (torch.cat(parts) for parts in zip(*batches(classes=4, scale=1.0), strict=True))
    confidence, predicted = (part.numpy() for part in logits.double().softmax(1).max(1))
    right, wanted = (predicted == targets.numpy()), 0.0
    for lower in range(15):
        inside = (confidence > lower / 15) & (confidence <= (lower + 1) / 15)
        if inside.any():
            wanted += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert measured(batches(classes=4, scale=1.0), 4)["ece"] == pytest.approx(100 * wanted, rel=1e-9)


def test_extreme_confidences_have_a_bin():
    sure = torch.tensor([[100.0, 0.0], [0.0, 100.0]])
    assert measured([(sure, torch.tensor([0, 1]))], 2)["ece"] == pytest.approx(0, abs=1e-12)
    assert measured([(sure, torch.tensor([1, 0]))], 2)["ece"] == pytest.approx(100)
    assert measured([(torch.zeros(2, 2), torch.tensor([0, 1]))], 2)["ece"] == pytest.approx(0, abs=1e-12)


def test_loss_and_errors_are_unchanged_to_the_bit():
    """The formulas of the records that there are: sums of a batch in float32, over batches in float64."""
    sums = torch.zeros(3, dtype=torch.float64)
    for logits, targets in batches():
        ranked = (logits.topk(5).indices != targets[:, None]).all(1).sum()
        wrong = (logits.argmax(1) != targets).sum()
        sums += torch.stack([F.cross_entropy(logits, targets, reduction="sum"), wrong, ranked])
    loss, wrong, ranked = sums.tolist()
    found = measured(batches())
    assert (found["loss"], found["error"], found["top5_error"]) == (
        loss / 150,
        100 * wrong / 150,
        100 * ranked / 150,
    )


def test_ten_classes_have_no_top_5_error():
    assert "top5_error" not in measured(batches(classes=10), 10)


def test_a_rank_without_images_sums_nothing():
    empty, other = Measurement(12, CPU), Measurement(12, CPU)
    other.add(*next(iter(batches())))
    with pytest.raises(ZeroDivisionError):
        empty.values()  # alone it has no mean; its sums have the shapes of the other's
    assert {name: s.shape for name, s in empty.sums.items()} == {n: s.shape for n, s in other.sums.items()}
    assert not any(sums.any() for sums in empty.sums.values())


OWN = """
import torch

def brier(logits, targets):
    truth = torch.nn.functional.one_hot(targets, logits.shape[1])
    return (logits.softmax(1) - truth).square().sum()

def error(logits, targets):
    return logits.sum()

def matrix(logits, targets):
    return logits

def breaks(logits, targets):
    raise RuntimeError("no such thing")

def by_image(logits, targets):
    return logits.amax(1)

def average(logits, targets):
    return torch.nn.functional.cross_entropy(logits, targets)

def number(logits, targets):
    return float(logits.sum())

def by_class(logits, targets):
    return torch.bincount(targets, minlength=logits.shape[1])
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_metrics.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_metrics"
    sys.modules.pop("own_metrics", None)


def test_a_run_writes_all_of_them(tmp_path, own):
    overrides = [*TINY, "schedule.epochs=2", f"runs_dir={tmp_path}"]
    config = compose_run([*overrides, f"evaluate.metrics=[{own}.brier]"])
    assert config.run_id == compose_run(overrides).run_id
    config.check(component_problems)
    record = run(config)
    directory = tmp_path / config.run_id
    rows = metrics_of(directory)
    names = {key.removeprefix("test_") for key in rows[-1] if key.startswith("test_")}
    assert names == {"loss", "error", "ece", "class_accuracy", "brier"}
    assert len(rows[-1]["test_class_accuracy"]) == 10
    for name in ("loss", "error", "ece", "brier"):
        assert record["metrics"][name] == sum(row[f"test_{name}"] for row in rows) / 2
    assert record["metrics"].keys() == {"loss", "error", "ece", "brier"}
    assert 0 < record["metrics"]["brier"] < 2
    found = measures({0: directory}, "test", "last_10")
    assert found["ece"][0] == pytest.approx(record["metrics"]["ece"])
    json.loads((directory / "record.json").read_text())


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("brire", "evaluate.metrics=[own_metrics.brire]: "),
        ("matrix", "evaluate.metrics: matrix: should give the sum over a batch"),
        (
            "by_image",
            "evaluate.metrics: by_image: should give the sum over a batch, not a value for each image",
        ),
        ("average", "evaluate.metrics: average: should give the sum over a batch, which is twice"),
        ("number", "evaluate.metrics: number: should give the sum over a batch, a tensor"),
        ("breaks", "evaluate.metrics: breaks: fails with logits (N, C) and targets (N,): no such thing"),
    ],
)
def test_a_wrong_function_is_reported_before_the_run(own, name, problem):
    with pytest.raises(ConfigError) as raised:
        compose_run([*TINY, f"evaluate.metrics=[{own}.{name}]"]).check(component_problems)
    (line,) = raised.value.problems
    assert line.startswith(problem)


def test_all_wrong_functions_are_reported_at_once(own):
    names = ",".join(f"{own}.{name}" for name in ("brire", "by_class", "brier", "average"))
    with pytest.raises(ConfigError) as raised:
        compose_run([*TINY, f"evaluate.metrics=[{names}]"]).check(component_problems)
    assert [line.split()[1] for line in raised.value.problems] == ["no", "average:"]


def test_a_name_that_is_taken_is_refused(own):
    assert with_further_metrics([]) == METRICS
    with pytest.raises(ConfigError, match="there is a metric error already"):
        with_further_metrics([f"{own}.error"])
