"""NaN and infinities planted anywhere: stopped, named, never kept; the run goes on from before."""

import pytest
import torch

from helpers.tiny import TINY
from helpers.trials import CLOCKS
from isda_bench.config.compose import compose_run
from isda_bench.data.loader import Loader
from isda_bench.errors import NonFiniteLoss
from isda_bench.losses.isda import ISDA
from isda_bench.storage import checkpoint
from isda_bench.storage.record_files import METRICS
from isda_bench.storage.records import read_metrics
from isda_bench.storage.run_directory import RunDirectory
from isda_bench.training.run import run

EPOCHS, STEPS = 3, 4  # an epoch
VALUES = [float("nan"), float("inf"), float("-inf")]
STOPS = (NonFiniteLoss, checkpoint.NonFiniteState)


def plant(tensor: torch.Tensor, rng, value: float) -> None:
    """Puts it at a random place, which autograd does not see."""
    tensor.data.view(-1)[rng.randrange(tensor.numel())] = value


def in_a_batch(patch, rng, step, value):
    batches, given = Loader.__iter__, 0

    def planted(self):
        nonlocal given
        for images, targets in batches(self):
            given += self.shuffle
            if self.shuffle and given == step:
                plant(images, rng, value)
            yield images, targets

    patch.setattr(Loader, "__iter__", planted)


def where(choose):
    """Plants after the forward pass of that step in a tensor of those that `choose(outputs, loss)` gives."""

    def planted_in(patch, rng, step, value):
        compute, calls = ISDA.compute, 0

        def planted(self, outputs, targets, progress):
            nonlocal calls
            calls += 1
            loss = compute(self, outputs, targets, progress)
            if calls == step:
                plant(rng.choice(choose(outputs, self)), rng, value)
            return loss

        patch.setattr(ISDA, "compute", planted)

    return planted_in


def in_a_gradient(patch, rng, step, value):
    compute, calls = ISDA.compute, 0

    def planted(self, outputs, targets, progress):
        nonlocal calls
        calls += 1
        loss = compute(self, outputs, targets, progress)
        if calls == step:
            loss.register_hook(lambda gradient: gradient * value)  # the loss itself is finite
        return loss

    patch.setattr(ISDA, "compute", planted)


PLACES = {
    "a batch": in_a_batch,
    "a parameter": where(lambda outputs, loss: [outputs.head.weight, outputs.head.bias]),
    "the statistics": where(lambda outputs, loss: [loss.statistics.mean, loss.statistics.covariance]),
    "a gradient": in_a_gradient,
}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    config = configuration(tmp_path_factory.mktemp("unbroken"))
    return run(config)["error"], rows(config)


def configuration(runs):
    return compose_run([*TINY, "loss=isda", f"schedule.epochs={EPOCHS}", f"runs_dir={runs}"])


def rows(config):
    return read_metrics(RunDirectory(config).path).drop(columns=list(CLOCKS), errors="ignore").to_dict()


@pytest.mark.parametrize("trials", [1, pytest.param(25, marks=pytest.mark.slow)])
@pytest.mark.parametrize("place", PLACES)
def test_not_finite(tmp_path, rng, tried, unbroken, place, trials):
    outcomes = []
    for i in range(trials):
        config = configuration(tmp_path / str(i))
        step, value = rng.randint(STEPS + 1, EPOCHS * STEPS), rng.choice(VALUES)
        with pytest.MonkeyPatch.context() as patch:
            PLACES[place](patch, rng, step, value)
            with pytest.raises(STOPS, match=r"stopped there; the earlier checkpoints are kept") as raised:
                run(config)
        directory = tmp_path / str(i) / config.run_id
        state = checkpoint.load_newest(directory)
        assert len(state["metrics"]) == (step - 1) // STEPS, "the epochs before are kept, and no other"
        (tmp_path / "copy").mkdir(exist_ok=True)
        checkpoint.save(tmp_path / "copy", 1, state)  # which refuses what is not finite
        assert "NaN" not in (text := (directory / METRICS).read_text()) and "Infinity" not in text
        assert (run(config)["error"], rows(config)) == unbroken
        outcomes.append(f"{raised.type.__name__}, continued")
    tried(f"NaN or infinity in {place}", outcomes)
