"""The optimizer group: what is built, what is refused, and that captured steps are the eager ones."""

import copy

import pytest
import torch
from torch.optim import SGD, AdamW

from helpers.forked import run_forked
from helpers.interruption import Killed, dying_after_batches
from helpers.run_files import metrics_of, same_weights
from helpers.tiny import TINY
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_run
from isda_bench.config.optimizer_choice import OptimizerChoice
from isda_bench.config.run_config import RunConfig, identity, settings_of
from isda_bench.data.loader import Loader
from isda_bench.errors import ConfigError
from isda_bench.losses import CrossEntropy
from isda_bench.losses.center import Center
from isda_bench.models.resnet import ResNet
from isda_bench.training.optimizers import make_optimizer
from isda_bench.training.run import run
from isda_bench.training.state import load_optimizer
from isda_bench.training.step import TrainingModule


def chosen(*overrides, **section):
    """A tiny run's configuration, its optimizer's section replaced if one is given."""
    config = compose_run([*TINY, *overrides])
    if section:
        content = copy.deepcopy(config.config)
        content["optimizer"] = {key.replace("target", "_target_"): value for key, value in section.items()}
        config = RunConfig(content, config.names)
    return config


def built(config, loss=CrossEntropy):
    module = TrainingModule(ResNet(10, depth=8), loss(10, 64))
    return make_optimizer(module, config.settings.schedule, OptimizerChoice.of(config.settings.optimizer))


def test_every_parameter_of_the_network_is_trained_as_table_1_says():
    """Nesterov, and weight decay on BatchNorm and biases too."""
    module = TrainingModule(ResNet(10, depth=8), CrossEntropy(10, 64))
    schedule = compose_run(["model=wrn28_10"]).settings.schedule
    (group,) = make_optimizer(module, schedule).param_groups
    assert len(group["params"]) == len(list(module.model.parameters()))
    wanted = {
        "lr": 0.1,
        "initial_lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "nesterov": True,
        "dampening": 0,
    }
    assert {key: group[key] for key in wanted} == wanted


def test_the_shipped_choices_take_rate_and_decay_from_the_schedule():
    lines = ["schedule.learning_rate=0.002", "schedule.weight_decay=0.05", "schedule.momentum=0"]
    adamw, lion = built(chosen("optimizer=adamw", *lines)), built(chosen("optimizer=lion", *lines))
    assert type(adamw) is AdamW and type(lion).__module__.startswith("timm.")
    for optimizer, betas in ((adamw, (0.9, 0.999)), (lion, (0.9, 0.99))):
        (group,) = optimizer.param_groups
        assert (group["lr"], group["weight_decay"], tuple(group["betas"])) == (0.002, 0.05, betas)


def test_sgd_without_nesterov_and_without_momentum():
    assert built(chosen("optimizer.nesterov=false")).param_groups[0]["nesterov"] is False
    for momentum in ("0", "0.0"):
        group = built(chosen(f"schedule.momentum={momentum}")).param_groups[0]
        assert (group["momentum"], group["nesterov"]) == (0, False)


def test_ids_without_an_optimizer_are_those_of_sgd():
    plain = chosen()
    assert "optimizer" not in identity(plain.config)
    assert identity(plain.config)["generator"] == {}  # it always was one without keys
    assert "cosine_from" not in identity(compose_run(["schedule=shake_shake"]).config)["schedule"]
    older = {key: value for key, value in plain.config.items() if key != "optimizer"}
    assert RunConfig(older, plain.names).run_id == plain.run_id
    assert OptimizerChoice.of(settings_of(older).optimizer) == OptimizerChoice()
    assert type(built(RunConfig(older, plain.names))) is SGD
    others = [chosen("optimizer=adamw"), chosen("optimizer=lion"), chosen("optimizer.nesterov=false")]
    assert len({config.run_id for config in (plain, *others)}) == 4
    assert identity(others[2].config)["optimizer"] == {"nesterov": False}
    of_tables = {**older, "optimizer": {"nesterov": False}}  # as the key was first
    assert RunConfig(of_tables, plain.names).run_id == others[2].run_id
    assert not OptimizerChoice.of(settings_of(of_tables).optimizer).settings["nesterov"]
    with_and_without = (chosen(target="timm.optim.SGDW"), chosen(target="timm.optim.SGDW", nesterov=True))
    assert len({config.run_id for config in with_and_without}) == 2


@pytest.mark.parametrize(
    "target", ["torch.optim.RMSprop", "torch.optim.NAdam", "torch.optim.Adagrad", "timm.optim.Lamb"]
)
def test_any_class_of_torch_or_timm_is_taken(target):
    config = chosen(target=target)
    config.check(component_problems)
    optimizer = built(config)
    assert optimizer.param_groups[0].get("momentum", 0.9) == 0.9
    assert type(optimizer).__name__ == target.rpartition(".")[2]


@pytest.mark.parametrize(
    ("section", "overrides", "problem"),
    [
        ({"target": "builtins.dict"}, [], "optimizer._target_=builtins.dict: should make a Optimizer"),
        ({"target": "os.system"}, [], "optimizer._target_=os.system: "),
        ({"target": "torch.optim.Nothing"}, [], "optimizer._target_=torch.optim.Nothing: "),
        ({"target": "torch.optim.AdamW", "betas": ["${seed}"]}, [], "optimizer: betas.0: refused"),
        ({"target": "torch.optim.AdamW", "nesterov": True}, [], "optimizer.nesterov: no such key"),
        ({"target": "torch.optim.AdamW", "lr": 1.0}, [], "optimizer.lr: schedule.learning_rate sets it"),
        ({"target": "torch.optim.AdamW", "betas": [0.9, 2.0]}, [], "optimizer: Invalid beta"),
        ({"target": "torch.optim.AdamW", "betas": "fast"}, [], "optimizer"),
        ({"target": "torch.optim.LBFGS"}, ["schedule.weight_decay=0"], "optimizer: LBFGS needs a closure"),
        ({"target": "torch.optim.SparseAdam"}, ["schedule.weight_decay=0"], "optimizer: SparseAdam makes no"),
        ({"target": "torch.optim.AdamW", "betas": [0.9]}, [], "optimizer: AdamW cannot be made: IndexError"),
        ({"target": "torch.optim.AdamW", "eps": "x"}, [], "optimizer.eps='x': should be a valid number"),
        ({"target": "timm.optim.Adahessian"}, [], "optimizer: Adahessian makes no step"),
        ({"target": "torch.optim.Rprop"}, [], "schedule.weight_decay=0.0001: Rprop takes none"),
        ({}, ["optimizer=adamw", "schedule.momentum=0.8"], "schedule.momentum=0.8: AdamW takes no momentum"),
        ({}, ["optimizer=lion", "schedule.momentum=0.95"], "schedule.momentum=0.95: Lion takes no momentum"),
        ({}, ["optimizer=adamw", "loss=center"], "optimizer: the loss Center needs plain gradient descent"),
    ],
)
def test_an_optimizer_that_does_not_fit_is_refused_in_one_sentence(section, overrides, problem):
    with pytest.raises(ConfigError) as raised:
        chosen(*overrides, **section).check(component_problems)
    (line,) = raised.value.problems
    assert line.startswith(problem)


def test_a_step_that_fails_names_the_schedules_numbers():
    with pytest.raises(ConfigError, match=r"SGD makes no step: .*schedule\.weight_decay=1e\+308\)"):
        chosen("schedule.weight_decay=1e308").check(component_problems)


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        (["optimizer=adamw", "schedule.momentum=0.9"], 1),
        (["-m", "optimizer=adamw,lion", "schedule.momentum=0.9"], 2),
        (["optimizer=adamw", "schedule.momentum=0", "plan=true"], 0),
        (["optimizer=sgd", "schedule.momentum=0.9", "plan=true"], 0),
    ],
)
def test_a_momentum_that_the_optimizer_would_not_take_is_refused_if_the_user_sets_it(
    tmp_path, arguments, problems
):
    done = run_forked([*TINY, *arguments, "logger=none"], tmp_path)
    assert done.stderr.count("takes no momentum; leave it out or set it to 0") == problems, done.stderr
    assert (done.returncode != 0) == bool(problems) and not list(tmp_path.glob("runs/*/record.json"))


def test_center_gets_its_plain_descent_beside_sgd():
    config = chosen("loss=center")
    config.check(component_problems)
    of_network, of_centers = built(config, Center).param_groups
    assert of_network["momentum"] == 0.9
    wanted = {"lr": 0.5, "momentum": 0, "weight_decay": 0, "nesterov": False, "dampening": 0}
    assert {key: of_centers[key] for key in wanted} == wanted


def test_an_interrupted_run_equals_an_unbroken_one(tmp_path, monkeypatch):
    lines = ["optimizer=adamw", "schedule.learning_rate=0.001", "schedule.epochs=2"]
    overrides = [*TINY, *lines, "checkpoint.every_minutes=1e-9"]
    broken, unbroken = (compose_run([*overrides, f"runs_dir={tmp_path / name}"]) for name in ("a", "b"))
    with monkeypatch.context() as patch:
        patch.setattr(Loader, "__iter__", dying_after_batches(6))
        with pytest.raises(Killed):
            run(broken)
    run(broken)
    run(unbroken)
    directories = tmp_path / "a" / broken.run_id, tmp_path / "b" / unbroken.run_id
    assert metrics_of(directories[0]) == metrics_of(directories[1])
    assert same_weights(*directories)


def test_a_loaded_state_has_the_layout_of_its_parameters():
    """Fused kernels on CUDA refuse momenta whose strides are not their parameter's."""
    weight = torch.randn(4, 3, 3, 3)
    saved = torch.nn.Parameter(weight.clone())
    loaded = torch.nn.Parameter(weight.to(memory_format=torch.channels_last))
    before, after = (torch.optim.SGD([p], lr=0.1, momentum=0.9) for p in (saved, loaded))
    (saved**2).sum().backward()
    before.step()
    load_optimizer(after, before.state_dict())
    momentum = after.state[loaded]["momentum_buffer"]
    assert momentum.stride() == loaded.stride() != saved.stride()
    assert torch.equal(momentum, before.state[saved]["momentum_buffer"])
    before.state["its own"] = 3
    load_optimizer(after, before.state_dict())
    assert after.state["its own"] == 3
