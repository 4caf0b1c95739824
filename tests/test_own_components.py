"""A user's own loss, optimizer, batch transform, metric, data set and network: one module and one YAML each.

They lie outside the clone, in a folder with the shipped configuration beside them.
"""

import shutil
import sys
from pathlib import Path
from typing import ClassVar

import pytest

import isda_bench
from helpers.forked import run_forked
from helpers.run_files import metrics_of
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import CONF, RunConfig
from isda_bench.errors import ConfigError
from isda_bench.training.run import run

MODULES = {
    "own_loss": """
from torch.nn import functional as F
from isda_bench.losses.base import Loss

class Hinge(Loss):
    def __init__(self, num_classes, feature_dim, margin=1.0):
        super().__init__(num_classes, feature_dim)
        if margin <= 0:
            raise ValueError(f"margin={margin}: should be positive")
        self.margin = margin

    def compute(self, outputs, targets, progress):
        return F.multi_margin_loss(outputs.logits, targets, margin=self.margin)
""",
    "own_optimizer": """
import torch

class SignDescent(torch.optim.Optimizer):
    def __init__(self, params, lr, weight_decay=0.0, scale=1.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "scale": scale})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in (p for p in group["params"] if p.grad is not None):
                parameter.sub_(group["scale"] * group["lr"] * parameter.grad.sign())
""",
    "own_transform": """
import torch
from isda_bench.data.loader import MixedBatch

class HalfAndHalf:
    \"\"\"The upper half of each image stays.\"\"\"

    def __call__(self, images, targets):
        mixed = images.clone()
        half = images.shape[2] // 2
        mixed[:, :, half:] = images.flip(0)[:, :, half:]
        weight = torch.full((), half / images.shape[2], device=images.device)
        return MixedBatch(mixed, targets, targets.flip(0), weight)
""",
    "own_metric": """
def confidence(logits, targets):
    return logits.softmax(1).amax(1).sum()
""",
    "own_dataset": """
import torch
from isda_bench.data.base import DataSet, ImageSet

class Stripes(DataSet):
    num_classes, in_channels, image_size, train_images = 2, 1, 8, 64
    mean, std = (127.0,), (127.0,)

    def read(self):
        rows = torch.zeros(1, 8, 8, dtype=torch.uint8)
        rows[:, ::2] = 255
        images = torch.stack([rows, rows.mT]).repeat(32, 1, 1, 1)
        targets = torch.arange(64) % 2
        return ImageSet(images, targets), ImageSet(images[:10], targets[:10])
""",
    "own_model": """
from torch import nn
from isda_bench.models.base import Classifier

class Flat(Classifier):
    def __init__(self, num_classes, width: int = 8, in_channels=3):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.head = nn.Linear(4 * width, num_classes)

    def features(self, images):
        return self.body(images)
""",
}
FILES = {
    "loss/hinge": "_target_: own_loss.Hinge\nmargin: 1.0\n",
    "optimizer/sign": "_target_: own_optimizer.SignDescent\nscale: 0.1\n",
    "mix/halves": "_target_: own_transform.HalfAndHalf\n",
    "experiment/confident": "# @package _global_\nevaluate:\n  metrics: [own_metric.confidence]\n",
    "dataset/stripes": """
_target_: own_dataset.Stripes
train_size: null
val_size: 0
split_seed: 0
padding: 0
flip: false
""",
    "model/flat": "defaults:\n  - /schedule@_global_.schedule: resnet\n_target_: own_model.Flat\nwidth: 8\n",
}
CHOICES = [
    "loss=hinge",
    "optimizer=sign",
    "mix=halves",
    "experiment=confident",
    "dataset=stripes",
    "model=flat",
]


@pytest.fixture
def compose(tmp_path, monkeypatch):
    """Composes over the user's folder: the shipped files and the user's."""
    shutil.copytree(CONF, tmp_path / "conf")
    for name, text in FILES.items():
        (tmp_path / "conf" / f"{name}.yaml").write_text(text)
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    class OwnConfig(RunConfig):
        conf: ClassVar[Path] = tmp_path / "conf"

    lines = ["schedule.epochs=2", "schedule.batch_size=16", "logger=none", f"runs_dir={tmp_path / 'runs'}"]
    yield lambda *overrides: compose_run([*lines, *overrides], OwnConfig)
    for name in MODULES:
        sys.modules.pop(name, None)


def test_the_command_finds_them_beside_the_shipped_ones(tmp_path):
    """In a folder that holds nothing but them."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    for name, text in FILES.items():
        file = tmp_path / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    command = ["train", "--config-dir", "./conf", *CHOICES, "schedule.epochs=1", "schedule.batch_size=16"]
    script = Path(isda_bench.__file__).with_name("__main__.py")
    run_forked([*command, "logger=none"], tmp_path, script=script).check()
    (row,) = metrics_of(next(tmp_path.glob("runs/stripes-flat-hinge-s0-*")))
    assert "test_confidence" in row
    wrong = run_forked([*command, "optimizer.scael=1"], tmp_path, script=script).check(2)
    assert "optimizer.scael: no such key" in wrong.stderr and "Traceback" not in wrong.stderr


@pytest.mark.parametrize("choice", CHOICES)
def test_each_stands_beside_the_shipped_ones(compose, choice):
    compose("dataset=digits", "model=resnet8", choice).check(component_problems)


def test_all_of_them_train_together(compose):
    config = compose(*CHOICES)
    record = run(config)
    rows = metrics_of(config.directory)
    assert config.run_id.startswith("stripes-flat-hinge-s0-")
    assert len(rows) == 2 and all(0.5 <= row["test_confidence"] <= 1 for row in rows)
    assert record["metrics"]["confidence"] == sum(row["test_confidence"] for row in rows) / 2
    assert len(rows[0]["test_class_accuracy"]) == 2
    assert len({config.run_id, compose(*CHOICES, "optimizer.scale=0.2").run_id}) == 2


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("loss.margin=-1", "loss.margin=-1: should be positive"),
        ("model.width=wide", "model.width='wide': should be a valid integer"),
        ("optimizer.scale=fast", "optimizer: SignDescent makes no step: "),
        ("schedule.momentum=0.5", "schedule.momentum=0.5: SignDescent takes no momentum"),
    ],
)
def test_their_mistakes_are_reported_before_the_run(compose, override, problem):
    with pytest.raises(ConfigError) as raised:
        compose(*CHOICES, override).check(component_problems)
    (line,) = raised.value.problems
    assert line.startswith(problem)


def test_an_error_in_their_constructor_names_the_line(compose, tmp_path):
    text = (tmp_path / "own_loss.py").read_text().replace("margin <= 0", "margin <= '0'")
    (tmp_path / "own_loss.py").write_text(text)
    sys.modules.pop("own_loss", None)
    with pytest.raises(ConfigError) as raised:
        compose(*CHOICES).check(component_problems)
    (problem,) = raised.value.problems
    assert problem.startswith("loss: ") and problem.endswith(" (own_loss.py, line 8)")
