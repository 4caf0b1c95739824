"""Generators learn the digits: what they make is recognised, varied, and covers the real images."""

import pytest
import torch
from hydra.utils import instantiate

from isda_bench.config.compose import compose_run
from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.gan.generator_file import load_generator
from isda_bench.gan.quality import measure_quality
from isda_bench.gan.run import run as train_generator
from isda_bench.gan.traversal import steadiness, traversal
from isda_bench.training.run import run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a classifier of the digits, good enough to judge by."""
    folder = tmp_path_factory.mktemp("runs")
    schedule = ["schedule.epochs=6", "schedule.milestones=[4]", "evaluate.every=6"]
    record = run(compose_run(["dataset=digits", "model=resnet8", *schedule, f"runs_dir={folder}"]))
    assert record["error"]["final"] < 5
    return folder


def quality(runs, *overrides):
    config = compose_run(["dataset=digits", f"runs_dir={runs}", *overrides], GeneratorConfig)
    return train_generator(config)["quality"], config.directory


@pytest.mark.slow
def test_a_short_training_learns(runs):
    """A few seconds of it: the whole goal for variety and recall, a part of it for recognition."""
    short = ["schedule.epochs=8", "schedule.batch_size=32", "schedule.average=0.9"]
    short.append("generator.learning_rate=5e-4")
    measured, directory = quality(runs, "generator=cgan", "generator.width=16", *short)
    assert measured["worst_recognition"] > 0.2
    assert measured["recognition"] > 0.6
    assert measured["worst_variety"] > 0.5
    assert measured["recall"] > 0.3
    config = compose_run(["dataset=digits"]).settings
    dataset = instantiate(config.dataset)
    (classifier,) = runs.glob("digits-resnet8-*")
    assert measured["classifier"] == classifier.name and 0 < measured["classifier_error"] < 5
    again = measure_quality(
        load_generator(directory), classifier, dataset, dataset.load(), torch.device("cpu")
    )
    assert again._asdict() == measured  # always of the same noise


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wgan", "cgan", "acgan", "infogan"])
def test_each_kind_learns_the_digits(runs, kind):
    measured, directory = quality(runs, f"generator={kind}")
    assert measured["worst_recognition"] >= 0.8
    assert measured["worst_variety"] >= 0.5
    assert measured["recall"] >= 0.3
    if kind == "infogan":
        for code in range(2):
            changes = steadiness(traversal(load_generator(directory), code, draws=20))
            assert max(map(abs, changes.values())) > 0.7
