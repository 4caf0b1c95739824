"""conf_generator, and scripts/train_generator.py as a user types it."""

import inspect

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from isda_bench.cli import command_line
from isda_bench.config.compose import compose_run
from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.config.run_config import CONF
from isda_bench.gan.build import component_problems

FOLDER = GeneratorConfig.conf
KINDS = sorted(path.stem for path in (FOLDER / "generator").glob("*.yaml"))


def test_there_is_a_training_for_each_generator_that_a_classifier_can_have():
    assert sorted(path.stem for path in (CONF / "generator").glob("*.yaml") if path.stem != "none") == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_yaml_lists_every_tunable_argument_with_its_default(kind):
    values = OmegaConf.to_container(OmegaConf.load(FOLDER / "generator" / f"{kind}.yaml"))
    component = get_class(values.pop("_target_"))
    given = ("num_classes", "in_channels", "image_size")
    parameters = inspect.signature(component).parameters.items()
    assert values == {name: p.default for name, p in parameters if name not in given}


@pytest.mark.parametrize(
    ("kind", "dataset"),
    [
        ("wgan", "digits"),
        ("wgan", "cifar10"),
        ("cgan", "cifar10"),
        ("acgan", "cifar100"),
        ("infogan", "cifar100"),
    ],
)
def test_kinds_fit_data_sets(kind, dataset):
    config = compose_run([f"generator={kind}", f"dataset={dataset}"], GeneratorConfig)
    config.check(component_problems)
    assert config.run_id.startswith(f"{dataset}-{kind}-s0-")


def test_the_papers_values_are_the_defaults_and_the_digits_have_their_own():
    wgan = compose_run(["generator=wgan"], GeneratorConfig).config["generator"]
    assert (wgan["learning_rate"], wgan["clip"], wgan["critic_steps"]) == (5e-5, 0.01, 5)
    own = compose_run(["generator=wgan", "dataset=digits", "generator.width=8"], GeneratorConfig)
    assert own.config["generator"]["learning_rate"] == 5e-4
    assert own.config["generator"]["width"] == 8


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (["generator=wgann"], "generator=wgann: no such generator; did you mean wgan?"),
        (["model=resnet8", "seed=-1"], "model: no such key"),
        (["schedule.epochs=0", "generator.clp=1"], "generator.clp: no such key with generator=wgan; did you"),
        (["-m", "generator=cgan,acgan", "precision=bf16"], "precision='bf16': should be 'fp32' or 'tf32'"),
    ],
)
def test_a_mistake_ends_with_code_2_and_one_message(typed_in, tmp_path, capsys, arguments, reported):
    typed_in(tmp_path, "train_generator.py", *arguments)
    with pytest.raises(SystemExit) as raised:
        command_line.main(GeneratorConfig, program="isda_bench.gan.run")
    err = capsys.readouterr().err
    assert raised.value.code == 2
    assert reported in err and err.count("error: ") == 1 and "Traceback" not in err
    assert not list(tmp_path.iterdir())
