"""Generators and critics: shapes, the axis of networks that stand side by side, labels."""

import pytest
import torch

from isda_bench.gan.networks import NOISE, Critic, Generator

SIZES = [(1, 8), (3, 32)]


@pytest.mark.parametrize(("channels", "size"), SIZES)
@pytest.mark.parametrize(
    "kind", [{"per_class": True}, {"conditional": True}, {"conditional": True, "codes": 2}]
)
def test_images_of_wanted_classes(channels, size, kind):
    generator = Generator(5, channels, size, width=4, **kind).eval()
    noise, labels = torch.randn(7, NOISE, requires_grad=True), torch.tensor([4, 0, 0, 2, 4, 4, 1])
    images = generator.generate(noise, labels)
    assert images.shape == (7, channels, size, size)
    assert images.min() >= 0 and images.max() <= 255
    images.sum().backward()
    assert noise.grad.flatten(1).any(1).all()


def test_each_class_has_its_own_generator():
    """The grouped network is, class for class, a plain one with that class's weights."""
    torch.manual_seed(0)
    grouped = Generator(3, 2, 8, width=4, per_class=True)
    noise, labels = torch.randn(8, NOISE), torch.tensor([2, 0, 2, 1, 1, 2, 0, 2])
    for _ in range(3):
        grouped(torch.randn(16, 3, NOISE))  # moves BatchNorm's statistics
    grouped.eval()
    images = grouped.generate(noise, labels)
    for c in range(3):
        alone = Generator(3, 2, 8, width=4)
        state = {}
        for name, own in alone.state_dict().items():
            grouped_value = grouped.state_dict()[name]
            state[name] = grouped_value if grouped_value.ndim == 0 else grouped_value.chunk(3)[c]
            assert state[name].shape == own.shape
        alone.load_state_dict(state)
        wanted = alone.eval().generate(noise[labels == c])
        torch.testing.assert_close(images[labels == c], wanted, rtol=1e-4, atol=1e-3)


def test_critics_stand_side_by_side():
    critic = Critic(3, 1, 8, width=4, per_class=True)
    images = torch.randn(6, 3, 1, 8, 8, requires_grad=True)
    scores = critic(images).score
    assert scores.shape == (6, 3)
    scores[:, 1].sum().backward()
    assert images.grad[:, 1].any()
    assert not images.grad[:, [0, 2]].any()


def test_a_critic_has_the_heads_it_was_asked_for():
    images, labels = torch.randn(6, 1, 3, 32, 32), torch.arange(6)
    plain = Critic(10, 3, 32, width=4, conditional=True)(images, labels)
    assert (plain.score.shape, plain.classes, plain.codes) == ((6, 1), None, None)
    full = Critic(10, 3, 32, width=4, classifies=True, codes=2)(images)
    assert (full.classes.shape, full.codes.shape) == ((6, 10), (6, 2, 2))


def test_the_class_and_the_codes_change_the_image():
    generator = Generator(4, 1, 8, width=8, conditional=True, codes=2).eval()
    noise = torch.randn(1, NOISE).expand(4, -1)
    images = generator.generate(noise, torch.arange(4), torch.zeros(4, 2))
    assert len(images.flatten(1).unique(dim=0)) == 4
    labels, codes = torch.zeros(4, dtype=torch.long), torch.eye(4)[:, :2]
    assert len(generator.generate(noise, labels, codes).flatten(1).unique(dim=0)) == 3


def test_labels_that_are_not_given_are_refused():
    with pytest.raises(ValueError, match="labels=None"):
        Generator(4, 1, 8, per_class=True).generate(torch.randn(2, NOISE))
    assert Generator(4, 1, 8).generate(torch.randn(2, NOISE)).shape == (2, 1, 8, 8)


@pytest.mark.parametrize("size", [4, 12, 28, 33])
def test_a_side_that_is_no_power_of_two_is_refused(size):
    with pytest.raises(ValueError, match=f"images of {size}x{size}"):
        Generator(10, 1, size)
