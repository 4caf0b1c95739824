"""Builds the parts of a run from its configuration."""

from collections.abc import Callable
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate

from isda_bench.config import Settings, problems_of
from isda_bench.data.base import DataSet


def part_problems(settings: Settings) -> list[str]:
    """What is wrong with the components: each is built, on no device and without its data."""
    with torch.device("meta"):
        dataset_problems = _problems("dataset", settings.dataset)
        dataset = None if dataset_problems else build_dataset(settings)
        sizes = dataset or get_dataset_class(settings)
        given = {"num_classes": getattr(sizes, "num_classes", 10)}
        model_given = given | {"in_channels": getattr(sizes, "in_channels", 3)}
        model_problems = _problems("model", settings.model, **model_given)
        feature_dim = 1 if model_problems else instantiate(settings.model, **model_given).feature_dim
        problems = [
            *dataset_problems,
            *model_problems,
            *_problems("loss", settings.loss, **given, feature_dim=feature_dim),
            *_problems("augment", settings.augment),
            *_problems("logger", settings.logger),
            *_device_problems(settings.device),
        ]
    if dataset is not None and settings.schedule.batch_size > dataset.train_count:
        problems.append(
            f"schedule.batch_size={settings.schedule.batch_size}: "
            f"larger than the training set of {dataset.train_count} images"
        )
    return problems


def build_dataset(settings: Settings) -> DataSet:
    """The data set, not read yet."""
    dataset: DataSet = instantiate(settings.dataset)
    return dataset


def get_dataset_class(settings: Settings) -> Any:
    """The data set's class, which knows its number of classes; None if it cannot be found."""
    try:
        return get_class(settings.dataset.get("_target_", ""))
    except Exception:
        return None


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one.

    Raises:
        ValueError: there is no such device.
    """
    available = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name == "auto":
        return torch.device("cuda" if len(available) > 1 else "cpu")
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in available:
        raise ValueError(f"device={name}: no such device here; there are: auto, {', '.join(available)}")
    return torch.device(wanted)


def _device_problems(name: str) -> list[str]:
    return problems_of(lambda: choose_device(name), "", {})


def _problems(section: str, node: dict[str, Any], **given: Any) -> list[str]:
    if "_target_" not in node:
        return [f"{section}._target_: not given"]
    return problems_of(_unwrapped(lambda: instantiate(node, **given)), f"{section}.", node)


def _unwrapped(build: Callable[[], Any]) -> Callable[[], Any]:
    """`build`, raising what the component raised instead of Hydra's wrapper."""

    def call() -> Any:
        try:
            return build()
        except InstantiationException as error:
            cause = error.__cause__
            if isinstance(cause, (ValueError, TypeError)):
                raise cause from error
            raise ValueError(str(error).splitlines()[0]) from error

    return call
