"""One check of all arguments: every mistake gets one sentence that says what is expected."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers.batches import make_batch, outputs_of
from helpers.loss_settings import A, C, build, each_covariance, each_setting
from isda_bench.losses import ISDA, CrossEntropy, Outputs

BATCH = make_batch(dtype=torch.float32)
N = len(BATCH.targets)


def call(loss, progress=0.5, targets=BATCH.targets, **parts):
    """The loss of the batch with other `parts` of its outputs."""
    outputs = outputs_of(BATCH.features, BATCH.weight, BATCH.bias)._replace(**parts)
    return loss(outputs, targets, progress)


MISTAKES = {
    "narrow features": (
        {"features": BATCH.features[:, :-1]},
        r"features.*\(23, 6\).*\(N, 7\).*feature_dim",
    ),
    "flat features": ({"features": BATCH.features[:, 0]}, r"features.*\(23,\).*\(N, 7\)"),
    "whole features": ({"features": BATCH.features.long()}, "features.*int64.*floating point"),
    "fewer logits": ({"logits": torch.zeros(N, C - 1)}, r"logits.*\(23, 4\).*\(N, 5\).*num_classes"),
    "whole logits": ({"logits": torch.zeros(N, C).long()}, "logits.*int64.*floating point"),
    "other samples": ({"logits": torch.zeros(N - 1, C)}, "logits.*22 samples.*23"),
    "another head": ({"head": nn.Linear(A, C + 5)}, r"head.*\(10, 7\).*\(5, 7\)"),
    "no head": ({"head": None}, "head: NoneType.*linear layer"),
    "soft labels": (
        {"targets": torch.full((N, C), 1 / C)},
        r"targets: soft.*\(23,\) of int64.*second=",
    ),
    "float labels": ({"targets": BATCH.targets.float()}, "targets: soft labels.*int64"),
    "short integers": ({"targets": BATCH.targets.int()}, "targets: torch.int32.*int64"),
    "a column": ({"targets": BATCH.targets[:, None]}, r"targets.*\(23, 1\).*\(23,\)"),
    "too few labels": ({"targets": BATCH.targets[1:]}, r"targets.*\(22,\).*\(23,\)"),
    "progress above 1": ({"progress": 1.001}, r"progress: 1.001.*\[0, 1\]"),
    "progress below 0": ({"progress": torch.tensor(-0.25)}, r"progress: -0.25.*\[0, 1\]"),
    "progress NaN": ({"progress": float("nan")}, r"progress: nan.*\[0, 1\]"),
    "a vector of progress": ({"progress": torch.zeros(N)}, r"progress: shape \(23,\).*number"),
    "no progress": ({"progress": None}, r"progress: None.*number in \[0, 1\]"),
    "progress as text": ({"progress": "0.5"}, r"progress: '0.5'.*number in \[0, 1\]"),
    "labels in a list": ({"targets": BATCH.targets.tolist()}, "targets: list.*tensor"),
    "labels of numpy": ({"targets": BATCH.targets.numpy()}, "targets: ndarray.*tensor"),
    "features in a list": ({"features": BATCH.features.tolist()}, "features: list.*tensor"),
    "logits of numpy": ({"logits": np.zeros((N, C))}, "logits: ndarray.*tensor"),
    "an empty batch": (
        {"features": BATCH.features[:0], "logits": torch.zeros(0, C), "targets": BATCH.targets[:0]},
        "features: an empty batch.*at least one sample",
    ),
}


@each_setting
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_with_a_sentence_and_changes_no_state(path, settings, mistake):
    parts, words = MISTAKES[mistake]
    loss = build(path, **settings)
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    with pytest.raises(ValueError, match=words):
        call(loss, **parts)
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


@each_covariance
def test_isda_for_100_classes_refuses_a_head_of_10(covariance):
    loss, head, features = ISDA(100, 8, covariance=covariance), nn.Linear(8, 10), torch.randn(4, 8)
    with pytest.raises(ValueError, match=r"head.*\(10, 8\).*\(100, 8\)"):
        loss(Outputs(features, head(features), head), torch.arange(4), 0.5)


@each_setting
def test_a_head_without_bias_and_the_ends_of_the_progress_are_right(path, settings):
    head = nn.Linear(A, C, bias=False)
    for progress in (0, 1, 0.0, 1.0, torch.tensor(1.0), np.float32(1)):
        value = build(path, **settings)(
            Outputs(BATCH.features, head(BATCH.features), head), BATCH.targets, progress
        )
        assert value.isfinite()


@each_setting
def test_features_beside_their_head_are_outputs(path, settings):
    head, features = nn.Linear(A, C), BATCH.features
    values = []
    for call_with in (
        lambda loss: loss(Outputs(features, head(features), head), BATCH.targets, 0.5),
        lambda loss: loss(features, BATCH.targets, head=head, progress=0.5),
        lambda loss: loss(features, BATCH.targets, 0.5, head=head, logits=head(features)),
    ):
        torch.manual_seed(0)
        loss = build(path, **settings)
        head.zero_grad()
        call_with(loss).backward()
        values.append([head.weight.grad.clone(), head.bias.grad.clone(), *loss.state_dict().values()])
    for other in values[1:]:
        assert all(torch.equal(got, wanted) for got, wanted in zip(other, values[0], strict=True))


def test_features_need_a_head_that_fits_and_outputs_have_their_own():
    loss, head = CrossEntropy(C, A), nn.Linear(A, C)
    with pytest.raises(ValueError, match=r"head: NoneType.*linear layer"):
        loss(BATCH.features, BATCH.targets, 0.5)
    with pytest.raises(ValueError, match=r"features.*\(N, 7\)"):
        loss(BATCH.features[:, :3], BATCH.targets, 0.5, head=head)
    for parts in (BATCH.features.tolist(), (BATCH.features, head(BATCH.features)), None):
        with pytest.raises(ValueError, match=r"outputs: .*Outputs\(features, logits, head\).*a tensor"):
            loss(parts, BATCH.targets, 0.5)
    with pytest.raises(ValueError, match="head, logits: only beside features"):
        loss(Outputs(BATCH.features, head(BATCH.features), head), BATCH.targets, 0.5, head=head)


@each_setting
@pytest.mark.parametrize("training", [True, False])
def test_shapes_can_be_checked_without_values(path, settings, training):
    """On the meta device, as a network's are; `lowrank` has shapes that depend on values."""
    if settings.get("covariance") == "lowrank":
        pytest.skip("lowrank needs values")
    loss, head = build(path, **settings).to("meta").train(training), nn.Linear(A, C, device="meta")
    features = torch.empty(N, A, device="meta", requires_grad=True)
    value = loss(features, torch.zeros(N, dtype=torch.int64, device="meta"), 0.5, head=head)
    value.backward()
    assert value.shape == () and features.grad.shape == (N, A) and head.weight.grad.shape == (C, A)
