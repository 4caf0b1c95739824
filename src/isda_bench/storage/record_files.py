"""Reads the files of runs (run.json, record.json, metrics) and checks them; imports no torch."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.config.run_config import RunConfig
from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import read_file
from isda_bench.runtime.home_folder import expand_home
from isda_bench.storage.checksummed_json import (
    checked_content,
    has_checksum,
    parse_any_json,
    read_beside,
    read_checksummed,
    read_unchecked,
)
from isda_bench.storage.record_consistency import metrics_problems
from isda_bench.storage.record_model import is_set_aside, record_problems, run_problems
from isda_bench.storage.run_results import Metrics, is_metric

METRICS, RECORD, RUN = "metrics.jsonl", "record.json", "run.json"
DATA = "data_sha256"
"""Key of the data's checksum in run.json and in the record; older files may lack it."""
NAMED = 3  # problems in one message
FEW_EPOCHS = 20
"""Below so many epochs the mean of the last ten is one of early epochs too: the last epoch's error leads."""


def read_record(path: Path, kind: type[RunConfig] = RunConfig) -> dict[str, Any]:
    """The record in `path`, a finished run's record.json: of right types, with ids that follow from it.

    A classifier's errors are those of the metrics beside it, where these are undamaged. Records older than
    the checksum are not compared.

    Args:
        path: the file.
        kind: of the run.

    Raises:
        UserError: it cannot be read, is damaged, or is not the record of such a run.
    """
    content = read_unchecked(path)
    record = checked_content(path, content)
    _refuse(path, record_problems(record, kind))
    if kind is RunConfig and has_checksum(content) and (path.parent / METRICS).exists():
        _refuse_other_metrics(path, content)
    return record


def read_run(path: Path) -> dict[str, Any]:
    """The content of `path`, the run.json of a started run (or its record), checked as records are.

    Raises:
        UserError: it cannot be read, is damaged, or is not the run.json of such a run.
    """
    run = read_checksummed(path)
    _refuse(path, run_problems(run, kind_of(run)))
    return run


def kind_of(content: dict[str, Any]) -> type[RunConfig]:
    """The kind of the run that a run.json or a record is about."""
    names = content.get("names")
    return RunConfig if isinstance(names, dict) and "loss" in names else GeneratorConfig


def read_finished(directory: Path) -> dict[str, Any]:
    """The record of a finished run's directory.

    Raises:
        UserError: the run is not finished, or the folder is not a run's directory.
    """
    path = directory / RECORD
    if not path.exists():
        state = "is not finished" if (directory / RUN).exists() else "is no run's directory"
        raise UserError(f"{directory}: {state} (no record.json)")
    return read_record(path)


def record_file(path: str) -> Path:
    """The record.json at a user's path: the file itself, or that of a run's directory.

    Raises:
        UserError: there is no such file.
    """
    given = expand_home(path)
    file = given / RECORD if given.is_dir() else given
    if not file.is_file():
        raise UserError(f"{path}: is neither a record nor the directory of a finished run (no {RECORD})")
    return file


def record_files(root: Path) -> list[Path]:
    """<root>/<run id>/record.json of every finished run, sorted; not of those that `rerun=true` set aside."""
    return sorted(path for path in root.glob(f"*/{RECORD}") if not is_set_aside(path.parent))


def readable_records(root: Path, kind: type[RunConfig] = RunConfig) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every finished run's file and record; one that cannot be read is skipped with a line on stderr."""
    for path in record_files(root):
        try:
            yield path, read_record(path, kind)
        except UserError as error:
            print(f"skipped: {error}", file=sys.stderr)


def leading_error(record: dict[str, Any]) -> float:
    """A record's error in percent: the paper's mean of the last epochs, of a short run the last epoch's."""
    error: float = record["error"]["final" if record["epochs"] < FEW_EPOCHS else "last_10"]
    return error


def metrics_content(directory: Path) -> bytes:
    """The lines of the finished run's metrics.jsonl, as written.

    Raises:
        UserError: they cannot be read, or do not have the checksum in the record.
    """
    return read_beside(directory / RECORD, METRICS)


def metric_rows(directory: Path) -> list[Metrics]:
    """The metrics of the finished run in `directory`, epoch by epoch; metrics of each class are lists.

    Raises:
        UserError: its metrics or its record are damaged.
    """
    return _rows(directory / METRICS, metrics_content(directory))


def _rows(file: Path, content: bytes) -> list[Metrics]:
    try:
        rows = [parse_any_json(line) for line in content.decode().splitlines()]
    except ValueError as error:
        raise UserError(f"{file}: damaged: {error}") from error
    before = 0
    for number, row in enumerate(rows, 1):
        measured = isinstance(row, dict) and all(map(is_metric, row, row.values()))
        epoch = row.get("epoch") if measured else None
        if not isinstance(epoch, int) or epoch <= before:
            raise UserError(
                f"{file}: damaged: line {number} should hold the numbers of an epoch after {before}"
            )
        before = epoch
    if not rows:
        raise UserError(f"{file}: damaged: it holds no epoch")
    return rows


def _refuse_other_metrics(path: Path, content: dict[str, Any]) -> None:
    """Compares a record with the metrics beside it; damaged metrics are reported where they are read."""
    file = path.parent / METRICS
    try:
        rows = _rows(file, read_beside(path, METRICS, content))
    except UserError:
        return
    if problems := metrics_problems(content, rows):
        raise UserError(f"{path}: contradicts {file}: {_first(problems)}")


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        raise UserError(f"{path}: damaged: {_first(problems)}")


def _first(problems: list[str]) -> str:
    more = f" and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    return f"{'; '.join(problems[:NAMED])}{more}"


def epochs_done(directory: Path) -> int:
    """Lines of the run's metrics.jsonl, which is not checked; 0 where it cannot be read."""
    try:
        return read_file(directory / METRICS).count(b"\n")
    except OSError:
        return 0
