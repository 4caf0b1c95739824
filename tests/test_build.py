"""What is built to check a configuration, before anything is loaded or written."""

import pytest
import torch

from helpers.tiny import TINY
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_run
from isda_bench.errors import ConfigError
from isda_bench.losses import CrossEntropy
from isda_bench.training.run import run


class ReadsValues(CrossEntropy):
    """Its constructor needs a tensor's values, which the meta device has not."""

    def __init__(self, num_classes: int, feature_dim: int) -> None:
        super().__init__(num_classes, feature_dim)
        self.rates = torch.linspace(0, 1, 3).tolist()


class ReadsValuesOfNoModule:
    """A part, and not a module."""

    def __init__(self) -> None:
        self.rates = torch.linspace(0, 1, 3).tolist()

    def __call__(self, images):
        return images


@pytest.mark.parametrize(("section", "name"), [("loss", "ReadsValues"), ("augment", "ReadsValuesOfNoModule")])
def test_a_constructor_may_read_values(section, name):
    settings = compose_run(TINY).settings
    before = torch.get_rng_state()
    changed = settings.model_copy(update={section: {"_target_": f"test_build.{name}"}})
    assert component_problems(changed) == []
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("wrong", ["seed=-1", "precision=fp8", "schedule.epochs=0", "loss.strength=-1"])
def test_a_job_of_a_grid_reports_its_problems(tmp_path, wrong):
    config = compose_run([*TINY, "loss=isda", f"runs_dir={tmp_path / 'runs'}", wrong])
    with pytest.raises(ConfigError, match=wrong.split("=")[0]):
        run(config)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("images", "processes", "wrong"), [(9, 1, True), (10, 1, False), (10, 2, True)])
def test_a_last_batch_of_one_is_reported_where_the_network_s_last_features_are_1x1(
    images, processes, wrong, monkeypatch
):
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, str(processes))
    monkeypatch.setenv("RANK", "0")
    given = ["dataset=cifar10", f"dataset.train_size={images}", "schedule.batch_size=8"]
    problems = component_problems(compose_run([*given, "model=resnet50", "device=cpu"]).settings)
    assert [line.partition(":")[0] for line in problems] == ["schedule.batch_size=8"] * wrong
    assert component_problems(compose_run([*given, "model=resnet8", "device=cpu"]).settings) == []
