"""Batches of mixed images."""

import pytest
import torch

from isda_bench.data.base import ImageSet
from isda_bench.data.loader import Loader
from isda_bench.data.mixup import CutMix, Mixup

CPU = torch.device("cpu")
each = pytest.mark.parametrize("mixing", [Mixup(1.0), CutMix(1.0)], ids=["mixup", "cutmix"])


def batch(n: int = 16, side: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Image i is all i, of class i."""
    targets = torch.arange(n)
    return targets.float()[:, None, None, None].expand(n, 3, side, side).clone(), targets


@each
def test_the_weight_is_the_first_image_s_share_of_the_mixed_one(mixing):
    torch.manual_seed(0)
    images, targets = batch()
    for _ in range(50):
        mixed = mixing(images, targets)
        assert torch.equal(mixed.targets, targets)
        assert sorted(mixed.second.tolist()) == targets.tolist()
        assert mixed.weight.shape == () and 0 <= mixed.weight <= 1
        shares = mixed.images.double().mean((1, 2, 3))
        wanted = mixed.weight * mixed.targets + (1 - mixed.weight) * mixed.second
        torch.testing.assert_close(shares, wanted.double(), atol=1e-5, rtol=1e-5)
    assert torch.equal(images, batch()[0])


@each
@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_the_shares_are_those_of_the_beta_distribution(mixing, alpha):
    """Its mean is 1/2, its variance 1 / (4 (2 alpha + 1)); a box clipped at the border leaves more."""
    torch.manual_seed(0)
    made = type(mixing)(alpha)
    shares = torch.stack([made(*batch(2, 32)).weight for _ in range(2000)])
    if isinstance(mixing, Mixup):
        assert shares.mean() == pytest.approx(0.5, abs=0.03)
        assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.015)
    else:
        assert shares.mean() > 0.6


def test_cutmix_replaces_one_box_of_all_images():
    torch.manual_seed(1)
    images, targets = batch(side=20)
    clipped = 0
    for _ in range(50):
        mixed = CutMix(1.0)(images, targets)
        foreign = (mixed.images[:, 0] == mixed.second[:, None, None]) & (mixed.second != targets)[
            :, None, None
        ]
        for box in foreign[mixed.second != targets]:
            rows, columns = box.any(1), box.any(0)
            assert torch.equal(box, rows[:, None] & columns)
            assert (box.float().mean() - (1 - mixed.weight)).abs() < 1e-6
        clipped += bool(rows.any() and (rows[0] or rows[-1]))
    assert clipped


@each
def test_the_loader_gives_mixed_batches_and_draws_nothing_else_for_them(mixing):
    images = ImageSet(torch.zeros(10, 3, 8, 8, dtype=torch.uint8), torch.arange(10))
    torch.manual_seed(0)
    plain = [targets for _, targets in Loader(images, 4, CPU, [lambda x: x.float()], shuffle=True)]
    torch.manual_seed(0)
    mixed = list(Loader(images, 4, CPU, [lambda x: x.float()], shuffle=True, mixing=mixing))
    assert all(torch.equal(b.targets, targets) for b, targets in zip(mixed, plain, strict=True))
    assert [len(b.second) for b in mixed] == [4, 4, 2]


@each
def test_no_step_depends_on_the_random_numbers(mixing):
    """On the meta device no tensor has a value: what reads one fails."""
    mixed = mixing(torch.zeros(4, 3, 8, 8, device="meta"), torch.zeros(4, dtype=torch.int64, device="meta"))
    assert mixed.images.shape == (4, 3, 8, 8) and mixed.weight.shape == ()


@pytest.mark.parametrize("alpha", [0, -1, float("nan")])
def test_wrong_settings_are_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        CutMix(alpha=float(alpha))


def test_generated_images_are_not_mixed():
    images = ImageSet(torch.zeros(10, 3, 8, 8, dtype=torch.uint8), torch.arange(10))
    with pytest.raises(ValueError, match="generated images are not mixed"):
        Loader(images, 4, CPU, [], shuffle=True, mix=object(), mixing=Mixup())
