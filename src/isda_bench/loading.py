"""Gives back a run from its directory."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra.utils import instantiate

from isda_bench import checkpoint
from isda_bench.build import build_dataset, choose_device
from isda_bench.config import settings_of
from isda_bench.data.loader import evaluation_loader
from isda_bench.errors import ConfigError, UserError
from isda_bench.evaluate import evaluate
from isda_bench.losses.base import Loss
from isda_bench.models.base import Classifier
from isda_bench.precision import set_precision
from isda_bench.record import read_record


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


def evaluate_run(path: str | Path, root: str | None = None, device: str = "auto") -> dict[str, float]:
    """Measures a finished run's loss and error again, on the images on which it was evaluated.

    The process then computes in the run's precision (`set_precision`).

    Args:
        path: the run's directory.
        root: where the data set is, if not where it was then.
        device: as the configuration's.

    Raises:
        UserError: as `load_run`, or the data set cannot be had.
    """
    config, model, _ = load_run(path)
    if root is not None:
        if "root" not in config["dataset"]:
            raise ConfigError([f"root={root}: the data set of this run has no root"])
        config["dataset"]["root"] = root
    settings = settings_of(config)
    where = _device(device)
    dataset = build_dataset(settings)
    batches = evaluation_loader(dataset.load().evaluation, dataset, where)
    set_precision(settings.precision)
    return evaluate(model.to(where), batches, bf16=settings.precision == "bf16")


def read_finished(directory: Path) -> dict[str, Any]:
    """The record of a finished run's directory.

    Raises:
        UserError: there is none.
    """
    path = directory / "record.json"
    if not path.exists():
        state = "is not finished" if (directory / "run.json").exists() else "is no run's directory"
        raise UserError(f"{directory}: {state} (no record.json)")
    return read_record(path)


def _device(name: str) -> torch.device:
    try:
        return choose_device(name)
    except ValueError as error:
        raise ConfigError([str(error)]) from error


def _modules(config: dict[str, Any]) -> tuple[Classifier, Loss]:
    settings = settings_of(config)
    dataset = build_dataset(settings)
    model = instantiate(settings.model, num_classes=dataset.num_classes, in_channels=dataset.in_channels)
    loss = instantiate(settings.loss, num_classes=dataset.num_classes, feature_dim=model.feature_dim)
    return model, loss


def _state(directory: Path) -> dict[str, Any]:
    state = checkpoint.load_newest(directory)
    epochs = read_finished(directory)["epochs"]
    if state is None or len(state["metrics"]) != epochs:
        raise UserError(f"{directory}: no whole checkpoint of the last epoch, {epochs}")
    return state
