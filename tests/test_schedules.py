"""Table 1 and ImageNet's schedules, value by value."""

import copy
import math
from itertools import pairwise

import pytest
from omegaconf import OmegaConf
from pydantic import ValidationError
from torch.optim import SGD

from helpers.interruption import Killed, dying_after_batches
from helpers.run_files import metrics_of
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import CONF, RunConfig
from isda_bench.config.settings import TrainingRecipe
from isda_bench.data.loader import Loader
from isda_bench.training.run import run
from isda_bench.training.schedules import learning_rate, progress, rate_factor, step_factors

# epochs, batch size, weight decay, momentum, learning rate, milestones, factor
TABLE_1 = {
    "resnet": (160, 128, 1e-4, 0.9, 0.1, [80, 120], 0.1),
    "se_resnet": (200, 128, 1e-4, 0.9, 0.1, [80, 120, 160], 0.1),
    "wrn": (240, 128, 5e-4, 0.9, 0.1, [60, 120, 160, 200], 0.2),
    "densenet_bc": (300, 64, 1e-4, 0.9, 0.1, [150, 200, 250], 0.1),
    "resnext": (350, 128, 5e-4, 0.9, 0.05, [150, 225, 300], 0.1),
    "shake_shake": (1800, 64, 1e-4, 0.9, 0.1, None, None),
    "pyramidnet": (1800, 128, 1e-4, 0.9, 0.1, None, None),
    "imagenet": (120, 256, 1e-4, 0.9, 0.1, [31, 61, 91], 0.1),
    "imagenet_journal": (300, 512, 1e-4, 0.9, 0.2, None, None),
    "finetune": (30, 64, 1e-4, 0.9, 0.01, None, None),
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
    "finetune": {1: 0.005, 2: 0.01, 16: 0.01 * (0.01 + 0.99 / 2), 30: 1e-4},
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


COSINE = RESNET | {"milestones": None, "factor": None}


def factors(**changes) -> list[float]:
    """Of all epochs."""
    schedule = TrainingRecipe(**COSINE | changes)
    return [rate_factor(schedule, epoch) for epoch in range(1, schedule.epochs + 1)]


def test_the_warm_up_rises_linearly_and_the_cosine_follows_it():
    half, root = 0.5, 0.5**0.5
    assert factors(epochs=6, warmup_epochs=2) == pytest.approx(
        [0.5, 1, (1 + root) / 2, half, (1 - root) / 2, 0], rel=1e-12, abs=1e-15
    )
    assert factors(epochs=6, warmup_epochs=2, cosine_from=0) == pytest.approx(
        [0.5, 1, 1, (1 + root) / 2, half, (1 - root) / 2], rel=1e-12
    )
    schedule = TrainingRecipe(**RESNET | {"epochs": 8, "milestones": [3, 6], "warmup_epochs": 4})
    assert [rate_factor(schedule, epoch) for epoch in range(1, 9)] == pytest.approx(
        [0.25, 0.5, 0.075, 0.1, 0.1, 0.01, 0.01, 0.01], rel=1e-12
    )


def test_the_cosine_ends_at_its_floor():
    assert factors(epochs=4, floor=0.2)[1::2] == pytest.approx([0.6, 0.2], rel=1e-12)
    assert factors(epochs=4, floor=0.2, cosine_from=0)[::2] == pytest.approx([1, 0.6], rel=1e-12)


@pytest.mark.parametrize("cosine_from", [0, 1])
def test_steps_divide_an_epoch_of_the_same_curve(cosine_from):
    """An epoch of 4 steps: the curve of 4 times as many epochs of one step."""
    changes = {"floor": 0.1, "cosine_from": cosine_from}
    schedule = TrainingRecipe(**COSINE | changes | {"epochs": 5, "warmup_epochs": 2, "per_step": True})
    found = [value for epoch in range(1, 6) for value in step_factors(schedule, epoch, 4)]
    assert found == pytest.approx(factors(**changes, epochs=20, warmup_epochs=8), rel=1e-12, abs=1e-15)
    assert found[0] == pytest.approx(1 / 8) and max(found) == 1
    assert step_factors(schedule.model_copy(update={"per_step": False}), 1, 4) == []


def test_each_step_of_a_run_has_the_rate_of_its_step(tmp_path, monkeypatch):
    """Also after an interruption within an epoch; the epoch's line has the last one."""
    overrides = ["schedule=finetune", "schedule.epochs=4", "schedule.batch_size=64", f"runs_dir={tmp_path}"]
    config = compose_run([*TINY[:3], *overrides, "checkpoint.every_minutes=1e-9"])
    schedule, used = config.settings.schedule, []
    step = SGD.step

    def recording(self, *arguments):
        parameters = self.param_groups[0]["params"]
        if len(parameters) > 1 and not parameters[0].is_meta:  # not the steps of checks
            used.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(SGD, "step", recording)
    with monkeypatch.context() as patch:
        patch.setattr(Loader, "__iter__", dying_after_batches(6))
        with pytest.raises(Killed):
            run(config)
    run(config)
    wanted = [0.01 * factor for epoch in range(1, 5) for factor in step_factors(schedule, epoch, 4)]
    assert used[:6] == wanted[:6] and used[-10:] == wanted[-10:]
    assert [row["learning_rate"] for row in metrics_of(tmp_path / config.run_id)] == wanted[3::4]


def test_ids_without_the_later_keys_are_those_of_their_defaults():
    plain = compose_run(TINY)
    older = copy.deepcopy(plain.config)
    for key in ("warmup_epochs", "floor", "per_step"):
        del older["schedule"][key]
    assert RunConfig(older, plain.names).run_id == plain.run_id
    assert RunConfig(older, plain.names).settings == plain.settings
    changed = ["schedule.warmup_epochs=3", "schedule.warmup_epochs=3 schedule.per_step=true"]
    assert len({compose_run([*TINY, *line.split()]).run_id for line in changed} | {plain.run_id}) == 3


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
        ({"warmup_epochs": -1}, "warmup_epochs"),
        ({"warmup_epochs": 160}, "warmup_epochs=160: should be fewer than epochs=160"),
        ({"floor": 1.0}, "floor"),
        ({"floor": 0.1}, "floor=0.1: is for the cosine alone"),
        ({"per_step": True}, "per_step=true: is for a warm-up or the cosine"),
    ],
)
def test_wrong_schedules_are_refused(change, complaint):
    with pytest.raises(ValidationError, match=complaint):
        TrainingRecipe(**RESNET | change)
