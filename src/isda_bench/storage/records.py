"""Records of finished runs, grouped into cells: runs that differ in the seed alone."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from isda_bench.config.generator_config import FOLDER, GeneratorConfig
from isda_bench.config.run_config import RunConfig
from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.storage.checksummed_json import read_checksummed, write_checksummed
from isda_bench.storage.record_files import METRICS, RECORD, metrics_content, read_record

PROTOCOLS = {"last_10": "mean of the last 10 epochs", "final": "last epoch", "best": "best epoch"}


def read_records(roots: Iterable[Path]) -> pd.DataFrame:
    """A row for each finished run below `roots` (<root>/<run id>/record.json), each run once.

    Columns: run_id, cell, seed, dataset, model, loss, split, last_10, final, best (errors in percent),
    epochs, seconds, path, record.

    Raises:
        UserError: a record is damaged.
    """
    rows: dict[str, dict[str, Any]] = {}
    for root in roots:
        for path in sorted(root.glob("*/record.json")):
            row = _row(read_record(path), path.parent)
            rows.setdefault(row["run_id"], row)
    return pd.DataFrame(list(rows.values()), columns=_COLUMNS)


class UnfinishedRun(NamedTuple):
    """A run that has begun: its id, cell and seed, and the epochs behind it."""

    run_id: str
    cell: str
    seed: int
    epochs: int


def unfinished_runs(roots: Iterable[Path]) -> list[UnfinishedRun]:
    """The runs below `roots` that have a configuration and no record.

    Raises:
        UserError: a configuration is damaged.
    """
    return [
        _unfinished(path)
        for root in roots
        for path in sorted(root.glob("*/run.json"))
        if not path.with_name("record.json").exists()
    ]


def read_metrics(directory: Path) -> pd.DataFrame:
    """A row an epoch of the finished run in `directory`.

    Raises:
        UserError: its metrics or its record are damaged.
    """
    try:
        rows = [json.loads(line) for line in metrics_content(directory).splitlines()]
    except ValueError as error:
        raise UserError(f"{directory / 'metrics.jsonl'}: damaged: {error}") from error
    return pd.DataFrame(rows)


def collect_records(runs_dir: Path, out: Path) -> list[Path]:
    """Copies record.json and metrics.jsonl of every finished run, without the paths of the machine it ran on.

    Returns:
        The directories written, <out>/<run id>, a generator's <out>/generators/<run id>.

    Raises:
        UserError: a record or its metrics are damaged, or something cannot be written.
    """
    finished = [(path, RunConfig.result, out) for path in sorted(runs_dir.glob("*/record.json"))]
    finished += [
        (path, GeneratorConfig.result, out / FOLDER)
        for path in sorted((runs_dir / FOLDER).glob("*/record.json"))
    ]
    written = []
    for path, result, folder in finished:
        record, metrics = read_record(path, result), metrics_content(path.parent)
        _leave_the_machine_out(record["config"])
        target = folder / record["run_id"]
        target.mkdir(parents=True, exist_ok=True)
        write_atomically(target / METRICS, metrics)
        write_checksummed(target / RECORD, record, {METRICS: metrics})
        written.append(target)
    return written


def _leave_the_machine_out(config: dict[str, Any]) -> None:
    config["runs_dir"] = "runs"
    if "root" in config["dataset"]:
        config["dataset"]["root"] = "data"
    if config.get("generator", {}).get("run"):
        config["generator"]["run"] = Path(config["generator"]["run"]).name
    if config.get("classifier"):
        config["classifier"] = Path(config["classifier"]).name


_COLUMNS = ["run_id", "cell", "seed", "dataset", "model", "loss", "split", *PROTOCOLS]
_COLUMNS += ["epochs", "seconds", "path", "record"]


def _row(record: dict[str, Any], directory: Path) -> dict[str, Any]:
    names, error = record["names"], record["error"]
    parts = {key: names[key] for key in ("dataset", "model", "loss")}
    same = {key: record[key] for key in ("run_id", "cell", "split", "epochs", "seconds")}
    errors = {protocol: error[protocol] for protocol in PROTOCOLS}
    return parts | same | errors | {"seed": record["config"]["seed"], "path": directory, "record": record}


def _unfinished(path: Path) -> UnfinishedRun:
    content = read_checksummed(path)
    try:
        run = RunConfig(content["config"], content["names"])
        seed = run.config["seed"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged: lacks {error}") from error
    metrics = path.with_name("metrics.jsonl")
    epochs = len(metrics.read_text().splitlines()) if metrics.exists() else 0
    return UnfinishedRun(run.run_id, run.cell, seed, epochs)
