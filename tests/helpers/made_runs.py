"""Run directories as training leaves them, with errors of the tests' own."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from isda_bench.config.run_config import RunConfig, identity
from isda_bench.storage.run_results import errors_of


def changed(config: RunConfig, **values: Any) -> RunConfig:
    """The configuration with other values; a key's dots are double underscores."""
    settings = deepcopy(config.config)
    for key, value in values.items():
        *sections, name = key.split("__")
        node = settings
        for section in sections:
            node = node[section]
        node[name] = value
    return type(config)(settings, config.names)


def write_run(
    root: Path, config: RunConfig, error: float | None, epochs: int | None = None, rate: float = 1000.0
) -> Path:
    """A finished run with this error in percent; None: it has begun and is not finished.

    Args:
        root: its directory is made here.
        config: of the run.
        error: mean of the last epochs.
        epochs: that have metrics; null: all, of an unfinished run three.
        rate: images per second.
    """
    directory = root / config.run_id
    directory.mkdir(parents=True)
    (directory / "run.json").write_text(json.dumps(config.as_dict()))
    split = "validation" if config.config["dataset"]["val_size"] else "test"
    planned = 1 if config.config["debug"] else config.config["schedule"]["epochs"]
    errors = errors_around(error, epochs or (3 if error is None else planned))
    rows = [{"epoch": epoch, f"{split}_error": value} for epoch, value in enumerate(errors, 1)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if error is not None:
        record = config.as_dict() | {
            "split": split,
            "error": errors_of(rows, split),
            "epochs": planned,
            "seconds": 1.0,
            "images_per_second": rate,
            "device": {"type": "cuda", "name": "GPU", "threads": 1},
        }
        assert record["identity"] == identity(config.config)
        (directory / "record.json").write_text(json.dumps(record))
    return directory


def errors_around(error: float | None, epochs: int) -> list[float | None]:
    """The errors of so many epochs: their mean is `error`, the last is higher, the one before lower."""
    if error is None or epochs == 1:
        return [error] * epochs
    step = min(error, 1.0)
    return [*[error] * (epochs - 2), error - step, error + step]


def write_runs(root: Path, config: RunConfig, errors: list[float]) -> None:
    """Finished runs with seeds 0, 1, ..."""
    for seed, error in enumerate(errors):
        write_run(root, changed(config, seed=seed), error)
