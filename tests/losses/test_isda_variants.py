import pytest
import torch

from helpers.batches import gradients_agree, make_batch, outputs_of, value_and_gradients
from helpers.isda_reference import isda_gradients, isda_loss
from isda_bench.losses import ISDA

C, A = 5, 7


def with_covariance(variant, state, progress_one_strength=0.7):
    """ISDA in evaluation mode with this covariance as its statistics."""
    loss = ISDA(C, A, progress_one_strength, variant).double().eval()
    loss.statistics.covariance.copy_(state)
    return loss


def random_covariance(*shape):
    root = torch.randn(*shape, A, A, dtype=torch.float64)
    return root @ root.mT / A


def test_diagonal_equals_full_for_uncorrelated_features():
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)  # uncorrelated
    scale = torch.rand(C, 1, 3, dtype=torch.float64) + 0.5
    features = (corners * scale + torch.randn(C, 1, 3, dtype=torch.float64)).flatten(0, 1)
    targets = torch.arange(C).repeat_interleave(len(corners))
    batch = make_batch(len(features), C, 3)._replace(features=features, targets=targets)
    full = value_and_gradients(ISDA(C, 3, covariance="full"), batch)
    diagonal = value_and_gradients(ISDA(C, 3, covariance="diagonal"), batch)
    torch.testing.assert_close(diagonal, full, atol=1e-10, rtol=0)


@pytest.mark.parametrize("variant", ["diagonal", "shared", "identity", "full"])
def test_value_and_gradients_agree_with_the_plain_form(variant):
    if variant == "diagonal":
        state = torch.rand(C, A, dtype=torch.float64)
        covariance = torch.diag_embed(state)
    elif variant == "identity":
        covariance = torch.eye(A, dtype=torch.float64).expand(C, A, A)
    else:
        state = random_covariance(1 if variant == "shared" else C)
        covariance = state.expand(C, A, A)
    loss = ISDA(C, A, 0.7, variant).eval() if variant == "identity" else with_covariance(variant, state)
    batch = make_batch()
    got = value_and_gradients(loss, batch, 1.0)
    torch.testing.assert_close(got[0], isda_loss(*batch, covariance, 0.7), atol=1e-10, rtol=0)
    wanted = isda_gradients(*batch, covariance, 0.7)
    torch.testing.assert_close(got[1:], list(wanted), atol=1e-10, rtol=0)


def test_shared_equals_full_for_one_common_covariance():
    common, batch = random_covariance(1), make_batch()
    full, shared = with_covariance("full", common.expand(C, A, A)), with_covariance("shared", common)
    got, wanted = value_and_gradients(shared, batch), value_and_gradients(full, batch)
    torch.testing.assert_close(got, wanted, atol=1e-10, rtol=0)


def test_identity_equals_full_with_the_identity_and_keeps_nothing():
    loss, batch = ISDA(C, A, 0.7, "identity"), make_batch()
    full = with_covariance("full", torch.eye(A).expand(C, A, A))
    got, wanted = value_and_gradients(loss, batch), value_and_gradients(full, batch)
    torch.testing.assert_close(got, wanted, atol=1e-10, rtol=0)
    assert not loss.state_dict()


@pytest.mark.parametrize("variant", ["diagonal", "shared", "identity"])
def test_gradcheck(variant):
    loss, batch = ISDA(C, A, covariance=variant), make_batch(60, seed=9)
    loss(outputs_of(*batch[:3]), batch.targets, 0.0)
    assert gradients_agree(loss.eval(), make_batch(4))


@pytest.mark.parametrize("settings", [{"covariance": "lowrnk"}, {"ramp": "cosine"}, {"strength": -0.1}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        ISDA(C, A, **settings)
