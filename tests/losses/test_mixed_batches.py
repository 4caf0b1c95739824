"""Mixed samples l x_1 + (1 - l) x_2: one update of the statistics, two weighed losses."""

import pytest
import torch
from torch import nn

from helpers.batches import make_batch, outputs_of, value_and_gradients
from helpers.loss_settings import A, C, build, each_covariance, each_setting
from isda_bench.losses import ISDA
from isda_bench.losses.center import Center
from isda_bench.losses.disturb_label import DisturbLabel

BATCH = make_batch()
SECOND = BATCH.targets.flip(0)
CANNOT = (Center, DisturbLabel)


def loss_of(loss, targets, *mixed):
    return loss(outputs_of(*BATCH[:3]), targets, 0.6, *mixed)


@each_setting
@pytest.mark.parametrize("weight", [0.8, 0.3, 1.0, 0.0])
def test_the_two_losses_are_weighed(path, settings, weight):
    loss = build(path, **settings)
    if isinstance(loss, CANNOT):
        pytest.skip("cannot be mixed")
    loss_of(loss, BATCH.targets)
    loss.eval()
    wanted = weight * loss_of(loss, BATCH.targets) + (1 - weight) * loss_of(loss, SECOND)
    for given in (weight, torch.tensor(weight), torch.tensor(weight, dtype=torch.float64)):
        torch.testing.assert_close(loss_of(loss, BATCH.targets, SECOND, given), wanted, atol=1e-6, rtol=0)
    assert loss_of(loss, BATCH.targets, SECOND, torch.tensor(weight)).dtype == torch.float64


@each_covariance
@pytest.mark.parametrize("weight", [0.8, 0.5, 0.3, torch.tensor(0.8), torch.tensor(0.3)])
def test_statistics_take_the_batch_once_with_the_dominant_target(covariance, weight):
    mixed, plain = ISDA(C, A, covariance=covariance), ISDA(C, A, covariance=covariance)
    loss_of(mixed, BATCH.targets, SECOND, weight)
    loss_of(plain, BATCH.targets if float(weight) >= 0.5 else SECOND)
    for name, value in plain.state_dict().items():
        assert torch.equal(mixed.state_dict()[name], value), name


def class_means(alpha, first, batches=200, n=64):
    """Means of two classes at 0 and 10 over mixed batches of one feature, and E[min(l, 1 - l)]."""
    torch.manual_seed(0)
    loss, head, shares = ISDA(2, 1), nn.Linear(1, 2), []
    draw = torch.distributions.Beta(alpha, alpha)
    for _ in range(batches):
        targets, order, share = torch.randint(2, (n,)), torch.randperm(n), draw.sample()
        features = 10.0 * (share * targets + (1 - share) * targets[order])[:, None]
        mixing = () if first else (targets[order], share)
        loss(features, targets, 0.0, *mixing, head=head)
        shares.append(min(share, 1 - share))
    return loss.statistics.mean.flatten(), torch.stack(shares).mean()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_bias_of_class_means_keeps_within_its_bound(alpha):
    """A partner is of the other class half of the time, so that partners' means lie 5 from either class."""
    means, share = class_means(alpha, first=False)
    bound = 5 * share + 0.2  # three standard deviations of the shares' mean and of the partners
    assert 0 < means[0] <= bound and 10 - bound <= means[1] < 10
    if alpha == 1:
        assert bound < 1.6
        with_first_target, _ = class_means(alpha, first=True)
        assert with_first_target[0] > 2.2 and with_first_target[1] < 7.8


def test_a_loss_that_cannot_be_mixed_says_so():
    for kind in CANNOT:
        assert not kind.mixable
        with pytest.raises(ValueError, match=f"{kind.__name__} cannot be mixed"):
            loss_of(kind(C, A), BATCH.targets, SECOND, 0.7)
    assert ISDA.mixable


@pytest.mark.parametrize(
    "second, weight, words",
    [
        (SECOND, None, "second, weight: a mixed batch has both"),
        (None, 0.5, "second, weight: a mixed batch has both"),
        (SECOND[1:], 0.5, r"second.*\(22,\).*\(23,\)"),
        (SECOND.float(), 0.5, "second: soft labels"),
        (SECOND + C, 0.5, rf"second: labels.*0\.\.{C - 1}"),
        (SECOND, 1.5, r"weight: 1.5.*\[0, 1\]"),
        (SECOND, torch.rand(len(SECOND)), r"weight: shape \(23,\)"),
    ],
)
def test_a_wrong_mixture_is_refused(second, weight, words):
    with pytest.raises(ValueError, match=words):
        loss_of(ISDA(C, A), BATCH.targets, second, weight)


def test_torch_compile_captures_a_mixed_batch():
    head, batch = nn.Linear(A, C), make_batch(dtype=torch.float32)
    step, twin = ISDA(C, A), ISDA(C, A)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    for weight in (torch.tensor(0.8), torch.tensor(0.3)):
        arguments = (batch.features, batch.targets, torch.tensor(0.4), SECOND, weight)
        torch.testing.assert_close(compiled(*arguments, head=head), step(*arguments, head=head))
    torch.testing.assert_close(dict(twin.named_buffers()), dict(step.named_buffers()))


def test_an_unmixed_batch_is_a_mixed_one_of_weight_one():
    one, other = ISDA(C, A), ISDA(C, A)
    leaves = [tensor.clone().requires_grad_() for tensor in BATCH[:3]]
    value = one(outputs_of(*leaves), BATCH.targets, 0.6, SECOND, 1.0)
    got = [value.detach(), *torch.autograd.grad(value, leaves)]
    torch.testing.assert_close(got, value_and_gradients(other, BATCH, 0.6), atol=1e-12, rtol=0)
