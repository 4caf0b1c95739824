"""What is minimised, against the formulas written out in NumPy-like float64, and how."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Adam, RMSprop

from isda_bench.gan.networks import Generator
from isda_bench.gan.objectives import ACGAN, CGAN, WGAN, InfoGAN, gaussian_nll

N, C = 6, 4


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def cross_entropy(logits, labels):
    return torch.stack([logits[i].exp().sum().log() - logits[i, y] for i, y in enumerate(labels)]).mean()


@pytest.fixture
def judged(monkeypatch):
    """Makes a GAN in float64 that keeps what its critic said of which images, and what was drawn."""

    def make(kind, **arguments):
        torch.manual_seed(0)
        gan = kind(C, 1, 8, width=4, dropout=0.0, **arguments) if kind is not WGAN else kind(C, 1, 8, width=4)
        gan.double()
        for module in gan.critic.modules():  # larger than DCGAN's weights: terms that differ
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.normal_(module.weight, 0, 0.3)
        said, drawn = [], []
        gan.critic.register_forward_hook(lambda _, given, out: said.append((*given, out)))
        if kind is not WGAN:
            draw = gan.draw
            monkeypatch.setattr(gan, "draw", lambda n: drawn.append(draw(n)) or drawn[-1])
        monkeypatch.setattr(gan, "noise", lambda n: torch.randn(n, gan.generator.groups, 100).double())
        return gan, said, drawn

    return make


def real(groups=1):
    return torch.rand(N, groups, 1, 8, 8).double() * 2 - 1, torch.arange(N) % C


def test_wgan(judged):
    gan, said, _ = judged(WGAN)
    images, labels = real(C)
    loss = gan.critic_loss(images, labels)
    (_, fake), (given, true) = said
    assert given is images
    torch.testing.assert_close(loss, fake.score.mean(0) - true.score.mean(0))
    assert loss.shape == (C,)
    said.clear()
    loss = gan.generator_loss(N)
    torch.testing.assert_close(loss, -said[0][-1].score.mean(0))
    loss.sum().backward()
    assert all(parameter.grad.any() for parameter in gan.generator.parameters())


def test_wgan_clips_every_weight_of_the_critic_and_none_of_the_generator():
    gan = WGAN(C, 1, 8, width=4, clip=0.005)
    before = [parameter.clone() for parameter in gan.generator.parameters()]
    gan.after_critic_step()
    assert all(parameter.abs().max() <= 0.005 for parameter in gan.critic.parameters())
    assert all(map(torch.equal, before, gan.generator.parameters()))


@pytest.mark.parametrize("kind", [CGAN, ACGAN, InfoGAN])
def test_the_labelled_kinds(judged, kind):
    gan, said, drawn = judged(kind)
    images, labels = real()
    loss = gan.critic_loss(images, labels)
    fakes, wanted, codes = drawn.pop()
    by_images = {id(given[0]): given[-1] for given in said}
    true, fake = by_images[id(images)], by_images[id(fakes)]
    expected = -sigmoid(true.score).log().mean() - (1 - sigmoid(fake.score)).log().mean()
    if kind is CGAN:
        assert {id(images): labels, id(fakes): wanted}.keys() == by_images.keys()
        assert all(torch.equal(given[1], labels if given[0] is images else wanted) for given in said)
    else:
        expected = expected + cross_entropy(true.classes, labels) + cross_entropy(fake.classes, wanted)
    if kind is InfoGAN:
        expected = expected + gan.code_weight * minus_log_density(fake.codes, codes)
    torch.testing.assert_close(loss, expected[None])
    loss.sum().backward()
    assert all(parameter.grad is None for parameter in gan.generator.parameters())

    said.clear()
    loss = gan.generator_loss(N)
    (*_, fake), (_, wanted, codes) = said[0], drawn.pop()
    expected = -sigmoid(fake.score).log().mean()
    if kind is not CGAN:
        expected = expected + cross_entropy(fake.classes, wanted)
    if kind is InfoGAN:
        expected = expected + gan.code_weight * minus_log_density(fake.codes, codes)
    torch.testing.assert_close(loss, expected[None])
    loss.sum().backward()
    assert all(parameter.grad.any() for parameter in gan.generator.parameters())


def minus_log_density(posterior, codes):
    """Of normal densities, without log sqrt(2 pi)."""
    mean, log_variance = posterior[:, 0], posterior[:, 1]
    return ((codes - mean) ** 2 / (2 * log_variance.exp()) + log_variance / 2).sum(1).mean()


def test_the_papers_optimizers():
    for optimizer in WGAN(C, 1, 8, width=4).optimizers():
        assert isinstance(optimizer, RMSprop)
        assert optimizer.param_groups[0]["lr"] == 5e-5
    rates = {CGAN: (2e-4, 2e-4), ACGAN: (2e-4, 2e-4), InfoGAN: (2e-4, 1e-3)}
    for kind, wanted in rates.items():
        optimizers = kind(C, 1, 8, width=4).optimizers()
        assert all(isinstance(optimizer, Adam) for optimizer in optimizers)
        assert tuple(optimizer.param_groups[0]["lr"] for optimizer in optimizers) == wanted
        assert all(optimizer.param_groups[0]["betas"] == (0.5, 0.999) for optimizer in optimizers)


def test_labels_are_drawn_uniformly_and_noise_is_standard_normal():
    gan = CGAN(C, 1, 8, width=4)
    torch.manual_seed(0)
    counts = torch.bincount(gan.labels(8000), minlength=C)
    assert (counts / 8000 - 1 / C).abs().max() < 0.02
    noise = gan.noise(1000)
    assert noise.shape == (1000, 1, 100)
    assert noise.mean().abs() < 0.01 and (noise.std() - 1).abs() < 0.01


def test_wgan_for_all_classes_has_no_labels():
    gan = WGAN(C, 1, 8, width=4, per_class=False)
    images, labels = real()
    assert gan.critic_loss(images.float(), labels).shape == (1,)
    assert isinstance(gan.generator, Generator) and not gan.generator.labelled


@pytest.mark.parametrize("scale", [1.0, 1e-8])
def test_the_density_of_the_codes_is_torch_s_to_the_bit(scale):
    """Without torch's look at the variances, for which the host would wait for a GPU."""
    torch.manual_seed(0)
    mean, values, variance = torch.randn(N, 2), torch.rand(N, 2), scale * torch.rand(N, 2)
    rows = []
    for density in (gaussian_nll, F.gaussian_nll_loss):
        inputs = mean.clone().requires_grad_(), variance.clone().requires_grad_()
        loss = density(inputs[0], values, inputs[1])
        loss.backward()
        rows.append([loss.detach(), *(value.grad for value in inputs)])
    assert all(torch.equal(*pair) for pair in zip(*rows, strict=True))
