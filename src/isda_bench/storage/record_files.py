"""Reads what a finished run's directory holds; imports no torch."""

from pathlib import Path
from typing import Any

from isda_bench.errors import UserError
from isda_bench.storage.checksummed_json import read_beside, read_checksummed

METRICS, RECORD = "metrics.jsonl", "record.json"


def read_record(path: Path, result: str = "error") -> dict[str, Any]:
    """The record in `path`, a finished run's record.json.

    Args:
        path: the file.
        result: the key of what came out of such a run.

    Raises:
        UserError: it cannot be read, is damaged, or lacks what every record has.
    """
    record = read_checksummed(path)
    needed = ("run_id", "cell", "names", "config", "identity", result, "epochs")
    lacking = [key for key in needed if key not in record]
    if lacking:
        raise UserError(f"{path}: damaged: lacks {', '.join(lacking)}")
    return record


def metrics_content(directory: Path) -> bytes:
    """The lines of the finished run's metrics.jsonl, as written.

    Raises:
        UserError: they cannot be read, or do not have the checksum that the record holds.
    """
    return read_beside(directory / RECORD, METRICS)


def read_finished(directory: Path) -> dict[str, Any]:
    """The record of a finished run's directory.

    Raises:
        UserError: there is none.
    """
    path = directory / RECORD
    if not path.exists():
        state = "is not finished" if (directory / "run.json").exists() else "is no run's directory"
        raise UserError(f"{directory}: {state} (no record.json)")
    return read_record(path)
