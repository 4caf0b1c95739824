"""Records of finished runs, grouped into cells: runs that differ in the seed alone."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from isda_bench.atomic import write_atomically
from isda_bench.config import OLDER_FUNCTIONS, RunConfig, flat
from isda_bench.coordinates import older_functions
from isda_bench.errors import UserError
from isda_bench.gan.config import FOLDER, GeneratorConfig
from isda_bench.record import METRICS, RECORD, metrics_content, read_record
from isda_bench.sealed import read_sealed, write_sealed

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


def cell_statistics(records: pd.DataFrame, protocol: str = "last_10") -> pd.DataFrame:
    """Number of runs, mean and standard deviation (n - 1) of each cell's error, in the records' order.

    Columns: cell, dataset, model, loss, variant, split, epochs, n, mean, std (NaN for a single run).
    """
    keys = ["cell", "dataset", "model", "loss", "variant", "split", "epochs"]
    grouped = with_variants(records).groupby(keys, sort=False)[protocol]
    return grouped.agg(n="count", mean="mean", std="std").reset_index()


def with_variants(records: pd.DataFrame) -> pd.DataFrame:
    """The records and a column `variant`: what tells a cell from others of its data set, network and loss.

    'loss.strength=0.25, dataset.train_size=1000', or empty where nothing else is like it; an older function of a
    component is always named.
    """
    settings = records["record"].map(lambda record: flat(record["identity"]))
    variants = pd.Series("", index=records.index, dtype=object)
    for _, alike in records.groupby(["dataset", "model", "loss"], sort=False):
        chosen = settings[alike.index]
        keys = sorted({key for flat in chosen for key in flat} - {"seed", "schedule.epochs", *OLDER_FUNCTIONS})
        differing = [key for key in keys if len({json.dumps(flat.get(key)) for flat in chosen}) > 1]
        variants[alike.index] = chosen.map(
            lambda flat, keys=differing: ", ".join(f"{key}={json.dumps(flat.get(key))}" for key in keys)
        )
    older = records["record"].map(lambda record: older_functions(record["names"], record["config"]))
    return records.assign(variant=[", ".join(filter(None, both)) for both in zip(variants, older, strict=True)])


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
        write_sealed(target / RECORD, record, {METRICS: metrics})
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
    content = read_sealed(path)
    try:
        run = RunConfig(content["config"], content["names"])
        seed = run.config["seed"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged: lacks {error}") from error
    metrics = path.with_name("metrics.jsonl")
    epochs = len(metrics.read_text().splitlines()) if metrics.exists() else 0
    return UnfinishedRun(run.run_id, run.cell, seed, epochs)
