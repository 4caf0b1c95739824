"""Configurations and grids as the command line would give them, and the reports of a wrong command line."""

import pytest

from isda_bench.cli.command_line_check import command_line_problems
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_run, hydra_context
from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.config.grids import Composer, grid_runs
from isda_bench.config.run_config import RunConfig
from isda_bench.errors import ConfigError

DIGITS = ["dataset=digits", "model=resnet8"]


def test_a_model_brings_its_schedule():
    assert compose_run(["model=wrn28_10"]).config["schedule"]["factor"] == 0.2
    assert compose_run(["model=resnet110"]).config["schedule"]["epochs"] == 160


def test_schedule_overrides_the_models_in_any_position():
    for line in (["model=wrn28_10", "schedule=resnext"], ["schedule=resnext", "model=wrn28_10"]):
        assert compose_run(line).config["schedule"]["learning_rate"] == 0.05


def test_single_keys_of_the_schedule_can_be_overridden():
    schedule = compose_run(["model=wrn28_10", "schedule.epochs=5", "schedule.milestones=[2,4]"]).config[
        "schedule"
    ]
    assert (schedule["epochs"], schedule["milestones"], schedule["weight_decay"]) == (5, [2, 4], 5e-4)


def test_names_are_the_choices_of_our_groups():
    names = compose_run(["loss=isda"]).names
    assert (names["loss"], names["dataset"], names["schedule"]) == ("isda", "cifar10", "resnet")
    assert not any(group.startswith("hydra") for group in names)
    assert not {"method", "experiment"} & set(names)


def test_interpolations_are_resolved():
    config = compose_run(["dataset.padding=2", "seed=${schedule.epochs}"]).config
    assert config["augment"]["padding"] == 2
    assert config["seed"] == 160


def test_a_method_sets_loss_and_dropout_together():
    run = compose_run(["method=isda_dropout", "model=resnet32"])
    assert run.names["loss"] == "isda"
    assert run.config["model"]["dropout"] == 0.3
    assert compose_run(["method=isda"]).run_id == compose_run(["loss=isda"]).run_id


def test_the_demo_is_six_runs_and_narrows():
    demo = grid_runs(["experiment=demo"])
    assert [(run.names["loss"], run.config["seed"]) for run in demo] == [
        (loss, seed) for loss in ("cross_entropy", "isda") for seed in range(3)
    ]
    assert len({run.run_id for run in demo}) == 6
    assert len({run.cell for run in demo}) == 2
    assert [run.run_id for run in grid_runs(["experiment=demo", "seed=0"])] == [
        demo[0].run_id,
        demo[3].run_id,
    ]


def test_cells_of_a_grid_without_an_experiment():
    grid = grid_runs([*DIGITS, "seed=range(2)", "loss=cross_entropy,isda"])
    assert [(run.config["seed"], run.names["loss"]) for run in grid] == [
        (0, "cross_entropy"),
        (0, "isda"),
        (1, "cross_entropy"),
        (1, "isda"),
    ]


@pytest.mark.parametrize("line", [["foo"], ["experiment=nosuch"], ["seed=interval(0,1)"], ["nosuch=1"]])
def test_cells_of_a_wrong_line_are_a_config_error(line):
    with pytest.raises(ConfigError):
        grid_runs(line)


# Overrides that are wrong together -> the beginning of the line that each gives
MISTAKES = {
    "choices": {
        "model=resnt32": "model=resnt32: no such model; did you mean resnet32?",
        "dataset=CIFAR10": "dataset=CIFAR10: no such dataset; did you mean cifar10?",
        "augment=mixup": "augment=mixup: no such augment; there are: autoaugment, cutout, ",
        "generator=dcgan": "generator=dcgan: no such generator; ",
        "schedule=wrnn": "schedule=wrnn: no such schedule; did you mean wrn?",
        "experiment=dem": "experiment=dem: no such experiment; did you mean demo?",
        "loss=[isda,focal]": "loss=['isda', 'focal']: no such loss; ",
    },
    "no choice": {
        "method=null": "method=null: no such method; there are: ",
        "experiment=null": "experiment=null: no such experiment; there are: ",
    },
    "strange choices": {
        "model=null": "model=null: no such model; there are: ",
        "loss={strength: 1}": "loss={'strength': 1}: no such loss; ",
        "schedule=../model/wrn": "schedule=../model/wrn: no such schedule; ",
        "dataset=3": "dataset=3: no such dataset; ",
        "augment=''": "augment=: no such augment; ",
    },
    "keys by their last part": {
        "epochs=2": "epochs: no such key; did you mean schedule.epochs?",
        "epoch=2": "epoch: no such key; did you mean schedule.epochs?",
        "lr=0.1": "lr: no such key; did you mean schedule.learning_rate?",
        "model.lr=0.1": "model.lr: no such key with model=resnet32; did you mean schedule.learning_rate?",
        "sgd.weight-decay=1": "sgd.weight-decay: no such key; did you mean schedule.weight_decay?",
        "WD=0.1": "WD: no such key; did you mean schedule.weight_decay?",
        "milestone=[1]": "milestone: no such key; did you mean schedule.milestones?",
        "every=3": "every: no such key; did you mean checkpoint.every or evaluate.every?",
    },
    "keys by other names": {
        "batch=64": "batch: no such key; did you mean schedule.batch_size?",
        "schedule.bs=64": "schedule.bs: no such key with schedule=resnet; did you mean schedule.batch_size?",
        "gpu=0": "gpu: no such key; did you mean device?",
        "network=resnet8": "network: no such key; did you mean model?",
        "output_dir=x": "output_dir: no such key; did you mean runs_dir?",
        "optim=adam": "optim: no such key; did you mean schedule.learning_rate or ",
        "num_workers=3": "num_workers: no such key; there are: ",
        "data_dir=/x": "data_dir: no such key; did you mean dataset.root?",
    },
    "keys": {
        "sed=1": "sed: no such key; did you mean seed?",
        "zzz=1": "zzz: no such key; there are: augment, capture, checkpoint, compile, dataset, ",
        "hydraulic=1": "hydraulic: no such key; ",
        "model.depht=8": "model.depht: no such key with model=resnet32; did you mean model.depth?",
        "loss.strength=1": "loss.strength: no such key with loss=cross_entropy; there is one with loss=isda",
        "loss.num_classes=5": "loss.num_classes: no such key with loss=cross_entropy, nor any other",
        "schedule.epoch=1": "schedule.epoch: no such key with schedule=resnet; did you mean schedule.epochs?",
    },
    "more than key=value": {
        "+smuggled=1": "+smuggled=1: only keys that the configuration has can be set",
        "+loss=isda": "+loss=isda: only keys",
        "++seed=2": "++seed=2: only keys",
        "~device": "~device: only keys",
        "~augment": "~augment: only keys",
        "model@x=resnet8": "model@x=resnet8: only keys",
        "precision=interval(0,1)": "precision=interval(0,1): a grid takes choice(...) or range(...)",
    },
    "unreadable": {
        "foo": "foo: cannot be read; should be key=value",
        "=3": "=3: cannot be read",
        "a=[": "a=[: cannot be read",
        "loss={strength:": "loss={strength:: cannot be read",
        "runs_dir=wörk": "runs_dir=wörk: cannot be read; should be key=value, special characters in quotes",
        "dataset.root=${a": "dataset.root=${a: cannot be read",
        "": ": cannot be read",
    },
    "settings": {
        "seed=abc": "seed='abc': should be a valid integer",
        "precision=fp16": "precision='fp16': should be 'fp32', 'tf32' or 'bf16'",
        "device=0": "device=0: should be a valid string",
        "runs_dir=": "runs_dir='': should have at least 1 character",
        "evaluate=3": "evaluate=3: should be a section",
        "checkpoint.every=-1": "checkpoint.every=-1: should be greater than 0",
        "schedule.epochs=0": "schedule.epochs=0: should be greater than 0",
        "schedule.batch_size=-5": "schedule.batch_size=-5: should be greater than 0",
        "schedule.learning_rate=nan": "schedule.learning_rate=nan: should be a finite number",
        "schedule.momentum=1": "schedule.momentum=1: should be less than 1",
        "schedule.weight_decay=-inf": "schedule.weight_decay=-inf: should be",
        "schedule.milestones=[a]": "schedule.milestones.0='a': should be a valid integer",
    },
    "other settings": {
        "seed=99999999999999999999": "seed=99999999999999999999: should be less than",
        "device=null": "device=null: should be a valid string",
        "evaluate.every=0": "evaluate.every=0: should be greater than 0",
        "schedule.epochs=1e2": "schedule.epochs=100.0: should be a valid integer",
        "schedule.learning_rate=1e999": "schedule.learning_rate=inf: should be a finite number",
        "schedule.batch_size=null": "schedule.batch_size=null: should be a valid integer",
    },
    "milestones": {"schedule.milestones=null": "schedule.milestones and factor belong together"},
    "falling": {
        "schedule.milestones=[2,1]": "schedule.milestones=[2, 1]: should rise",
        "seed=-1": "seed=-1: ",
    },
    "parts": {
        "model.depth=2.5": "model.depth=2.5: should be a valid integer",
        "model.dropout=1": "model.dropout=1: should be less than 1",
        "dataset.train_size=0": "dataset.train_size=0: should be greater than 0",
        "dataset.val_size=-1": "dataset.val_size=-1: should be greater than or equal to 0",
        "dataset.root=''": "dataset.root='': should have at least 1 character",
        "dataset.download=maybe": "dataset.download='maybe': should be a valid boolean",
        "device=cuda:99": "device=cuda:99: no such device here",
        "augment.padding=-1": "augment.padding=-1: should be greater than or equal to 0",
    },
    "sizes": {
        "model.depth=9": "model.depth=9: should be 6n + 2",
        "dataset.train_size=50001": "dataset.val_size=0 and train_size=50001: too many for the 50000 images",
    },
    "a large batch": {"schedule.batch_size=50001": "schedule.batch_size=50001: larger than the training"},
    "a missing value": {"seed=???": "seed: not given", "dataset.root=???": "dataset.root: not given"},
    "interpolation": {"runs_dir=${nope}": "runs_dir: Interpolation key 'nope' not found"},
    "environment": {"runs_dir=${oc.env:ISDA_BENCH_NO}": "runs_dir: KeyError raised while resolving"},
    "interpolated type": {"seed=${device}": "seed='auto': should be a valid integer"},
    "grid": {"seed=0,1": "seed=0,1: several values need -m", "loss=isda,lq": "loss=isda,lq: several values"},
    "Hydra's key": {"hydra.nosuch=1": "Could not override 'hydra.nosuch'."},
    "Hydra's choice": {"hydra/launcher=none": "In 'hydra/config': Could not find 'hydra/launcher/none'"},
    "Hydra's grid": {"hydra.sweeper.params.seed='0,1'": "Unexpected type for root"},
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_each_mistake_gives_one_clear_line(kind):
    problems = command_line_problems(list(MISTAKES[kind]), component_problems)
    for start in MISTAKES[kind].values():
        assert sum(problem.startswith(start) for problem in problems) == 1, (start, problems)
    assert len(problems) == len(MISTAKES[kind])
    assert not any("\n" in problem for problem in problems)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["loss=isda", "loss.strength=-1"], "loss.strength=-1: should be greater than or equal to 0"),
        (["loss=isda", "loss.strength=nan"], "loss.strength=nan: should be a finite number"),
        (["loss=isda", "loss.strength=inf"], "loss.strength=inf: should be a finite number"),
        (["loss=isda", "loss.strength=yes"], "loss.strength='yes': should be a valid number"),
        (["loss=isda", "loss.covariance=lw"], "loss.covariance='lw': should be 'full', 'diagonal', "),
        (
            ["loss=isda", "loss.strenght=1"],
            "loss.strenght: no such key with loss=isda; did you mean loss.strength?",
        ),
        (
            ["dataset.train_size=1000", "dataset.val_size=438"],
            "dataset.val_size=438 and train_size=1000: too many",
        ),
        (["dataset.train_size=100"], "schedule.batch_size=128: larger than the training set of 100 images"),
        (["seed=1", "seed=2"], "seed: given 2 times"),
        (["loss=isda", "loss=focal"], "loss: given 2 times"),
        (["logger=wandb", "logger.mode=loud"], "logger.mode='loud': should be 'online' or 'offline'"),
    ],
)
def test_mistakes_of_several_overrides_give_one_line(overrides, problem):
    problems = command_line_problems([*DIGITS, *overrides], component_problems)
    assert len(problems) == 1, problems
    assert problems[0].startswith(problem)


def test_several_mistakes_are_all_listed():
    wrong = ["model=resnt32", "foo", "+x=1", "sed=1", "schedule.epochs=0", "precision=fp8", "seed=a"]
    problems = command_line_problems(wrong, component_problems)
    assert len(problems) == len(wrong)
    for start in (
        "model=resnt32",
        "foo:",
        "+x=1",
        "sed:",
        "schedule.epochs=0",
        "precision='fp8'",
        "seed='a'",
    ):
        assert sum(problem.startswith(start) for problem in problems) == 1


def test_several_mistakes_in_the_parts_are_all_listed():
    wrong = ["model.depth=9", "loss=isda", "loss.strength=-1", "dataset.val_size=-1", "device=tpu"]
    assert len(command_line_problems(["dataset=digits", *wrong], component_problems)) == 4


def test_the_keys_of_a_wrong_choice_are_not_held_against_another():
    problems = command_line_problems(["model=wrn28_1", "model.width=4"], component_problems)
    assert problems == ["model=wrn28_1: no such model; did you mean wrn28_10?"]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["loss=isda", "loss.strength=1", "schedule.milestones=[1,2]", "dataset.padding=7"],
        ["schedule.milestones=null", "schedule.factor=null", "seed=9223372036854775807"],
        ["evaluate={every: 2}", "runs_dir='wörk dir'", "dataset.train_size=128"],
        ["runs_dir=${dataset.split_seed}x", "schedule=wrn"],
        ["hydra.job.name=x", "+hydra.job.env_set.A=b"],
    ],
)
def test_a_right_command_line_has_no_problems(overrides):
    assert command_line_problems([*DIGITS, *overrides], component_problems) == []


def test_a_method_excludes_the_keys_that_it_sets():
    conflict = ["method: sets loss too; give method or loss, not both"]
    assert command_line_problems([*DIGITS, "method=isda", "loss=isda"], component_problems) == conflict
    assert command_line_problems(["experiment=demo", "method=isda"], component_problems) == conflict
    assert command_line_problems([*DIGITS, "method=isda,dropout"], component_problems, multirun=True) == []
    assert command_line_problems([*DIGITS, "method=dropout"], component_problems) == []
    conflict = ["method: sets model.dropout too; give method or model.dropout, not both"]
    assert (
        command_line_problems([*DIGITS, "method=dropout", "model.dropout=0.1"], component_problems)
        == conflict
    )


def test_a_grid_is_refused_for_a_mistake_in_every_job():
    problem = ["loss.strength=-1: should be greater than or equal to 0"]
    wrong = [*DIGITS, "loss=isda", "loss.strength=-1", "seed=0,1"]
    assert command_line_problems(wrong, component_problems, multirun=True) == problem
    assert command_line_problems(["experiment=demo", "schedule.epochs=0"], component_problems)[0].startswith(
        "schedule.epochs=0"
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["loss=isda", "loss.strength=-1,1"],
        ["dataset.train_size=100", "schedule.batch_size=50,100"],
        ["dataset.train_size=100,200"],
        ["loss=glob(*)"],
    ],
)
def test_a_grid_is_not_refused_for_a_mistake_in_some_jobs(overrides):
    assert command_line_problems([*DIGITS, *overrides], component_problems, multirun=True) == []


def test_a_grid_is_refused_for_a_key_that_some_jobs_do_not_have():
    problems = command_line_problems(
        [*DIGITS, "loss=isda,focal", "loss.strength=1"], component_problems, multirun=True
    )
    assert problems == ["loss.strength: no such key with loss=focal; there is one with loss=isda"]
    assert command_line_problems(["experiment=demo", "loss.strength=1"], component_problems) != []
    assert (
        command_line_problems(["experiment=demo", "loss=isda", "loss.strength=1"], component_problems) == []
    )


def test_every_choice_of_a_grid_is_looked_at():
    problems = command_line_problems([*DIGITS, "loss=isda,isdb,focl"], component_problems, multirun=True)
    assert problems == [
        "loss=isdb: no such loss; did you mean isda?",
        "loss=focl: no such loss; did you mean focal?",
    ]
    assert command_line_problems([*DIGITS, "loss=glob(x*)"], component_problems, multirun=True) == [
        "loss=glob(x*): no such loss"
    ]


def test_bytes_that_are_not_text_are_reported_as_escapes():
    assert str(ConfigError(["augment=\udcff: no"])).encode().endswith(rb"augment=\udcff: no")


@pytest.mark.parametrize(
    ("kind", "jobs"),
    [
        (RunConfig, [["model=wrn28_10"], ["model=wrn28_10", "schedule.epochs=5"], ["method=isda", "seed=3"]]),
        (RunConfig, [["loss=isda", "evaluate={every:3}"], ["loss=isda", "hydra.sweep.dir=x", "seed=1"]]),
        (
            GeneratorConfig,
            [[f"dataset={name}", "generator=wgan", "seed=1"] for name in ("cifar10", "digits")],
        ),
    ],
)
def test_jobs_composed_together_are_as_each_alone(kind, jobs):
    with hydra_context(kind):
        composer = Composer(kind)
        for job in jobs:
            assert composer.run(job) == compose_run(job, kind)


def test_a_key_below_a_replaced_section_is_refused():
    (problem,) = command_line_problems(["checkpoint=null", "checkpoint.every=1"], component_problems)
    assert problem.startswith("Could not override 'checkpoint.every'.")
