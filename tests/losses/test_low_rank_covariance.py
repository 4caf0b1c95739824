import pytest
import torch

from helpers.batches import gradients_agree, make_batch, outputs_of, value_and_gradients
from helpers.isda_reference import closed_form, isda_gradients, isda_loss
from isda_bench.losses import ISDA, low_rank_covariance
from isda_bench.losses.class_statistics import ClassStatistics
from isda_bench.losses.low_rank_covariance import LowRankCovariance

C, A = 5, 12


def whole(statistics):
    """Sigma of every class, (C, A, A)."""
    return statistics.directions.mT @ statistics.directions + torch.diag_embed(statistics.variances)


def features_of_rank(rank, sizes, dtype=torch.float64, decay=0.7):
    """Batches whose classes differ from their means in `rank` directions; the last class never comes."""
    basis = torch.randn(C, rank, A, dtype=dtype) * (decay ** torch.arange(rank, dtype=dtype))[:, None]
    center = torch.randn(C, A, dtype=dtype)
    for n in sizes:
        targets = torch.randint(C - 1, (n,))
        noise = torch.randn(n, 1, rank, dtype=dtype)
        yield center[targets] + (noise @ basis[targets])[:, 0], targets


@pytest.mark.parametrize("rank", [4, 7, A])
@pytest.mark.parametrize("sizes", [[60], [1] * 30, [16, 1, 30, 3]])
def test_is_exact_where_the_rank_suffices(rank, sizes):
    torch.manual_seed(rank)
    low, batches = LowRankCovariance(C, A, rank=rank), list(features_of_rank(4, sizes))
    for batch in batches:
        low.update(*batch)
    features, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    count, mean, covariance = closed_form(features, targets, C)
    assert torch.equal(low.count, count)
    torch.testing.assert_close(low.mean, mean, atol=1e-10, rtol=0)
    torch.testing.assert_close(whole(low), covariance, atol=1e-10, rtol=0)
    assert low.bound.max() < 1e-10


@pytest.mark.parametrize("decay", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("rank", [1, 3, 8])
def test_the_variances_are_exact_and_the_error_within_the_bound(rank, decay):
    torch.manual_seed(0)
    low, full = LowRankCovariance(C, A, rank=rank), ClassStatistics(C, A)
    for batch in features_of_rank(A, [20] * 30, decay=decay):
        low.update(*batch)
        full.update(*batch)
    error = whole(low) - full.covariance
    torch.testing.assert_close(error.diagonal(dim1=1, dim2=2), torch.zeros(C, A).double(), atol=1e-10, rtol=0)
    norms = torch.linalg.matrix_norm(error, 2)
    assert (norms <= low.bound + 1e-12).all() and (norms[:-1] > 0).all()
    diagonal = torch.diag_embed(full.covariance.diagonal(dim1=1, dim2=2))
    assert torch.linalg.matrix_norm(error).sum() < torch.linalg.matrix_norm(diagonal - full.covariance).sum()


def test_an_absent_class_keeps_its_values_to_the_bit():
    low = LowRankCovariance(C, A, rank=3)
    low.update(torch.randn(40, A), torch.arange(40) % C)
    before = {name: value.clone() for name, value in low.state_dict().items()}
    low.update(torch.randn(20, A), torch.randint(3, (20,)))
    for name, value in low.state_dict().items():
        assert torch.equal(value[3:], before[name][3:]), name
    assert not torch.equal(low.directions[:3], before["directions"][:3])


def test_classes_in_portions_give_the_same(monkeypatch):
    at_once, portions = LowRankCovariance(C, A, rank=3), LowRankCovariance(C, A, rank=3)
    for batch in features_of_rank(A, [30, 1, 17]):
        at_once.update(*batch)
        with monkeypatch.context() as patch:
            patch.setattr(low_rank_covariance, "CLASSES_AT_ONCE", 2)
            portions.update(*batch)
    torch.testing.assert_close(whole(portions), whole(at_once), atol=1e-12, rtol=0)


@pytest.mark.parametrize("n", [C - 2, 4 * C])
def test_value_and_gradients_agree_with_the_plain_form(n):
    """Fewer samples than classes, and more."""
    loss = ISDA(C, A, 0.7, "lowrank", rank=3).double().eval()
    for name in ("directions", "variances"):
        getattr(loss.statistics, name).uniform_(0, 1)
    batch = make_batch(n, C, A)
    got = value_and_gradients(loss, batch, 1.0)
    covariance = whole(loss.statistics)
    torch.testing.assert_close(got[0], isda_loss(*batch, covariance, 0.7), atol=1e-10, rtol=0)
    wanted = isda_gradients(*batch, covariance, 0.7)
    torch.testing.assert_close(got[1:], list(wanted), atol=1e-10, rtol=0)
    assert gradients_agree(loss, make_batch(4, C, A))


def test_float32_is_as_good_as_the_full_one():
    torch.manual_seed(0)
    low, full = LowRankCovariance(C, A, rank=A), ClassStatistics(C, A)
    for batch in features_of_rank(A, [20] * 200, torch.float32):
        low.update(*batch)
        full.update(*batch)
    assert low.directions.dtype == torch.float32
    torch.testing.assert_close(whole(low), full.covariance, atol=1e-4, rtol=1e-4)


def test_a_thousand_classes_fit():
    state = LowRankCovariance(1000, 2048, rank=16).state_dict()
    assert sum(value.nbytes for value in state.values()) < 150e6


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"rank": 4}, "rank=4.*only for covariance=lowrank"),
        ({"covariance": "lowrank", "rank": A + 1}, f"rank={A + 1}.*{A} dimensions"),
        ({"covariance": "lowrank", "rank": 0}, "rank"),
        ({"num_classes": 1000, "feature_dim": 2048}, "16.8 GB.*diagonal.*lowrank"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words), torch.device("meta"):
        ISDA(**{"num_classes": C, "feature_dim": A} | settings)


def test_training_moves_and_evaluation_keeps():
    loss, batch = ISDA(C, A, covariance="lowrank"), make_batch(30, C, A, dtype=torch.float32)
    assert loss.statistics.rank == A  # of the default 16
    loss(outputs_of(*batch[:3]), batch.targets, 0.5)
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    loss.eval()(outputs_of(*batch[:3]), batch.targets, 0.5)
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())
