"""Every method with every augmentation and covariance builds and trains two steps."""

from functools import cache
from typing import get_args

import pytest
import torch
from hydra.utils import instantiate

from helpers.tiny import REPOSITORY
from isda_bench.config.compose import compose_run
from isda_bench.data.base import ImageSet
from isda_bench.data.loader import Loader, Normalise
from isda_bench.losses.isda import Covariance
from isda_bench.training.optimizers import make_optimizer
from isda_bench.training.step import TrainingModule

COVARIANCES = get_args(Covariance)


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (REPOSITORY / "conf" / group).glob("*.yaml"))


def variants() -> list[tuple[str, ...]]:
    """Each method, and those with ISDA once with each covariance."""
    return [
        (f"method={method}", *covariance)
        for method in choices("method")
        for covariance in ([(f"loss.covariance={c}",) for c in COVARIANCES] if "isda" in method else [()])
    ]


@cache
def settings_of(*overrides: str):
    return compose_run(["model=resnet8", "dataset=cifar10", *overrides]).settings


@pytest.mark.parametrize("augment", choices("augment"))
@pytest.mark.parametrize("variant", variants(), ids="-".join)
def test_two_steps(variant, augment):
    settings = settings_of(*variant)
    torch.manual_seed(0)
    model = instantiate(settings.model, num_classes=10)
    loss = instantiate(settings.loss, num_classes=10, feature_dim=model.feature_dim)
    module = TrainingModule(model, loss)
    optimizer = make_optimizer(module, settings.schedule)
    device = torch.device("cpu")
    images = ImageSet(torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8), torch.arange(8))
    transforms = [
        instantiate(settings_of(f"augment={augment}").augment),
        Normalise((127,) * 3, (64,) * 3, device),
    ]
    before = [parameter.clone() for parameter in module.parameters()]
    for step, (batch, targets) in enumerate(Loader(images, 4, device, transforms, shuffle=True)):
        value, _ = module(batch, targets, step / 2)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        assert torch.isfinite(value)
    after = list(module.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
