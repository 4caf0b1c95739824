"""Run directories as training leaves them, with errors of the tests' own."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from isda_bench.config.run_config import RunConfig, identity


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
    root: Path, config: RunConfig, error: float | None, epochs: int = 3, rate: float = 1000.0
) -> Path:
    """A finished run with this error in percent; None: it has begun and is not finished."""
    directory = root / config.run_id
    directory.mkdir(parents=True)
    (directory / "run.json").write_text(json.dumps(config.as_dict()))
    split = "validation" if config.config["dataset"]["val_size"] else "test"
    rows = [{"epoch": epoch + 1, f"{split}_error": error} for epoch in range(epochs)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if error is not None:
        record = config.as_dict() | {
            "split": split,
            "error": {"last_10": error, "final": error + 1, "best": max(error - 1, 0.0)},
            "epochs": config.config["schedule"]["epochs"],
            "seconds": 1.0,
            "images_per_second": rate,
            "device": {"type": "cuda", "name": "GPU", "threads": 1},
        }
        assert record["identity"] == identity(config.config)
        (directory / "record.json").write_text(json.dumps(record))
    return directory


def write_runs(root: Path, config: RunConfig, errors: list[float]) -> None:
    """Finished runs with seeds 0, 1, ..."""
    for seed, error in enumerate(errors):
        write_run(root, changed(config, seed=seed), error)
