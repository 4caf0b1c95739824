import pytest
import torch
from torch.nn import functional as F

from helpers.batches import gradients_agree, make_batch, outputs_of, value_and_gradients
from isda_bench.losses import CrossEntropy
from isda_bench.losses.disturb_label import DisturbLabel

C, A = 5, 7


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.6, 1.0])
def test_the_true_class_stays_with_the_paper_s_probability(rate):
    """Multinoulli of the paper: p_y = 1 - rate (C - 1) / C, the others rate / C each."""
    torch.manual_seed(0)
    targets = torch.full((200_000,), 3)
    shares = DisturbLabel(C, A, rate).disturb(targets).bincount(minlength=C) / len(targets)
    wanted = torch.full((C,), rate / C)
    wanted[3] = 1 - rate * (C - 1) / C
    torch.testing.assert_close(shares, wanted, atol=0.004, rtol=0)  # more than four standard deviations


def test_the_loss_is_the_cross_entropy_of_the_disturbed_labels():
    loss, batch = DisturbLabel(C, A, 0.5), make_batch()
    torch.manual_seed(1)
    value = value_and_gradients(loss, batch)[0]
    torch.manual_seed(1)
    disturbed = loss.disturb(batch.targets)
    assert not torch.equal(disturbed, batch.targets)
    assert value == F.cross_entropy(outputs_of(*batch[:3]).logits, disturbed)


@pytest.mark.parametrize("loss", [DisturbLabel(C, A, 0.0), DisturbLabel(C, A, 0.9).eval()])
def test_rate_zero_and_evaluation_are_cross_entropy(loss):
    batch = make_batch()
    got, wanted = value_and_gradients(loss, batch), value_and_gradients(CrossEntropy(C, A), batch)
    assert all(torch.equal(g, w) for g, w in zip(got, wanted, strict=True))


def test_gradcheck():
    assert gradients_agree(DisturbLabel(C, A).eval(), make_batch(4))


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_wrong_rate_is_refused(rate):
    with pytest.raises(ValueError, match="rate"):
        DisturbLabel(C, A, rate=rate)
