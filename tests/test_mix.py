"""mix=mixup and mix=cutmix in whole runs: batches, identity, checks, interruption."""

from functools import partial

import pytest
import torch

from helpers.interruption import Killed, dying_after_batches
from helpers.run_files import metrics_of, same_weights
from helpers.tiny import TINY
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import RunConfig, identity, settings_of
from isda_bench.data.base import ImageSet
from isda_bench.data.loader import Loader, MixedBatch
from isda_bench.data.mixup import CutMix, Mixup
from isda_bench.errors import ConfigError
from isda_bench.experiments.coordinates import coordinates
from isda_bench.losses import CrossEntropy
from isda_bench.models.resnet import ResNet
from isda_bench.training.run import run
from isda_bench.training.step import Step, TrainingModule

each = pytest.mark.parametrize("mix", ["mixup", "cutmix"])


def test_mixing_counts_in_the_id_and_its_absence_does_not():
    plain = compose_run(TINY)
    assert "mix" not in identity(plain.config)
    older = {key: value for key, value in plain.config.items() if key != "mix"}
    assert RunConfig(older, plain.names).run_id == plain.run_id
    assert settings_of(older).mix == {}
    ids = {
        compose_run([*TINY, *lines]).run_id for lines in ([], ["mix=mixup"], ["mix=mixup", "mix.alpha=0.2"])
    }
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["loss=center"], "mix: a mixed image has no one class, which the loss Center needs"),
        (["loss=disturb_label"], "mix: a mixed image has no one class, which the loss DisturbLabel needs"),
        (["generator=wgan"], "mix: generated images are not mixed with others"),
        (["mix.alpha=0"], "mix.alpha=0: should be greater than 0"),
    ],
)
@each
def test_a_mix_that_does_not_fit_is_refused_in_one_sentence(mix, overrides, problem):
    with pytest.raises(ConfigError) as raised:
        compose_run([*TINY, f"mix={mix}", *overrides]).check(component_problems)
    (line,) = raised.value.problems
    assert line.startswith(problem)


@pytest.mark.parametrize("loss", ["isda", "cross_entropy", "focal", "lq", "large_margin", "label_smoothing"])
def test_other_losses_are_mixed(loss):
    compose_run([*TINY, "mix=mixup", f"loss={loss}"]).check(component_problems)


@pytest.mark.parametrize("mix", ["mixup", pytest.param("cutmix", marks=pytest.mark.slow)])
def test_an_interrupted_run_equals_an_unbroken_one(tmp_path, monkeypatch, mix):
    overrides = [*TINY, "loss=isda", f"mix={mix}", "schedule.epochs=3", "checkpoint.every_minutes=1e-9"]
    broken, unbroken = (compose_run([*overrides, f"runs_dir={tmp_path / name}"]) for name in ("a", "b"))
    with monkeypatch.context() as patch:
        patch.setattr(Loader, "__iter__", dying_after_batches(6))
        with pytest.raises(Killed):
            run(broken)
    torch.manual_seed(99)
    run(broken)
    run(unbroken)
    directories = tmp_path / "a" / broken.run_id, tmp_path / "b" / unbroken.run_id
    assert metrics_of(directories[0]) == metrics_of(directories[1])
    assert same_weights(*directories)


@pytest.mark.parametrize("mixing", [Mixup(), CutMix()], ids=["mixup", "cutmix"])
def test_a_step_descends_the_weighed_loss_of_both_targets(mixing):
    """Against the gradient of lambda CE(y_1) + (1 - lambda) CE(y_2), written out."""
    torch.manual_seed(0)
    images = ImageSet(torch.randint(0, 256, (8, 3, 8, 8), dtype=torch.uint8), torch.arange(8) % 3)
    batches = Loader(images, 8, torch.device("cpu"), [lambda x: x / 255], shuffle=True, mixing=mixing)
    (batch,) = list(batches)
    assert isinstance(batch, MixedBatch)
    module = TrainingModule(ResNet(3, depth=8).double(), CrossEntropy(3, 64)).train()
    logits = module.model(batch.images.double())
    chosen = [-logits.log_softmax(1)[torch.arange(8), t].mean() for t in (batch.targets, batch.second)]
    wanted = torch.autograd.grad(
        batch.weight * chosen[0] + (1 - batch.weight) * chosen[1], module.model.head.weight
    )[0]
    before = module.model.head.weight.detach().clone()
    step = Step(module, torch.optim.SGD(module.parameters(), lr=1.0))
    doubled = partial(step, batch.images.double(), batch.targets, torch.tensor(0.5))
    doubled(batch.second, batch.weight)
    torch.testing.assert_close(before - module.model.head.weight, wanted)


def test_the_training_error_counts_against_the_dominant_class(tmp_path, monkeypatch):
    """All images belong to their second class in full: a network that learns that has no training error."""

    def foreign(self, images, targets):
        return MixedBatch(images, (targets + 1) % 10, targets, torch.tensor(0.0))

    monkeypatch.setattr(Mixup, "__call__", foreign)
    overrides = [*TINY, "augment=none", "dataset.train_size=64", "schedule.epochs=12", f"runs_dir={tmp_path}"]
    config = compose_run([*overrides, "mix=mixup"])
    run(config)
    assert metrics_of(tmp_path / config.run_id)[-1]["train_error"] < 30


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        ([], "standard"),
        (["mix=mixup"], "standard + mixup"),
        (["mix=cutmix", "mix.alpha=0.5", "augment=none"], "none + cutmix (alpha=0.5)"),
    ],
)
def test_tables_show_mixing_with_the_augmentation(overrides, label):
    config = compose_run([*TINY, *overrides])
    assert coordinates(config.names, config.config).augment == label
