"""Table 1 and ImageNet's schedules, value by value."""

import math
from itertools import pairwise

import pytest
from omegaconf import OmegaConf
from pydantic import ValidationError

from isda_bench.config.run_config import CONF
from isda_bench.config.settings import TrainingRecipe
from isda_bench.training.schedules import learning_rate, progress, rate_factor

# epochs, batch size, weight decay, momentum, learning rate, milestones, factor
TABLE_1 = {
    "resnet": (160, 128, 1e-4, 0.9, 0.1, [80, 120], 0.1),
    "se_resnet": (200, 128, 1e-4, 0.9, 0.1, [80, 120, 160], 0.1),
    "wrn": (240, 128, 5e-4, 0.9, 0.1, [60, 120, 160, 200], 0.2),
    "densenet_bc": (300, 64, 1e-4, 0.9, 0.1, [150, 200, 250], 0.1),
    "resnext": (350, 128, 5e-4, 0.9, 0.05, [150, 225, 300], 0.1),
    "shake_shake": (1800, 64, 1e-4, 0.9, 0.1, None, None),
    "pyramidnet": (1800, 128, 1e-4, 0.9, 0.1, None, None),
    "imagenet_journal": (300, 512, 1e-4, 0.9, 0.2, None, None),
    "imagenet": (120, 256, 1e-4, 0.9, 0.1, [31, 61, 91], 0.1),
}
RATES = {
    "resnet": {1: 0.1, 79: 0.1, 80: 0.01, 119: 0.01, 120: 0.001, 160: 0.001},
    "se_resnet": {1: 0.1, 79: 0.1, 80: 0.01, 119: 0.01, 120: 1e-3, 159: 1e-3, 160: 1e-4, 200: 1e-4},
    "wrn": {
        59: 0.1,
        60: 0.02,
        119: 0.02,
        120: 4e-3,
        159: 4e-3,
        160: 8e-4,
        199: 8e-4,
        200: 1.6e-4,
        240: 1.6e-4,
    },
    "densenet_bc": {149: 0.1, 150: 0.01, 199: 0.01, 200: 1e-3, 249: 1e-3, 250: 1e-4, 300: 1e-4},
    "resnext": {149: 0.05, 150: 5e-3, 224: 5e-3, 225: 5e-4, 299: 5e-4, 300: 5e-5, 350: 5e-5},
    "shake_shake": {1: 0.05 * (1 + math.cos(math.pi / 1800)), 600: 0.075, 900: 0.05, 1200: 0.025, 1800: 0.0},
    "pyramidnet": {1: 0.05 * (1 + math.cos(math.pi / 1800)), 600: 0.075, 900: 0.05, 1200: 0.025, 1800: 0.0},
    "imagenet_journal": {
        1: 0.2,
        101: 0.15,
        151: 0.1,
        201: 0.05,
        300: 0.1 * (1 + math.cos(math.pi * 299 / 300)),
    },
    "imagenet": {1: 0.1, 30: 0.1, 31: 0.01, 60: 0.01, 61: 1e-3, 90: 1e-3, 91: 1e-4, 120: 1e-4},
}
RESNET = {
    "epochs": 160,
    "batch_size": 128,
    "learning_rate": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "milestones": [80],
    "factor": 0.1,
}


def load(name: str) -> TrainingRecipe:
    return TrainingRecipe.model_validate(
        OmegaConf.to_container(OmegaConf.load(CONF / "schedule" / f"{name}.yaml"))
    )


def test_all_are_there():
    assert {path.stem for path in (CONF / "schedule").glob("*.yaml")} == set(TABLE_1)


@pytest.mark.parametrize("name", TABLE_1)
def test_numbers_of_table_1(name):
    s = load(name)
    given = (s.epochs, s.batch_size, s.weight_decay, s.momentum, s.learning_rate, s.milestones, s.factor)
    assert given == TABLE_1[name]


@pytest.mark.parametrize("name", TABLE_1)
def test_learning_rate_of_each_side_of_each_step(name):
    schedule = load(name)
    assert {epoch: learning_rate(schedule, epoch) for epoch in RATES[name]} == pytest.approx(
        RATES[name], rel=1e-12, abs=1e-15
    )


def test_the_cosine_ends_at_exactly_zero_and_always_falls():
    schedule = load("pyramidnet")
    rates = [learning_rate(schedule, epoch) for epoch in range(1, 1801)]
    assert rates[-1] == 0.0
    assert all(later < earlier for earlier, later in pairwise(rates))


def test_an_epoch_changed_alone_keeps_the_milestones():
    schedule = TrainingRecipe(**RESNET | {"epochs": 5})
    assert [rate_factor(schedule, epoch) for epoch in (1, 5)] == [1, 1]


def test_progress_is_zero_at_the_first_step_and_never_one():
    assert [progress(step, 4) for step in range(4)] == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": 2.0}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"batch_size": -1}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": math.inf}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"weight_decay": -1e-4}, "weight_decay"),
        ({"factor": 0.0}, "factor"),
        ({"factor": 1.5}, "factor"),
        ({"factor": None}, "milestones and factor belong together"),
        ({"milestones": None}, "milestones and factor belong together"),
        ({"milestones": [80, 80]}, "should rise"),
        ({"milestones": [120, 80]}, "should rise"),
        ({"milestones": [0]}, "milestones.0"),
        ({"cosine_from": 0}, "cosine_from=0: is for the cosine alone"),
        ({"cosine_from": 2, "milestones": None, "factor": None}, "cosine_from"),
        ({"warmup": 5}, "warmup"),
    ],
)
def test_wrong_schedules_are_refused(change, complaint):
    with pytest.raises(ValidationError, match=complaint):
        TrainingRecipe(**RESNET | change)
