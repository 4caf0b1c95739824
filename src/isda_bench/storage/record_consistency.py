"""Contradictions between a record and its configuration, its own numbers, and the metrics of its epochs."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isda_bench.config.building import OURS, TARGET
from isda_bench.storage.run_results import Metrics, errors_of, means_of

ROUNDING = 1e-6
"""Percent by which means of the same numbers may differ: sums of floats are rounded."""


def consistency_problems(record: dict[str, Any]) -> list[str]:
    """Contradictions to the configuration in a record of right types; each line begins with a key."""
    return [*_epochs(record), *_images(record), *_errors(record), *_execution(record), *_generator(record)]


def metrics_problems(record: dict[str, Any], rows: list[Metrics]) -> list[str]:
    """Contradictions to the metrics of the run's epochs in a classifier's record of right types.

    Args:
        record: the record.
        rows: the metrics, a row an epoch.
    """
    epochs, split = record["epochs"], record["split"]
    if rows[-1]["epoch"] != epochs or len(rows) != epochs:
        return [f"epochs={epochs}: {len(rows)} there, the last is epoch {rows[-1]['epoch']}"]
    means = means_of(rows, split)
    problems = list(_other_values("metrics", record.get("metrics") or {}, means))
    for key, name in (("error", split), ("top5_error", f"{split}_top5")):
        if key not in means:
            problems += [f"{key}: no {split}_{key} there"] if record.get(key) else []
        else:
            problems += _other_values(key, record.get(key) or {}, errors_of(rows, name))
    return problems


def _other_values(section: str, recorded: dict[str, Any], found: dict[str, float]) -> Iterator[str]:
    for key, value in recorded.items():
        if key in found and not math.isclose(value, found[key], rel_tol=ROUNDING, abs_tol=ROUNDING):
            yield f"{section}.{key}={value}: {found[key]} follows from there"


def _epochs(record: dict[str, Any]) -> Iterator[str]:
    config = record["config"]
    planned = 1 if config.get("debug") else config["schedule"]["epochs"]
    if record["epochs"] != planned:
        yield f"epochs={record['epochs']}: does not follow from the configuration: should be {planned}"


def _images(record: dict[str, Any]) -> Iterator[str]:
    """Sizes: of the training set, of the held-out images, of the classes."""
    config = record["config"]
    dataset, found = config["dataset"], record.get("train_images")
    wanted = dataset.get("train_size")
    fewer = config.get("debug") or dataset.get("imbalance") is not None or record.get("unreadable_images")
    ours = str(dataset.get(TARGET)).startswith(f"{OURS}.")  # a user's own set may count otherwise
    if ours and found and wanted and (found > wanted or (found < wanted and not fewer)):
        yield f"train_images={found}: does not follow from the configuration: dataset.train_size={wanted}"
    split = "validation" if dataset.get("val_size") else "test"
    if "split" in record and record["split"] != split:
        yield f"split={record['split']}: does not follow from the configuration: should be {split}"
    classes, count = record.get("classes"), dataset.get("num_classes")
    if classes and isinstance(count, int) and len(classes) != count:
        yield f"classes: {len(classes)} names: the configuration has dataset.num_classes={count}"


def _errors(record: dict[str, Any]) -> Iterator[str]:
    """No epoch is better than the best one, and no top-5 error is higher than the error."""
    for key in ("error", "top5_error"):
        errors = record.get(key)
        if errors and errors["best"] > min(errors["final"], errors["last_10"]) + ROUNDING:
            yield f"{key}.best={errors['best']}: is above {key}.final or {key}.last_10"
    five = record.get("top5_error")
    for protocol, value in (five or {}).items():
        if value > record["error"][protocol] + ROUNDING:
            yield f"top5_error.{protocol}={value}: is above error.{protocol}"


def _execution(record: dict[str, Any]) -> Iterator[str]:
    """Device, processes and mode of the steps, where both sides say them."""
    config, device = record["config"], record.get("device")
    asked = str(config.get("device", "auto")).partition(":")[0]
    if device and asked in ("cpu", "cuda") and device["type"] != asked:
        yield f"device.type={device['type']}: the configuration has device={config['device']}"
    execution = record.get("execution")
    if execution is None:
        return
    compiled = bool(config.get("compile"))
    if any(("compiled" in mode) != compiled for mode in execution.split(", then ")):
        yield f"execution={execution}: the configuration has compile={str(compiled).lower()}"


def _generator(record: dict[str, Any]) -> Iterator[str]:
    """A classifier's record names the generator that its configuration asks for."""
    if "loss" not in record["names"]:
        return
    section, used = record["config"].get("generator"), record.get("generator")
    if used and not section:
        yield f"generator.run={used['run']}: the configuration has no generator"
    elif used and Path(section.get("run") or "").name not in ("", "..", used["run"]):
        yield f"generator.run={used['run']}: the configuration has generator.run={section['run']}"
