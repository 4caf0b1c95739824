"""What only a GPU can show: captured steps are the steps, in each precision, and stop where they should."""

import pytest
import torch

from isda_bench.compose import compose_run
from isda_bench.errors import NonFiniteLoss
from isda_bench.loading import load_run
from isda_bench.losses.isda import ISDA
from isda_bench.results import read_metrics
from isda_bench.run import run
from tiny import TINY

pytestmark = pytest.mark.gpu
TRAIN = [*TINY, "loss=isda", "schedule.epochs=3", "schedule.milestones=[2]", "device=cuda", "logger=none"]


def trained(runs, *overrides):
    config = compose_run([*TRAIN, f"runs_dir={runs}", *overrides])
    run(config)
    return config


def test_captured_steps_give_the_numbers(tmp_path):
    """200 images in batches of 64: a short batch ends each epoch."""
    plain, captured = (trained(tmp_path, f"compile={choice}") for choice in ("false", "true"))
    theirs, ours = (read_metrics(config.directory) for config in (plain, captured))
    assert ours["train_loss"].tolist() == pytest.approx(theirs["train_loss"].tolist(), rel=1e-3)
    weights = [load_run(config.directory).model.state_dict() for config in (plain, captured)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("compiled", ["false", "true"])
def test_every_precision_trains(tmp_path, precision, compiled):
    config = trained(tmp_path, f"precision={precision}", f"compile={compiled}")
    losses = read_metrics(config.directory)["train_loss"].tolist()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("compiled", ["false", "true"])
def test_no_update_after_a_loss_that_is_not_finite(tmp_path, monkeypatch, compiled):
    compute = ISDA.compute

    def planted(self, outputs, targets, progress):
        value = compute(self, outputs, targets, progress)
        return torch.where(torch.as_tensor(progress, device=value.device) > 0.5, value * torch.nan, value)

    monkeypatch.setattr(ISDA, "compute", planted)
    with pytest.raises(NonFiniteLoss, match="epoch 2, step"):
        trained(tmp_path, f"compile={compiled}")


@pytest.mark.parametrize("compiled", ["false", "true"])
def test_gone_on_it_is_the_run_that_was_not_stopped(tmp_path, monkeypatch, compiled):
    whole = trained(tmp_path / "whole", f"compile={compiled}")
    from isda_bench import checkpoint

    save = checkpoint.save

    def save_and_stop(directory, epoch, state, step=None):
        save(directory, epoch, state, step)
        if epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(checkpoint, "save", save_and_stop)
        trained(tmp_path / "broken", f"compile={compiled}")
    broken = trained(tmp_path / "broken", f"compile={compiled}")
    ours, theirs = (read_metrics(config.directory)["train_loss"].tolist() for config in (broken, whole))
    assert ours == pytest.approx(theirs, rel=1e-5)
