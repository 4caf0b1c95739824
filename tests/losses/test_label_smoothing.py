import pytest
import torch

from helpers.batches import gradients_agree, make_batch, outputs_of, value_and_gradients
from isda_bench.losses import CrossEntropy
from isda_bench.losses.label_smoothing import LabelSmoothing

C, A = 5, 7


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_agrees_with_the_cross_entropy_of_soft_labels(smoothing):
    batch = make_batch()
    log_p = outputs_of(*batch[:3]).logits.log_softmax(1)
    labels = torch.full((len(batch.targets), C), smoothing / C, dtype=torch.float64)
    labels[torch.arange(len(labels)), batch.targets] += 1 - smoothing
    value = value_and_gradients(LabelSmoothing(C, A, smoothing), batch)[0]
    torch.testing.assert_close(value, -(labels * log_p).sum(1).mean(), atol=1e-12, rtol=0)


def test_smoothing_zero_is_cross_entropy_to_the_bit():
    batch = make_batch()
    got, wanted = (
        value_and_gradients(loss, batch) for loss in (LabelSmoothing(C, A, 0.0), CrossEntropy(C, A))
    )
    assert all(torch.equal(g, w) for g, w in zip(got, wanted, strict=True))


def test_gradcheck():
    assert gradients_agree(LabelSmoothing(C, A), make_batch(4))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_a_wrong_smoothing_is_refused(smoothing):
    with pytest.raises(ValueError, match="smoothing"):
        LabelSmoothing(C, A, smoothing=smoothing)
