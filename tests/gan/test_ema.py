"""The running mean of a generator's weights."""

import pytest
import torch

from isda_bench.gan.ema import ExponentialMovingAverage
from isda_bench.gan.generator_file import load_generator
from isda_bench.gan.networks import Generator
from isda_bench.gan.run import run


def step(generator):
    """Changes every weight and statistic, as a step of training does."""
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter))
    generator.train()(torch.randn(4, 1, generator.arguments["num_classes"] + 100))


@pytest.mark.parametrize("decay", [0.0, 0.6, 0.98])
def test_it_is_the_weighted_mean_of_the_states_after_each_step(decay):
    generator = Generator(3, 1, 8, width=4, conditional=True)
    mean, wanted = ExponentialMovingAverage(generator, decay), None
    for n in range(1, 9):
        step(generator)
        mean.update(generator)
        newest = {name: value.double() for name, value in generator.state_dict().items()}
        weight = max(1 - decay, 1 / n)
        if wanted is None:
            wanted = newest
        wanted = {name: (1 - weight) * wanted[name] + weight * newest[name] for name in newest}
    state, newest = mean.generator.state_dict(), generator.state_dict()
    for name, value in state.items():
        if not value.is_floating_point() or decay == 0:
            assert torch.equal(value, newest[name])
        else:
            torch.testing.assert_close(value.double(), wanted[name], rtol=1e-5, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in mean.generator.parameters())


def test_a_run_stores_the_average(tmp_path, configuration):
    kept = {}
    for average in (0.0, 0.9):
        config = configuration(tmp_path / str(average), "generator=cgan", f"schedule.average={average}")
        run(config)
        kept[average] = load_generator(config.directory).state_dict()
    assert not all(torch.equal(kept[0.0][name], kept[0.9][name]) for name in kept[0.0])
