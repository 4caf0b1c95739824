"""Suggestions for a key that the configuration does not have."""

from difflib import get_close_matches

from omegaconf import DictConfig

from isda_bench.config.search_path import choices, content_of, is_group
from isda_bench.config.settings import TrainingRecipe

OTHER_NAMES = {
    "batch_size": "batch batchsize bs b",
    "checkpoint": "resume",
    "dataset": "data",
    "device": "gpu gpus cuda cpu",
    "epochs": "epoch",
    "generator": "gan",
    "augment": "augmentation transform",
    "learning_rate": "lr rate optim optimizer optimiser",
    "logger": "wandb",
    "loss": "criterion",
    "model": "arch net network backbone",
    "momentum": "optim optimizer optimiser",
    "optimizer": "optim optimiser",
    "plan": "dry_run",
    "precision": "amp fp16 bf16 dtype",
    "root": "data_dir data_path path",
    "runs_dir": "out output output_dir log_dir save_dir",
    "schedule": "scheduler lr_scheduler",
    "seed": "random_seed",
    "strength": "lambda lambda0 lambda_0",
    "weight_decay": "wd decay optim optimizer optimiser",
    "workers": "num_workers",
}
"""Last part of a key of ours -> its names elsewhere."""


def key_suggestion(key: str, keys: set[str], composed: DictConfig) -> str:
    """The text after "no such key".

    A key with the same last part comes first, in any section (`epochs`: schedule.epochs), also by another
    name (`lr`); then one that is spelled alike, of the same section if there is one.

    Args:
        key: dotted, what was typed.
        keys: all that the configuration has.
        composed: with Hydra's own node.
    """
    section, _, name = key.rpartition(".")
    if section and section not in keys and is_group(section):
        return f"; no {section} is chosen; there are: {', '.join(choices(section))}"
    if is_group("schedule") and "schedule" not in keys:  # a user's network that brings none
        keys = keys | {f"schedule.{name}" for name in TrainingRecipe.model_fields}
    choice = composed.hydra.runtime.choices.get(section)
    with_choice = f" with {section}={choice}" if choice else ""
    having = [other for other in choices(section) if name in content_of(section, other)] if choice else []
    if having:
        return f"{with_choice}; there is one with {section}={', '.join(having)}"
    meant = sorted((k for k in keys if not k.endswith("_target_")), key=lambda k: (k.count("."), k))
    siblings = [k for k in meant if k.rpartition(".")[0] == section]
    name = name.lower().replace("-", "_")
    found = _called(name, meant) or _spelled_alike(name, siblings) or _spelled_alike(name, meant)
    if found:
        return f"{with_choice}; did you mean {' or '.join(found[:3])}?"
    if section in keys:
        return with_choice + (f"; there are: {', '.join(siblings)}" if siblings else ", nor any other")
    return f"; there are: {', '.join(k for k in meant if '.' not in k)}"


def _called(name: str, keys: list[str]) -> list[str]:
    """The keys whose last part is `name`, or has this other name."""
    names = [name, *(ours for ours, others in OTHER_NAMES.items() if name in others.split())]
    return [key for name in names for key in keys if key.rpartition(".")[2] == name]


def _spelled_alike(name: str, keys: list[str]) -> list[str]:
    """The keys whose last part is most like `name`."""
    close = get_close_matches(name, {key.rpartition(".")[2] for key in keys}, n=1, cutoff=0.65)
    return [key for key in keys if key.rpartition(".")[2] in close]
