"""A model card in Markdown, made of a record alone."""

import json
from typing import Any

from isda_bench.config.building import TARGET
from isda_bench.config.run_config import flat, older_functions
from isda_bench.reporting.escape import markdown_rows, markdown_text
from isda_bench.storage.record_files import FEW_EPOCHS
from isda_bench.storage.records import PROTOCOLS

MACHINE = ("root", "download", "workers", "in_memory", "unreadable_limit")
"""Keys of a data set that say where it is and how it is read."""


def model_card(record: dict[str, Any]) -> str:
    """The card: what the network is for, its data, its training, its errors, versions and limits.

    Args:
        record: of a finished run, as `read_record` gives it.
    """
    config, names = record["config"], record["names"]
    title = f"{names['model']} on {names['dataset']}, {names['loss']}"
    parts = [
        f"# {markdown_text(title)}",
        markdown_text(
            f"An image classifier trained by isda_bench: the run {record['run_id']}, seed {config['seed']}."
        ),
        "## Data",
        _settings(_without(config["dataset"], MACHINE), _data_facts(record)),
        "## Network",
        _settings(
            config["model"], {"chosen as": names["model"], "parameters": _count(record.get("parameters"))}
        ),
        "## Loss",
        _settings(config["loss"], {"chosen as": names["loss"]}),
        "## Training",
        _training(record),
        "## Errors",
        _errors(record),
        "## Versions",
        _versions(record),
        "## Limits",
        "\n".join(f"- {markdown_text(limit)}" for limit in limits(record)),
    ]
    return "\n\n".join(parts) + "\n"


def limits(record: dict[str, Any]) -> list[str]:
    """Reasons in the record against relying on the network or on its errors."""
    config, git = record["config"], record.get("git") or {}
    found = []
    if config.get("debug"):
        found.append("A debug run: two training steps, evaluated on 64 images. It is no result.")
    if record["epochs"] < FEW_EPOCHS:
        found.append(f"Trained for {record['epochs']} epochs only: the error of the last epoch comes first.")
    if record["split"] == "validation":
        found.append("Evaluated on images held out of the training set, not on the test set.")
    if config["dataset"].get("train_size"):
        found.append(f"Trained on a subset of {config['dataset']['train_size']:,} images.")
    if record.get("unreadable_images"):
        found.append(f"{record['unreadable_images']} training images could not be read and were left out.")
    if record.get("generator"):
        found.append(f"A part of every batch was made by the generator {record['generator']['run']}.")
    if older_functions(config):
        found.append(f"An older function of {', '.join(older_functions(config))}, corrected since.")
    if git.get("dirty"):
        found.append("The code had changes that no commit has.")
    found.append("One run: other seeds give other errors; the best epoch was chosen on the evaluated images.")
    found.append("The probabilities are not calibrated; images unlike the training set's get a class, too.")
    return found


def _settings(section: dict[str, Any], facts: dict[str, Any]) -> str:
    values = {key: value for key, value in section.items() if key != TARGET}
    if TARGET in section:
        facts = facts | {"class": section[TARGET]}
    return _table({**facts, **values})


def _table(values: dict[str, Any]) -> str:
    rows = [[key.replace(TARGET, "class"), _shown(value)] for key, value in values.items() if value != ""]
    return markdown_rows([["setting", "value"], *rows])


def _data_facts(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "chosen as": record["names"]["dataset"],
        "classes": ", ".join(record.get("classes") or []),
        "training images": _count(record.get("train_images")),
        "augmentation": record["names"].get("augment", ""),
        "SHA-256": record.get("data_sha256") or "",
    }


def _training(record: dict[str, Any]) -> str:
    config, device = record["config"], record.get("device") or {}
    return _table(
        {
            **config["schedule"],
            **flat({"optimizer": config.get("optimizer") or {}}),
            "epochs": record["epochs"],
            "precision": config.get("precision", ""),
            "device": f"{device.get('name', '')} ({device.get('type', '')})" if device else "",
            "processes": record.get("processes", 1),
            "seconds": f"{record['seconds']:,.0f}",
            "ended (UTC)": record.get("ended") or "",
        }
    )


def _errors(record: dict[str, Any]) -> str:
    """The errors by protocol: the paper's first, of a short run the last epoch's."""
    order = ("final", "last_10", "best") if record["epochs"] < FEW_EPOCHS else tuple(PROTOCOLS)
    columns = {"error": record["error"], "top-5 error": record.get("top5_error")}
    shown = {name: values for name, values in columns.items() if values}
    header = ["protocol", *(f"{record['split']} {name} in %, lower is better" for name in shown)]
    rows = [[PROTOCOLS[p], *(f"{values[p]:.2f}" for values in shown.values())] for p in order]
    return markdown_rows([header, *rows])


def _versions(record: dict[str, Any]) -> str:
    git = record.get("git") or {}
    commit = {"commit": (git.get("commit") or "unknown") + (" with changes" if git.get("dirty") else "")}
    versions = {name: value for name, value in (record.get("versions") or {}).items() if value}
    return _table(commit | versions)


def _without(section: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in keys}


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
