"""Batches of a set that lives on the device."""

import pytest
import torch

from isda_bench.data.base import ImageSet
from isda_bench.data.loader import Loader, Normalise

CPU = torch.device("cpu")


def numbered(n: int) -> ImageSet:
    """Image i is all i, of class i."""
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 3, 2, 2).contiguous()
    return ImageSet(images, torch.arange(n))


def epoch(loader: Loader) -> torch.Tensor:
    return torch.cat([targets for _, targets in loader])


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_image_once_an_epoch_and_a_short_last_batch(shuffle):
    loader = Loader(numbered(10), 4, CPU, [], shuffle)
    sizes = [len(targets) for _, targets in loader]
    assert sizes == [4, 4, 2]
    assert (len(loader), loader.samples) == (3, 10)
    assert sorted(epoch(loader).tolist()) == list(range(10))


def test_a_set_that_divides_has_no_empty_batch():
    assert [len(targets) for _, targets in Loader(numbered(8), 4, CPU, [], True)] == [4, 4]


def test_images_go_with_their_targets():
    for images, targets in Loader(numbered(50), 7, CPU, [], shuffle=True):
        assert torch.equal(images[:, 0, 0, 0].long(), targets)


def test_evaluation_keeps_the_order_and_draws_no_random_number():
    before = torch.get_rng_state()
    loader = Loader(numbered(10), 3, CPU, [], shuffle=False)
    assert epoch(loader).tolist() == epoch(loader).tolist() == list(range(10))
    assert torch.equal(before, torch.get_rng_state())


def test_epochs_differ_and_the_same_seed_gives_the_same_ones():
    loader = Loader(numbered(100), 10, CPU, [], shuffle=True)
    torch.manual_seed(0)
    first, second = epoch(loader), epoch(loader)
    torch.manual_seed(0)
    assert torch.equal(epoch(loader), first)
    assert torch.equal(epoch(loader), second)
    assert not torch.equal(first, second)
    assert not torch.equal(first, torch.arange(100))


def test_transforms_are_applied_in_turn_and_leave_the_set_alone():
    data = numbered(4)
    loader = Loader(data, 4, CPU, [lambda x: x.add_(1), lambda x: x * 2], shuffle=False)
    for _ in range(2):
        ((images, _),) = loader
        assert images[:, 0, 0, 0].tolist() == [2, 4, 6, 8]
    assert torch.equal(data.images, numbered(4).images)


def test_a_batch_larger_than_the_set_is_refused_and_one_as_large_is_not():
    with pytest.raises(ValueError, match="batch_size=11: larger than the set of 10 images"):
        Loader(numbered(10), 11, CPU, [], True)
    assert len(Loader(numbered(10), 10, CPU, [], True)) == 1


def test_normalisation_values():
    mean, std = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
    images = torch.tensor([[0, 0, 0], [255, 125, 7]], dtype=torch.uint8).view(2, 3, 1, 1)
    given = Normalise(mean, std, CPU)(images)
    assert given.dtype == torch.float32
    wanted = [
        [(x - m) / s for x, m, s in zip(row, mean, std, strict=True)] for row in ((0, 0, 0), (255, 125, 7))
    ]
    torch.testing.assert_close(given.view(2, 3), torch.tensor(wanted))
    assert images.dtype == torch.uint8
    assert images.flatten().tolist() == [0, 0, 0, 255, 125, 7]
