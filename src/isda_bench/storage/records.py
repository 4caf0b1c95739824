"""Records of finished runs as a table, and their collection in another folder."""

import sys
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from isda_bench.config.generator_config import FOLDER, GeneratorConfig
from isda_bench.config.run_config import RunConfig, flat
from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.storage.checksummed_json import write_checksummed
from isda_bench.storage.record_files import (
    METRICS,
    RECORD,
    RUN,
    epochs_done,
    kind_of,
    metric_rows,
    metrics_content,
    read_record,
    read_run,
    record_files,
)
from isda_bench.storage.record_model import is_set_aside

PROTOCOLS = {"last_10": "mean of the last 10 epochs", "final": "last epoch", "best": "best epoch"}
NAMED = 4  # differences that a message names


def read_records(roots: Iterable[Path], left_out: list[str] | None = None) -> pd.DataFrame:
    """A row for each finished run below `roots` (<root>/<run id>/record.json), each run once.

    Where two roots have a run, that of the first counts; if the other says something else, a note on stderr
    names both: another machine has run it again.

    Columns: run_id, cell, seed, dataset, model, loss, split, last_10, final, best (errors in percent),
    epochs, seconds, path, record.

    Args:
        roots: the folders.
        left_out: receives, for each record that is damaged, or whose metrics are, or that another one of the
            same root contradicts, why it is not in the table; null: such a record is an error.

    Raises:
        UserError: a record is damaged, or one root has a run twice with different content.
    """
    rows: dict[str, dict[str, Any]] = {}
    for root in roots:
        for run_id, row in _rows_below(root, left_out).items():
            first = rows.setdefault(run_id, row)
            if differing := differences(first["record"], row["record"]):
                print(
                    f"note: {first['path']} and {row['path']} are one run, trained twice; the first counts: "
                    f"{_listed(differing)}",
                    file=sys.stderr,
                )
    return pd.DataFrame(list(rows.values()), columns=_COLUMNS)


def _rows_below(root: Path, left_out: list[str] | None) -> dict[str, dict[str, Any]]:
    """Run id -> row, of the finished runs in one folder."""
    own: dict[str, dict[str, Any]] = {}
    for path in record_files(root):
        try:
            row = _row(read_record(path), path.parent)
            if is_debug(row["record"]):
                continue
            if left_out is not None:
                read_metrics(path.parent)
            _refuse_other_content(own.get(row["run_id"], row), row)
        except UserError as error:
            if left_out is None:
                raise
            left_out.append(str(error))
        else:
            own.setdefault(row["run_id"], row)
    return own


def _refuse_other_content(first: dict[str, Any], second: dict[str, Any]) -> None:
    if differing := differences(first["record"], second["record"]):
        raise UserError(
            f"{first['path']} and {second['path']} are both the run {first['run_id']} and differ: "
            f"{_listed(differing)}; move one of them away"
        )


class UnfinishedRun(NamedTuple):
    """An unfinished run: its id, cell and seed, and its finished epochs."""

    run_id: str
    cell: str
    seed: int
    epochs: int


def unfinished_runs(roots: Iterable[Path], left_out: list[str] | None = None) -> list[UnfinishedRun]:
    """The runs below `roots` that have a configuration and no record.

    Args:
        roots: the folders.
        left_out: receives why a run is left out; null: it is an error.

    Raises:
        UserError: a configuration is damaged.
    """
    found = []
    for path in (path for root in roots for path in sorted(root.glob(f"*/{RUN}"))):
        if path.with_name(RECORD).exists() or is_set_aside(path.parent):
            continue
        try:
            found.append(_unfinished(path))
        except UserError as error:
            if left_out is None:
                raise
            left_out.append(str(error))
    return found


def read_metrics(directory: Path) -> pd.DataFrame:
    """A row an epoch of the finished run in `directory`; metrics of each class are lists.

    Raises:
        UserError: its metrics or its record are damaged.
    """
    return pd.DataFrame(metric_rows(directory))


def errors_by_epoch(directory: Path, split: str) -> pd.Series:
    """The errors of a finished run on a split, by epoch; NaN where it was not evaluated.

    Raises:
        UserError: the metrics are damaged or lack them.
    """
    metrics = read_metrics(directory).set_index("epoch")
    if f"{split}_error" not in metrics:
        raise UserError(f"{directory / METRICS}: lacks the {split} error that the record has")
    return metrics[f"{split}_error"]


def collect_records(runs_dir: Path, out: Path) -> list[Path]:
    """Copies record.json and metrics.jsonl of every finished run, without the paths of the machine it ran on.

    Returns:
        The directories written, <out>/<run id>, a generator's <out>/generators/<run id>.

    Raises:
        UserError: a record or its metrics are damaged, two directories hold one run with different content,
            or something cannot be written, or would be written outside `out`.
    """
    written: dict[Path, dict[str, Any]] = {}
    for kind, source, folder in (
        (RunConfig, runs_dir, out),
        (GeneratorConfig, runs_dir / FOLDER, out / FOLDER),
    ):
        for path in record_files(source):
            record, metrics = read_record(path, kind), metrics_content(path.parent)
            if is_debug(record):
                continue
            row = {"run_id": record["run_id"], "path": path.parent, "record": record}
            target = _inside(out, folder / record["run_id"])
            _refuse_other_content(written.setdefault(target, row), row)
            _report_replaced(target / RECORD, path, record)
            target.mkdir(parents=True, exist_ok=True)
            write_atomically(target / METRICS, metrics)
            write_checksummed(target / RECORD, without_machine(record), {METRICS: metrics})
    return list(written)


def _report_replaced(path: Path, source: Path, record: dict[str, Any]) -> None:
    """Notes on stderr that another training of the run lies where its record is written."""
    try:
        there = read_record(path, kind_of(record)) if path.exists() else record
    except UserError as error:
        print(f"note: replaced by {source}: {error}", file=sys.stderr)
    else:
        if differing := differences(there, record):
            print(f"note: {path}: replaced by {source}: {_listed(differing)}", file=sys.stderr)


def is_debug(record: dict[str, Any]) -> bool:
    """Whether it is of a run with `debug=true`, which belongs in no table."""
    return bool(record["config"].get("debug"))


def without_machine(record: dict[str, Any]) -> dict[str, Any]:
    """The record without the paths of the machine on which the run was trained."""
    record = deepcopy(record)
    config = record["config"]
    config["runs_dir"] = "runs"
    if "root" in config["dataset"]:
        config["dataset"]["root"] = "data"
    if config.get("generator", {}).get("run"):
        config["generator"]["run"] = Path(config["generator"]["run"]).name
    if config.get("classifier"):
        config["classifier"] = Path(config["classifier"]).name
    return record


def differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> both values, where two records of one run differ; paths of the machine do not count."""
    if first is second or first == second:
        return {}
    one, other = flat(without_machine(first)), flat(without_machine(second))
    keys = dict.fromkeys([*(key for key in one if key.startswith("error.")), *one, *other])
    return {key: (one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)}


def _listed(differing: dict[str, tuple[Any, Any]]) -> str:
    named = [f"{key} {first} and {second}" for key, (first, second) in differing.items()][:NAMED]
    more = len(differing) - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")


def _inside(out: Path, target: Path) -> Path:
    """The directory, if it lies where its path says: no symbolic link leads out of `out`."""
    if target.resolve() != out.resolve() / target.relative_to(out):
        raise UserError(f"{target}: a symbolic link leads elsewhere; nothing is written there")
    return target


_COLUMNS = ["run_id", "cell", "seed", "dataset", "model", "loss", "split", *PROTOCOLS]
_COLUMNS += ["epochs", "seconds", "path", "record"]


def _row(record: dict[str, Any], directory: Path) -> dict[str, Any]:
    names, error = record["names"], record["error"]
    parts = {key: names[key] for key in ("dataset", "model", "loss")}
    same = {key: record[key] for key in ("run_id", "cell", "split", "epochs", "seconds")}
    errors = {protocol: error[protocol] for protocol in PROTOCOLS}
    return parts | same | errors | {"seed": record["config"]["seed"], "path": directory, "record": record}


def _unfinished(path: Path) -> UnfinishedRun:
    content = read_run(path)
    if kind_of(content) is not RunConfig:
        raise UserError(f"{path}: is a generator's run; those lie in {FOLDER}")
    run = RunConfig(content["config"], content["names"])
    return UnfinishedRun(run.run_id, run.cell, run.config["seed"], epochs_done(path.parent))
