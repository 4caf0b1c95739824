"""Gives back a run from its directory."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra.utils import instantiate

from isda_bench.config.components import build_dataset
from isda_bench.config.run_config import settings_of
from isda_bench.errors import UserError
from isda_bench.losses.base import Loss
from isda_bench.models.base import Classifier
from isda_bench.runtime.library_faults import on_device
from isda_bench.runtime.pretrained_weights import without_pretrained_weights
from isda_bench.storage import checkpoint
from isda_bench.storage.run_directory import read_finished

CPU = torch.device("cpu")


class LoadedRun(NamedTuple):
    """A finished run: what was asked for, what was learnt, what came of it."""

    config: dict[str, Any]
    """The resolved configuration."""
    model: Classifier
    """The network with its final weights, in evaluation mode, on the CPU."""
    record: dict[str, Any]
    """The content of record.json."""


def load_run(path: str | Path) -> LoadedRun:
    """The finished run in directory `path`.

    Raises:
        UserError: it is no run's directory, not finished, or its checkpoint is damaged.
    """
    directory = Path(path).expanduser()
    record = read_finished(directory)
    model, _ = _modules(record["config"])
    model.load_state_dict(_state(directory)["model"])
    return LoadedRun(record["config"], model.eval(), record)


def load_loss(path: str | Path) -> Loss:
    """The loss of a finished run with what it learnt or accumulated (ISDA's statistics, ...).

    Raises:
        UserError: as `load_run`.
    """
    directory = Path(path).expanduser()
    _, loss = _modules(read_finished(directory)["config"])
    loss.load_state_dict(_state(directory)["loss"])
    return loss.eval()


def _modules(config: dict[str, Any]) -> tuple[Classifier, Loss]:
    settings = settings_of(config)
    dataset = build_dataset(settings)
    with without_pretrained_weights():
        model = instantiate(settings.model, num_classes=dataset.num_classes, in_channels=dataset.in_channels)
    loss = instantiate(settings.loss, num_classes=dataset.num_classes, feature_dim=model.feature_dim)
    return on_device(model, CPU), on_device(loss, CPU)


def _state(directory: Path) -> dict[str, Any]:
    state = checkpoint.load_newest(directory)
    epochs = read_finished(directory)["epochs"]
    if state is None or len(state["metrics"]) != epochs:
        raise UserError(f"{directory}: no whole checkpoint of the last epoch, {epochs}")
    return state
