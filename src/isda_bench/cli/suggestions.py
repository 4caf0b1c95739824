"""What was probably meant by a key that the configuration does not have."""

from difflib import get_close_matches

from omegaconf import DictConfig

from isda_bench.config.compose import choices, content_of, is_group
from isda_bench.config.problems import did_you_mean

SYNONYMS = {
    "batch": ("batch_size",),
    "batchsize": ("batch_size",),
    "bs": ("batch_size",),
    "b": ("batch_size",),
    "lr": ("learning_rate",),
    "rate": ("learning_rate",),
    "wd": ("weight_decay",),
    "decay": ("weight_decay",),
    "epoch": ("epochs",),
    "gpu": ("device",),
    "gpus": ("device",),
    "cuda": ("device",),
    "cpu": ("device",),
    "amp": ("precision",),
    "fp16": ("precision",),
    "bf16": ("precision",),
    "dtype": ("precision",),
    "arch": ("model",),
    "net": ("model",),
    "network": ("model",),
    "backbone": ("model",),
    "criterion": ("loss",),
    "data": ("dataset",),
    "data_dir": ("root",),
    "data_path": ("root",),
    "path": ("root",),
    "num_workers": ("workers",),
    "augmentation": ("augment",),
    "transform": ("augment",),
    "gan": ("generator",),
    "lambda": ("strength",),
    "lambda_0": ("strength",),
    "lambda0": ("strength",),
    "scheduler": ("schedule",),
    "lr_scheduler": ("schedule",),
    "optim": ("optimizer", "learning_rate", "momentum", "weight_decay"),
    "optimizer": ("optimizer", "learning_rate", "momentum", "weight_decay"),
    "optimiser": ("optimizer", "learning_rate", "momentum", "weight_decay"),
    "output": ("runs_dir",),
    "output_dir": ("runs_dir",),
    "out": ("runs_dir",),
    "log_dir": ("runs_dir",),
    "save_dir": ("runs_dir",),
    "wandb": ("logger",),
    "random_seed": ("seed",),
    "dry_run": ("plan",),
    "resume": ("checkpoint",),
}
"""What others call it -> the last part of our keys."""


def key_suggestion(key: str, keys: set[str], composed: DictConfig) -> str:
    """What follows "no such key".

    The same last part in another section comes first (`epochs`: schedule.epochs), by another name too (`lr`);
    then a key of the same section that is spelled alike, then any.

    Args:
        key: dotted, what was typed.
        keys: all that the configuration has.
        composed: with Hydra's own node.
    """
    section, _, name = key.rpartition(".")
    if section and section not in keys and is_group(section):
        return f"; no {section} is chosen; there are: {', '.join(choices(section))}"
    choice = composed.hydra.runtime.choices.get(section)
    with_choice = f" with {section}={choice}" if choice else ""
    having = [other for other in choices(section) if name in content_of(section, other)] if choice else []
    if having:
        return f"{with_choice}; there is one with {section}={', '.join(having)}"
    meant = sorted(k for k in keys if not k.endswith("_target_"))
    siblings = [k for k in meant if k.rpartition(".")[0] == section]
    if section in keys and get_close_matches(key, siblings, n=1):
        return with_choice + did_you_mean(key, siblings)
    same = _same_last_part(name.lower().replace("-", "_"), meant)
    if same:
        return f"{with_choice}; did you mean {' or '.join(same[:3])}?"
    if section in keys:
        return with_choice + (did_you_mean(key, siblings) if siblings else ", nor any other")
    return did_you_mean(key, meant, [k for k in meant if "." not in k])


def _same_last_part(name: str, keys: list[str]) -> list[str]:
    """The keys that end in `name`, or in what we call it, or in what is spelled alike."""
    by_name: dict[str, list[str]] = {}
    for key in sorted(keys, key=lambda key: key.count(".")):
        by_name.setdefault(key.rpartition(".")[2], []).append(key)
    names = [name, *SYNONYMS.get(name, ())]
    same = [key for name in names for key in by_name.get(name, [])]
    close = get_close_matches(name, by_name, n=1, cutoff=0.75)
    return same or [key for name in close for key in by_name[name]]
