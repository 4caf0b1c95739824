import pytest

from isda_bench.config.compose import compose_run
from isda_bench.config.generator_config import GeneratorConfig

SMALL = [
    "dataset=digits",
    "schedule.epochs=3",
    "schedule.steps=4",
    "schedule.batch_size=8",
    "generator.width=4",
]


@pytest.fixture(scope="session")
def configuration():
    """The configuration of a small generator's training."""

    def make(runs, *overrides):
        return compose_run([*SMALL, f"runs_dir={runs}", *overrides], GeneratorConfig)

    return make
