"""A run's directory: its lock, its configuration, its metrics, and its record, which is written last."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from isda_bench.atomic import remove_leftovers, write_atomically
from isda_bench.config import RunConfig
from isda_bench.errors import UserError
from isda_bench.provenance import git_state

Metrics = dict[str, Any]
LAST_EPOCHS = 10  # over which the paper averages the test error


class RunDirectory:
    """The directory of one run: `runs_dir`/<run id>.

        run.json       the configuration, written first
        metrics.jsonl  a line an epoch
        checkpoint-*   see checkpoint.py
        record.json    the completion mark, written last

    Args:
        config: what is run; its id names the directory.

    Attributes:
        path: the directory.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.path = Path(config.settings.runs_dir).expanduser() / config.run_id

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the directory and holds its lock, which goes with the process that holds it.

        Raises:
            UserError: another process trains this run, the directory holds another configuration, or it
                cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / "lock", timeout=0)
            lock.acquire()
        except Timeout as error:
            raise UserError(f"{self.path}: another process is at work on this run; nothing done") from error
        except OSError as error:
            raise UserError(f"runs_dir: {self.path} cannot be written: {error.strerror or error}") from error
        try:
            remove_leftovers(self.path)
            self._claim()
            yield
        finally:
            lock.release()

    def _claim(self) -> None:
        """Writes the configuration, or checks that it is the one that is there."""
        path = self.path / "run.json"
        if not path.exists():
            content = self.config.as_dict() | {"started": now(), "git": git_state()}
            write_atomically(path, _json(content))
            return
        held = read_json(path)
        if held.get("identity") != self.config.as_dict()["identity"]:
            raise UserError(
                f"{self.path}: holds a run of another configuration; move it away or change runs_dir"
            )

    def beginning(self) -> dict[str, Any]:
        """When the run was first started (UTC), and the state of the code then."""
        held = read_json(self.path / "run.json")
        return {key: held.get(key) for key in ("started", "git")}

    def finished(self) -> dict[str, Any] | None:
        """The record, if the run is finished.

        Raises:
            UserError: it is damaged.
        """
        path = self.path / "record.json"
        return read_record(path) if path.exists() else None

    def append(self, row: Metrics) -> None:
        """Adds an epoch's metrics.

        Raises:
            UserError: the line cannot be written.
        """
        path = self.path / "metrics.jsonl"
        try:
            with path.open("ab") as file:
                file.write(_line(row))
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error

    def rewrite(self, metrics: list[Metrics]) -> None:
        """Makes the file of metrics hold these epochs and no other."""
        write_atomically(self.path / "metrics.jsonl", b"".join(_line(row) for row in metrics))

    def finish(self, record: dict[str, Any]) -> None:
        """Writes the record: from here on the run is finished."""
        write_atomically(self.path / "record.json", _json(record))


def errors_of(metrics: list[Metrics], split: str) -> dict[str, float]:
    """The run's errors in percent: mean over the last ten epochs (the paper's), of the last one, the best."""
    values = {row["epoch"]: row[f"{split}_error"] for row in metrics if f"{split}_error" in row}
    last = [value for epoch, value in values.items() if epoch > len(metrics) - LAST_EPOCHS]
    return {"last_10": sum(last) / len(last), "final": last[-1], "best": min(values.values())}


def now() -> str:
    """The time, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UserError: it cannot be read, or is not JSON.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged or not readable: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: damaged: should hold an object")
    return content


def read_record(path: Path) -> dict[str, Any]:
    """The record in `path`, a finished run's record.json.

    Raises:
        UserError: it cannot be read, or lacks what every record has.
    """
    record = read_json(path)
    lacking = [
        key
        for key in ("run_id", "cell", "names", "config", "identity", "error", "epochs")
        if key not in record
    ]
    if lacking:
        raise UserError(f"{path}: damaged: lacks {', '.join(lacking)}")
    return record


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _line(row: Metrics) -> bytes:
    return (json.dumps(row) + "\n").encode()
