"""The table of all networks: size, cost of an image and of a whole run, beside the published sizes."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from isda_bench.config.building import ANY_MODULE, build
from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import CONF
from isda_bench.models.base import Classifier
from isda_bench.reporting.cost import training_flops

PUBLISHED = {
    "resnet32": 0.5,
    "resnet110": 1.7,
    "se_resnet110": 1.7,
    "wrn16_8": 11.0,
    "wrn28_10": 36.5,
    "resnext29_8x64d": 34.4,
    "densenet_bc_100_12": 0.8,
    "densenet_bc_190_40": 25.6,
    "shake_shake_26_2x32d": 3.0,
    "shake_shake_26_2x112d": 36.4,
    "pyramidnet272_a200": 26.2,
}
"""Parameters in millions, as the journal version prints them (CIFAR-10)."""

COLUMNS = {
    "name": "---",
    "family": "---",
    "parameters": "---:",
    "published": "---:",
    "features": "---:",
    "multiply-adds": "---:",
    "training FLOPs / image": "---:",
    "epochs": "---:",
    "FLOPs / run": "---:",
}
NOTES = """\
# Networks

Parameters and costs for 10 classes and 32 x 32 images; the `imagenet` family for 1000 classes and 224 x 224.
Multiply-adds are those of the forward pass's convolutions and matrix products. Training takes three times as
many, the backward pass counted as two forward passes; each is two FLOPs. A run is the schedule's epochs over
50,000 images, or 1,281,167 of ImageNet. Published: parameters in the journal version. Shake-Shake's count
holds what the reference implementation builds and never uses (`idle_projections`).
"""


@dataclass(frozen=True)
class Row:
    """One network of the table.

    Attributes:
        name: what a user types after `model=`.
        family: the module that holds it.
        parameters: how many it has.
        feature_dim: A.
        multiply_adds: of one image's forward pass.
        training_flops: of one image's forward and backward pass.
        epochs: the schedule's.
        images: training images of an epoch.
    """

    name: str
    family: str
    parameters: int
    feature_dim: int
    multiply_adds: int
    training_flops: int
    epochs: int
    images: int

    @property
    def run_flops(self) -> int:
        """FLOPs of a whole training."""
        return self.training_flops * self.images * self.epochs


def names() -> list[str]:
    """Every network that there is a configuration of; `timm` stands for any number of them."""
    return sorted(path.stem for path in (CONF / "model").glob("*.yaml") if path.stem != "timm")


def measure(name: str) -> Row:
    """Counts what a network has and does, without computing anything (on the meta device)."""
    settings = compose_run([f"model={name}"]).settings
    family = settings.model["_target_"].split(".")[-2]
    classes, side, images = (1000, 224, 1_281_167) if family == "imagenet" else (10, 32, 50_000)
    with torch.device("meta"):
        model: Classifier = build(settings.model, Classifier, ANY_MODULE, num_classes=classes)
    flops = training_flops(settings.model, classes, 3, side, ANY_MODULE)
    return Row(
        name=name,
        family=family,
        parameters=sum(p.numel() for p in model.parameters()),
        feature_dim=model.feature_dim,
        multiply_adds=flops // 6,
        training_flops=flops,
        epochs=settings.schedule.epochs,
        images=images,
    )


def markdown(rows: Iterable[Row]) -> str:
    """The table, grouped by family, small networks first."""
    ordered = sorted(rows, key=lambda row: (row.family == "imagenet", row.family, row.parameters))
    lines = (_line(COLUMNS), _line(COLUMNS.values()), *(_line(_cells(row)) for row in ordered))
    return "\n".join((NOTES, *lines, ""))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        row.family,
        f"{row.parameters:,}",
        f"{PUBLISHED[row.name]} M" if row.name in PUBLISHED else "",
        str(row.feature_dim),
        f"{row.multiply_adds / 1e6:,.1f} M",
        f"{row.training_flops / 1e9:,.2f} G",
        str(row.epochs),
        f"{row.run_flops:.2e}",
    )


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
