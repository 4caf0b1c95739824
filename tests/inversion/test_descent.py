"""The objective, its gradient and the descent of supplement C."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from helpers.searches import networks, search
from isda_bench.data.digits import Digits
from isda_bench.data.loader import Normalise
from isda_bench.inversion.descent import STEPS, FixedClasses, descend, iteration_of, standardised, start_at
from isda_bench.inversion.fuse_batchnorm import fused
from isda_bench.inversion.setup import InversionOptions
from isda_bench.models.base import Classifier

STEP_ONE, STEP_TWO = STEPS
KINDS = {
    "one a class": {"per_class": True},
    "conditional": {"conditional": True},
    "without classes": {},
    "with codes": {"conditional": True, "codes": 2},
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_fixed_classes_equal_the_output_of_generate(kind):
    _, generator = networks(**kind)
    labels, noise = torch.tensor([3, 3, 0, 9, 3]), torch.randn(5, 100)
    codes = torch.rand(5, generator.codes)
    images = FixedClasses(generator, labels, codes)(noise)
    wanted = generator.generate(noise, labels, codes)
    assert torch.allclose((images + 1) * 127.5, wanted, atol=1e-3)


def test_the_objective_is_that_of_equation_7():
    labels = torch.tensor([1, 4, 4])
    searched = search(labels, eta=0.3, per_class=True)
    z = 5 + 3 * torch.randn(3, 100)
    zhat = torch.stack([(v - v.mean()) / v.std(correction=0) for v in z])
    pixels = searched.images.generator.generate(zhat, labels)
    image = Normalise(Digits.mean, Digits.std, z.device)(pixels)
    features = (searched.classifier.features(image) - searched.wanted_features).square().sum(1)
    distances = (image - searched.wanted_images).square().sum((1, 2, 3))
    objective, traced = searched(z)
    assert objective.item() == pytest.approx((features + 0.3 * distances).sum().item(), rel=1e-4)
    assert torch.allclose(traced[:2], torch.stack([features, distances]), rtol=1e-4)


class Branched(Classifier):
    """A normalisation that can be fused, and one whose convolution's output something else takes too."""

    def __init__(self):
        super().__init__()
        self.first, self.second = (torch.nn.Conv2d(channels, 4, 3) for channels in (1, 4))
        self.norms = torch.nn.ModuleList([torch.nn.BatchNorm2d(4) for _ in range(2)])
        for norm in self.norms:
            torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
        self.head = torch.nn.Linear(4, 10)

    def features(self, images):
        inner = self.second(self.norms[0](self.first(images)).relu())
        return (self.norms[1](inner) + inner.tanh()).mean((2, 3))


def test_a_fused_classifier_is_the_same_function():
    classifier, _ = networks(per_class=True)
    images = torch.randn(4, 1, 8, 8)
    whole = fused(classifier, images)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in whole.modules())
    torch.testing.assert_close(whole.features(images), classifier.features(images), rtol=1e-4, atol=1e-4)
    branched = Branched().eval()
    part = fused(branched, images)
    assert [isinstance(norm, torch.nn.BatchNorm2d) for norm in part.norms] == [False, True]
    torch.testing.assert_close(part.features(images), branched.features(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_gradients_are_those_of_finite_differences(eta):
    searched = search(torch.tensor([2, 7]), eta, per_class=True).double()
    z = torch.randn(2, 100, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(searched(z)[0], z)
    direction = torch.randn(4, 2, 100, dtype=torch.float64)
    h = 1e-6
    for d in direction:
        with torch.no_grad():
            difference = (searched(z + h * d)[0] - searched(z - h * d)[0]) / (2 * h)
        assert difference.item() == pytest.approx((slope * d).sum().item(), rel=1e-5)


def test_the_descent_is_torchs_sgd_with_its_milestones():
    searched = search(torch.arange(3)).double()
    descent = STEP_ONE._replace(iterations=12)
    z = torch.nn.Parameter(torch.randn(3, 100, dtype=torch.float64))
    *_, point = descend(iteration_of(searched, descent), descent, start_at(z.detach().clone()))
    sgd = torch.optim.SGD([z], lr=10.0, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(sgd, [3, 6, 9], 0.1)
    for _ in range(12):
        sgd.zero_grad()
        searched(z)[0].backward()
        sgd.step()
        schedule.step()
    assert torch.allclose(point.z, z, rtol=1e-9)
    assert not torch.allclose(point.z, start_at(z).velocity)


def test_the_supplements_numbers_are_the_defaults():
    assert [(d.learning_rate, d.iterations, d.momentum, d.weight_decay) for d in STEPS] == [
        (10, 10_000, 0.9, 1e-4),
        (1, 10_000, 0.9, 1e-4),
    ]
    stages = [STEP_ONE.stage(i) for i in (0, 2499, 2500, 4999, 5000, 7499, 7500, 9999)]
    assert stages == [0, 0, 1, 1, 2, 2, 3, 3]
    assert STEP_ONE.rates() == pytest.approx([10, 1, 0.1, 0.01])
    options = InversionOptions(run="r", generator="g")
    assert (options.iterations, options.eta) == (10_000, 1)


def test_zhat_is_standardised_even_far_from_the_origin():
    for z in (torch.randn(4, 100), 1e-6 * torch.randn(4, 100), 50 + 1e3 * torch.randn(4, 100)):
        zhat = standardised(z).double()
        assert zhat.mean(1).abs().max() < 1e-5
        assert (zhat.std(1, correction=0) - 1).abs().max() < 1e-5


def test_the_supplements_rates_bring_an_image_of_the_generator_nearer():
    searched = search(torch.arange(4), per_class=True)
    descent = STEP_ONE._replace(iterations=300)
    *_, point = descend(iteration_of(searched, descent), descent, start_at(torch.randn(4, 100)))
    medians = point.trace[:, :2].quantile(0.5, dim=2)
    assert medians[-1].sum() < medians[0].sum() / 2
    assert point.trace[:, 2:].max() < 1e-5


def test_compiled_it_is_captured_once_with_the_same_numbers(monkeypatch):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiler = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, **settings: compiler(function, backend=counter, **settings)
    )
    searched = search(torch.arange(3), per_class=True).double()
    descent = STEP_ONE._replace(iterations=8)
    z = torch.randn(3, 100, dtype=torch.float64)
    *_, plain = descend(iteration_of(searched, descent), descent, start_at(z))
    iteration = iteration_of(searched, descent, compiled=True)
    iteration(z, torch.zeros_like(z), torch.tensor(1.0, dtype=torch.float64))
    captured = counter.frame_count
    *_, compiled = descend(iteration, descent, start_at(z))
    assert counter.frame_count == captured, "captured anew"
    assert torch.allclose(plain.z, compiled.z, rtol=1e-9)
    assert torch.allclose(plain.trace[:, :2], compiled.trace[:, :2], rtol=1e-9)
