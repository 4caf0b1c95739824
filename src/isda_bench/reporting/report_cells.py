"""The runs of a page: cells by network and data set, named by their method, with what sets them apart."""

import json
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from isda_bench.config.run_config import flat
from isda_bench.experiments.coordinates import coordinates
from isda_bench.reporting.class_errors import ClassErrors
from isda_bench.reporting.columns import mean_and_std
from isda_bench.reporting.confusion_matrix import page_classes
from isda_bench.reporting.constant_columns import without_constants
from isda_bench.reporting.durations import duration_text, moment_text
from isda_bench.reporting.pairing import BASELINE
from isda_bench.storage.record_files import DATA, FEW_EPOCHS

OF_A_RUN = ("seed", "last 10", "final", "best", "run")
"""Columns that each run keeps, also where all runs say the same."""
LACKING = "not set"


def page_cells(
    records: pd.DataFrame,
    by_class: Mapping[str, ClassErrors],
    methods: Mapping[str, str],
    labels: Mapping[str, str],
) -> list[dict[str, Any]]:
    """The template's variables: a group for each network and data set, with its cells.

    Args:
        records: of the runs, as read_records gives them.
        by_class: cell -> errors by class, where its runs have recorded them.
        methods: cell -> how the page prints its method; a cell without one has the method's name.
        labels: name of a network or data set -> how the page prints it; others have their names.
    """
    cells: dict[str, list[dict[str, Any]]] = {}
    for name, runs in records.groupby("cell", sort=False):
        ordered = sorted(runs["record"], key=lambda record: record["config"]["seed"])
        at = coordinates(ordered[0]["names"], ordered[0]["config"])
        network, dataset = (labels.get(each, each) for each in (at.model, at.dataset))
        cell = {"at": at, "method": methods.get(str(name), at.method), "records": ordered}
        cells.setdefault(f"{network} on {dataset}", []).append(cell)
    return [_group(name, sorted(found, key=_place), by_class) for name, found in sorted(cells.items())]


def _place(cell: dict[str, Any]) -> tuple[Any, ...]:
    """Cells that can be compared stand together: split, size, epochs; the baseline before the others."""
    at, first = cell["at"], cell["records"][0]
    size = math.inf if at.train_size is None else at.train_size
    baseline = first["names"]["loss"] == BASELINE
    return at.split, size, at.augment, first["epochs"], not baseline, at.method


def _group(name: str, cells: list[dict[str, Any]], by_class: Mapping[str, ClassErrors]) -> dict[str, Any]:
    settings = [_settings(cell["records"][0]) for cell in cells]
    keys = dict.fromkeys(key for each in settings for key in each)
    shared = [key for key in keys if len({each.get(key, LACKING) for each in settings}) == 1]
    labels = _labels(cells, settings, [key for key in keys if key not in shared])
    return {
        "name": name,
        "shared": [f"{key}: {settings[0][key]}" for key in shared],
        "cells": [
            _cell(cell, label, {key: text for key, text in each.items() if key not in shared}, by_class)
            for cell, label, each in zip(cells, labels, settings, strict=True)
        ],
    }


def _settings(record: dict[str, Any]) -> dict[str, str]:
    """Dotted key -> value as YAML would have it, of what decides the result; the seed is the run's own."""
    found = {key: value for key, value in flat(record["identity"]).items() if key != "seed"}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}


def _labels(cells: list[dict[str, Any]], settings: list[dict[str, str]], keys: list[str]) -> list[str]:
    """Each cell's method with its place; cells of one label differ in the settings that are not equal."""
    labels = [_label(cell) for cell in cells]
    found = []
    for label, each in zip(labels, settings, strict=True):
        twins = [other for name, other in zip(labels, settings, strict=True) if name == label]
        differing = [key for key in keys if len({twin.get(key, LACKING) for twin in twins}) > 1]
        named = [f"{key}={each.get(key, LACKING)}" for key in differing]
        found.append(", ".join([label, *named]))
    return found


def _label(cell: dict[str, Any]) -> str:
    at, epochs = cell["at"], cell["records"][0]["epochs"]
    parts = [cell["method"]]
    parts += [f"{at.train_size:,} images"] if at.train_size else []
    parts += [at.augment] if at.augment != "standard" else []
    return ", ".join([*parts, f"{epochs} epoch{'s' if epochs > 1 else ''}"])


def _cell(
    cell: dict[str, Any], label: str, differing: dict[str, str], by_class: Mapping[str, ClassErrors]
) -> dict[str, Any]:
    records = cell["records"]
    leading = "final" if records[0]["epochs"] < FEW_EPOCHS else "last_10"
    error = pd.Series([record["error"][leading] for record in records])
    rows = [_run(record) for record in records]
    parted = without_constants(
        list(rows[0]), [list(row.values()) for row in rows], set(rows[0]) - set(OF_A_RUN)
    )
    classes = by_class.get(records[0]["cell"])
    return {
        "id": records[0]["cell"],
        "label": label,
        "split": cell["at"].split,
        "error": mean_and_std(error.mean(), error.std()).replace("+-", "±"),
        "count": len(records),
        "header": parted.header,
        "rows": parted.rows,
        "constants": parted.constants,
        "differing": list(differing.items()),
        "classes": page_classes(classes) if classes else None,
    }


def _run(record: dict[str, Any]) -> dict[str, str]:
    """Column -> text; empty where an older record does not know it."""
    git, device, versions = (record.get(key) or {} for key in ("git", "device", "versions"))
    memory, rate = record.get("peak_memory_bytes"), record.get("images_per_second")
    return {
        "seed": str(record["config"]["seed"]),
        **{name: f"{record['error'][key]:.2f}" for name, key in zip(OF_A_RUN[1:4], _ERRORS, strict=True)},
        "time": duration_text(record["seconds"]),
        "images/s": f"{rate:,.0f}" if rate else "",
        "memory": f"{memory / 1e6:,.0f} MB" if memory else "",
        "epochs": str(record["epochs"]),
        "ended": moment_text(record.get("ended") or ""),
        "device": f"{device.get('name', '')} ({device.get('type', '')})" if device else "",
        "code": (git.get("commit") or "unknown")[:10] + (" with changes" if git.get("dirty") else ""),
        "data": (record.get(DATA) or "")[:12],
        "versions": ", ".join(f"{name} {value}" for name, value in versions.items() if value),
        "generator": (record.get("generator") or {}).get("run", ""),
        "run": record["run_id"],
    }


_ERRORS = ("last_10", "final", "best")
