"""Every loss of conf/loss with its defaults, and ISDA with every covariance."""

from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from isda_bench.losses import Loss

C, A = 5, 7
LOSSES = sorted((Path(__file__).parents[2] / "conf" / "loss").glob("*.yaml"))
COVARIANCES = ["full", "diagonal", "shared", "identity", "lowrank"]
each_loss = pytest.mark.parametrize("path", LOSSES, ids=lambda path: path.stem)
each_setting = pytest.mark.parametrize(
    "path, settings",
    [(path, {}) for path in LOSSES]
    + [(Path("isda.yaml"), {"covariance": name}) for name in COVARIANCES if name != "full"],
    ids=lambda value: value.stem if isinstance(value, Path) else value.get("covariance", ""),
)
each_covariance = pytest.mark.parametrize("covariance", COVARIANCES)


def build(path: Path, **settings) -> Loss:
    config = OmegaConf.load(LOSSES[0].parent / path.name)
    return instantiate(config, **settings, num_classes=C, feature_dim=A)
