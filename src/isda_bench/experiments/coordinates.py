"""The place of a run in a table: network, method and data, in the words of the configuration's files."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from isda_bench.config.folders import choice_file
from isda_bench.config.run_config import NOT_IN_IDENTITY, PATHS_TO_RUNS, older_functions
from isda_bench.config.yaml_files import read_yaml

NO_VARIANT = (
    *("_target_", "defaults", "train_size", "val_size", "split_seed", "resample", "dropout"),
    "weights_sha256",
)
"""Settings of a component that have a coordinate of their own, or none. Older functions have none either: a
footnote names them."""


class Coordinates(NamedTuple):
    """A cell's place in a table; a component's settings are named where they differ from its file's.

    Attributes:
        dataset: 'cifar10'.
        model: 'resnet110'.
        augment: 'standard', 'cutout', 'standard + mixup', ...
        train_size: images to train on; None: all that are not held out.
        method: what the comparison calls a method: 'focal', 'isda (strength=0.25)', 'wgan', 'isda + dropout'
            (where the network has none by itself).
        split: what the error is measured on, 'test' or 'validation'.
        resample: whether each seed draws a subset and held-out images of its own.
    """

    dataset: str
    model: str
    augment: str
    train_size: int | None
    method: str
    split: str
    resample: bool = False


def coordinates(names: dict[str, str], config: dict[str, Any]) -> Coordinates:
    """Of a run with these chosen names and this configuration."""
    dataset = config["dataset"]
    return Coordinates(
        dataset=_label("dataset", names["dataset"], dataset),
        model=_label("model", names["model"], config["model"]),
        augment=_augment(names, config),
        train_size=dataset.get("train_size"),
        method=_method(names, config),
        split="validation" if dataset.get("val_size") else "test",
        resample=bool(dataset.get("resample", False)),
    )


def images_text(size: int | None) -> str:
    """'1,000' or 'all' training images."""
    return "all" if size is None else f"{size:,}"


def _method(names: dict[str, str], config: dict[str, Any]) -> str:
    parts = [_label("loss", names["loss"], config["loss"])]
    generator = names.get("generator", "none")
    if generator != "none":
        mixed = _label("generator", generator, config["generator"])
        parts = [mixed] if parts == ["cross_entropy"] else [*parts, mixed]
    dropout = config["model"].get("dropout", 0)
    if dropout != own_dropout(names["model"]):
        parts.append("dropout" if dropout == 0.3 else f"dropout={dropout:g}")
    return " + ".join(parts)


def _augment(names: dict[str, str], config: dict[str, Any]) -> str:
    """The augmentation of single images, and what mixes them."""
    parts = [_label("augment", names.get("augment", "standard"), config.get("augment", {}))]
    if config.get("mix"):
        parts.append(_label("mix", names.get("mix", "mix"), config["mix"]))
    return " + ".join(parts)


def own_dropout(model: str) -> float:
    """The dropout rate that is part of the basic network."""
    return float(_settings("model", model).get("dropout", 0))


def older_function(config: dict[str, Any]) -> str:
    """'older function (model.skip=one_path)' for a run whose component was corrected later; else ''."""
    older = ", ".join(f"{key}={value}" for key, value in older_functions(config).items())
    return f"older function ({older})" if older else ""


def _label(group: str, name: str, node: dict[str, Any]) -> str:
    default = _settings(group, name)
    chosen = {
        key: node[key]
        for key, value in default.items()
        if key not in NO_VARIANT and f"{group}.{key}" not in NOT_IN_IDENTITY
        if key in node and node[key] != value and not _is_interpolation(value)
        if f"{group}.{key}" not in older_functions({group: node})
    }
    chosen |= {key: Path(chosen[key]).name for key in chosen if f"{group}.{key}" in PATHS_TO_RUNS}
    if not chosen:
        return name
    settings_text = ", ".join(f"{key}={_shown(value)}" for key, value in chosen.items())
    return f"{name} ({settings_text})"


def _settings(group: str, name: str) -> dict[str, Any]:
    """The keys that the component's file sets; empty where there is no such file any more."""
    path = choice_file(group, name)
    return {} if path is None else _content(path)


@cache
def _content(path: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(read_yaml(path))
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def _is_interpolation(value: Any) -> bool:
    return isinstance(value, str) and (value.startswith("${") or value == "???")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
