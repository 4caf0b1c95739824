"""What only a GPU can show: captured steps are the steps, in each precision, and stop where they should."""

import pytest
import torch

from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import CONF
from isda_bench.errors import NonFiniteLoss, UserError
from isda_bench.loading import load_run
from isda_bench.losses.isda import ISDA
from isda_bench.storage import checkpoint
from isda_bench.storage.records import read_metrics
from isda_bench.training.run import run

pytestmark = pytest.mark.gpu
STEPS = pytest.mark.parametrize("step", ["capture=false", "capture=true", "compile=true"])
TRAIN = [*TINY, "loss=isda", "schedule.epochs=3", "schedule.milestones=[2]", "device=cuda", "logger=none"]


def trained(runs, *overrides):
    config = compose_run([*TRAIN, f"runs_dir={runs}", *overrides])
    run(config)
    return config


@pytest.mark.parametrize("compiled", ["false", "true"])
def test_captured_steps_give_the_numbers(tmp_path, compiled):
    """200 images in batches of 64: a short batch ends each epoch."""
    plain = trained(tmp_path / "plain", "capture=false")
    captured = trained(tmp_path / "captured", f"compile={compiled}")
    theirs, ours = (read_metrics(config.directory) for config in (plain, captured))
    assert ours["train_loss"].tolist() == pytest.approx(theirs["train_loss"].tolist(), rel=1e-3)
    weights = [load_run(config.directory).model.state_dict() for config in (plain, captured)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@STEPS
def test_every_precision_trains(tmp_path, precision, step):
    config = trained(tmp_path, f"precision={precision}", step)
    losses = read_metrics(config.directory)["train_loss"].tolist()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("path", sorted(CONF.glob("loss/*.yaml")), ids=lambda path: path.stem)
def test_every_loss_trains_captured(tmp_path, path):
    trained(tmp_path, f"loss={path.stem}")


@pytest.mark.parametrize("covariance", ["diagonal", "shared", "identity", "lowrank"])
def test_every_covariance_trains(tmp_path, covariance):
    """Of lowrank the step is not captured."""
    trained(tmp_path, f"loss.covariance={covariance}")


@STEPS
def test_no_update_after_a_loss_that_is_not_finite(tmp_path, monkeypatch, step):
    compute = ISDA.compute

    def plant(self, outputs, targets, progress):
        planted = torch.as_tensor(progress, device=targets.device) > 0.5
        return compute(self, outputs, targets, progress) + torch.where(planted, torch.nan, 0.0)

    monkeypatch.setattr(ISDA, "compute", plant)
    with pytest.raises(NonFiniteLoss, match="epoch 2, step"):
        trained(tmp_path, step)


@STEPS
def test_gone_on_it_is_the_run_that_was_not_stopped(tmp_path, monkeypatch, step):
    whole = trained(tmp_path / "whole", step)
    save = checkpoint.save

    def save_and_stop(directory, epoch, state, step=None):
        save(directory, epoch, state, step)
        if epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(checkpoint, "save", save_and_stop)
        trained(tmp_path / "broken", step)
    broken = trained(tmp_path / "broken", step)
    ours, theirs = (read_metrics(config.directory)["train_loss"].tolist() for config in (broken, whole))
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_what_cannot_be_captured_is_told(tmp_path, monkeypatch):
    compute = ISDA.compute

    def waits(self, outputs, targets, progress):
        return compute(self, outputs, targets, progress) * float(outputs.logits.isfinite().all())

    monkeypatch.setattr(ISDA, "compute", waits)
    with pytest.raises(UserError, match="capture=true: this step cannot be captured"):
        trained(tmp_path / "captured")
    trained(tmp_path / "eager", "capture=false")
    monkeypatch.undo()
    trained(tmp_path / "after")
