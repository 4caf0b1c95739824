"""The confusion matrix of a run's last evaluation: in the record where it is small, else in a file beside it.

A matrix of at most 20 classes is a key of the record, a line a class; a larger one, of at most 100 classes,
is the file confusion.json, whose checksum the record has. Until there is a record each matrix is in the file.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.runtime.ranks import rank
from isda_bench.storage.checksummed_json import parse_json, read_beside
from isda_bench.storage.record_files import RECORD

if TYPE_CHECKING:
    from isda_bench.storage.run_directory import RunDirectory

CONFUSION = "confusion"
"""Key of the record."""
FILE = "confusion.json"
FEW_CLASSES = 20

Counts = list[list[int]]
"""(C, C): a row for each true class, a column for each class that its images are taken for."""


def keep_confusion(directory: "RunDirectory", counts: Any) -> None:
    """Writes the matrix of the evaluation of the last epoch.

    Args:
        directory: of the run.
        counts: the matrix, `Counts`; None: nothing is written.

    Raises:
        RunLocked: another process has taken the run over.
        UserError: it cannot be written.
    """
    if counts is not None and rank() == 0:
        directory.lock.check()
        text = json.dumps({"counts": counts}, separators=(",", ":"))
        write_atomically(directory.path / FILE, f"{text}\n".encode())


def confusion_entry(directory: "RunDirectory") -> dict[str, list[str]]:
    """The key of the record: '36 0 0 ...' for each class; empty where the matrix is large, or there is none.

    Raises:
        UserError: the file is damaged.
    """
    counts = _read(directory.path / FILE) if rank() == 0 and (directory.path / FILE).exists() else None
    if counts is None or len(counts) > FEW_CLASSES:
        return {}
    return {CONFUSION: [" ".join(map(str, row)) for row in counts]}


def confusion_beside(path: Path, record: dict[str, Any]) -> dict[str, bytes]:
    """The file, whose checksum the record is to have; empty where the record has the matrix."""
    file = path / FILE
    return {FILE: file.read_bytes()} if file.exists() and CONFUSION not in record else {}


def discard_confusion(directory: "RunDirectory", record: dict[str, Any]) -> None:
    """Removes the file, once the record has its content; one that cannot be removed does no harm."""
    if CONFUSION in record and rank() == 0:
        with suppress(OSError):
            (directory.path / FILE).unlink()


def read_confusion(path: Path, record: dict[str, Any]) -> Counts | None:
    """The matrix of a finished run; None where it has none.

    Args:
        path: the run's directory.
        record: its record.

    Raises:
        UserError: it is damaged, or is not the one that the record was written with.
    """
    if CONFUSION in record:
        rows = [[int(count) for count in row.split()] for row in record[CONFUSION]]
        return _checked(path / RECORD, rows)
    if not (path / FILE).exists():
        return None
    read_beside(path / RECORD, FILE)  # compares the checksums
    return _read(path / FILE)


def _read(file: Path) -> Counts:
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: damaged: {error}") from error
    return _checked(file, content.get("counts") if isinstance(content, dict) else None)


def _checked(file: Path, rows: Any) -> Counts:
    if not isinstance(rows, list) or not rows or not all(_is_row(row, len(rows)) for row in rows):
        raise UserError(f"{file}: damaged: the confusion matrix should be a square of counts")
    return rows


def _is_row(row: Any, length: int) -> bool:
    right = isinstance(row, list) and len(row) == length
    return right and all(type(count) is int and 0 <= count < 2**53 for count in row)
