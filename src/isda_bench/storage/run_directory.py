"""A run's directory: its lock, its configuration, its metrics, and its record, which is written last."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from isda_bench.config.run_config import RunConfig
from isda_bench.data.base import DataFingerprint
from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import remove_leftovers, write_atomically
from isda_bench.storage import checkpoint
from isda_bench.storage.checkpoint_content import check_progress, one_error
from isda_bench.storage.checksummed_json import read_unchecked, verify_checksum, write_checksummed
from isda_bench.storage.component_code import changed_sections, component_code
from isda_bench.storage.confusion import confusion_beside
from isda_bench.storage.data_check import INDICES, check_data
from isda_bench.storage.provenance import git_state
from isda_bench.storage.record_files import DATA, METRICS, RECORD, RUN, read_record, read_run
from isda_bench.storage.run_lock import RunLock
from isda_bench.storage.run_results import Metrics

CODE = "component_code"  # key of run.json
DATA_KEYS = {DATA: "data", INDICES: "images of the data set"}
WAYS_ON = (
    "runs_dir=... gives a run of these data another place, rerun=true sets the old one aside and trains again"
)


class RunDirectory:
    """The directory of one run: `runs_dir`/<run id>.

        run.json       the configuration, written first
        claims/        the lock, see run_lock.py
        metrics.jsonl  a line an epoch
        checkpoint-*   see checkpoint.py
        confusion.json of the last evaluation, where the record has no room for it
        record.json    the completion mark, written last

    Args:
        config: of the run; its id names the directory.

    Attributes:
        path: the directory.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.path = config.directory
        self.lock = RunLock(self.path)

    @contextmanager
    def locked(self, used: dict[str, Any] | None = None) -> Iterator[None]:
        """Makes the directory and holds its lock, which the end of the process releases, too.

        Args:
            used: further inputs that decide the result (checksum of the data, generator): stored in run.json,
                and required to be the same when the run resumes.

        Raises:
            RunLocked: another process trains this run.
            UserError: the directory holds another configuration or used something else, or it cannot be
                written; `OtherData` where the data are others.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self.lock)
            except OSError as error:
                raise UserError(
                    f"runs_dir: {self.path} cannot be written: {error.strerror or error}"
                ) from error
            remove_leftovers(self.path)
            checkpoint.remove_older(self.path)  # a process may have been killed before it did
            self._claim(used or {})
            yield

    def _claim(self, used: dict[str, Any]) -> None:
        """Writes the configuration, or checks that the stored one is the same."""
        path = self.path / RUN
        code = component_code(self.config.config)
        if not path.exists():
            content = self.config.as_dict() | used | {CODE: code, "started": now(), "git": git_state()}
            write_checksummed(path, content)
            return
        held = read_unchecked(path)
        if held.get("identity") != self.config.as_dict()["identity"]:
            raise UserError(
                f"{self.path}: holds a run of another configuration; move it away or change runs_dir"
            )
        verify_checksum(path, held)
        for key, value in used.items():
            if key in (DATA, INDICES):
                check_data(self.path, held.get(key), value, WAYS_ON, DATA_KEYS[key])
            elif held.get(key) != value:
                raise UserError(f"{self.path}: began with {key} {held.get(key)}, not {value}; nothing done")
        self.warn_of_changed_code()

    def check_data(self, found: DataFingerprint | None) -> None:
        """Compares the present data with those that the run started with, or was finished with.

        Args:
            found: their checksums; None: they cannot be read, and nothing is compared.

        Raises:
            OtherData: they differ.
            UserError: run.json is damaged.
        """
        if found is not None:
            held = self.run_json() | (self.finished() or {})
            check_data(self.path, held.get(DATA), found.data, WAYS_ON)
            check_data(self.path, held.get(INDICES), found.indices, WAYS_ON, DATA_KEYS[INDICES])

    def warn_of_changed_code(self) -> None:
        """Reports components edited since the run started, on stderr; older runs lack the entry."""
        held = self.run_json().get(CODE)
        if not isinstance(held, dict):
            return
        config = self.config.config
        for section in changed_sections(held, component_code(config)):
            print(
                f"{self.config.run_id}: the code of {section}, {config[section]['_target_']}, has changed "
                f"since this run began; rerun=true trains again",
                file=sys.stderr,
            )

    def set_aside(self) -> Path | None:
        """Renames the directory to <run id>.old-<n>, which readers of runs skip.

        Returns:
            The new path; None where there was no directory.

        Raises:
            RunLocked: a process trains this run.
            UserError: it cannot be renamed.
        """
        if not self.path.exists():
            return None
        numbers = (
            n for n in count(1) if not os.path.lexists(self.path.with_name(f"{self.path.name}.old-{n}"))
        )
        target = self.path.with_name(f"{self.path.name}.old-{next(numbers)}")
        try:
            with RunLock(self.path) as lock:
                lock.move(target)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be renamed: {error.strerror or error}") from error
        return target

    def run_json(self) -> dict[str, Any]:
        """The content of run.json; empty where there is no such file.

        Raises:
            UserError: it is damaged.
        """
        path = self.path / RUN
        return read_run(path) if path.exists() else {}

    def beginning(self) -> dict[str, Any]:
        """When the run was first started (UTC), and the state of the code then."""
        held = self.run_json()
        return {key: held.get(key) for key in ("started", "git")}

    def finished(self) -> dict[str, Any] | None:
        """The record, if the run is finished.

        Raises:
            UserError: it is damaged.
        """
        path = self.path / RECORD
        if not path.exists():
            return None
        record = read_record(path, type(self.config))
        if record["run_id"] != self.config.run_id:
            raise UserError(f"{path}: is the record of another run, {record['run_id']}")
        return record

    def append(self, row: Metrics) -> None:
        """Adds an epoch's metrics.

        Raises:
            RunLocked: another process has taken the run over while this one was suspended.
            UserError: the line cannot be written.
        """
        self.lock.check()
        path = self.path / METRICS
        try:
            with path.open("ab") as file:
                file.write(_lines([row]))
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error

    def rewrite(self, metrics: list[Metrics]) -> None:
        """Replaces the file of metrics by these epochs."""
        write_atomically(self.path / METRICS, _lines(metrics))

    def save(self, state: dict[str, Any], epoch: int, step: int | None = None) -> None:
        """Writes a checkpoint of the end of `epoch`, or of `step` steps after it.

        Raises:
            RunLocked: another process has taken the run over.
            UserError: it cannot be written.
        """
        self.lock.check()
        checkpoint.save(self.path, epoch, state, step)

    def newest_state(self) -> dict[str, Any] | None:
        """The state of the newest whole checkpoint, if there is one.

        Raises:
            UserError: it holds no progress of a training.
        """
        state = checkpoint.load_newest(self.path)
        if state is not None:
            with one_error(self.path):
                check_progress(state)
        return state

    def finish(self, record: dict[str, Any], metrics: list[Metrics]) -> None:
        """Writes the record, with the checksum of the metrics: the run is finished from then on.

        Raises:
            RunLocked: another process has taken the run over.
            UserError: it cannot be written.
        """
        self.lock.check()
        self.rewrite(metrics)
        beside = {METRICS: _lines(metrics)} | confusion_beside(self.path, record)
        write_checksummed(self.path / RECORD, record, beside)


class NullRunDirectory(RunDirectory):
    """The directory as the other ranks have it: the first one alone writes, and restores the state."""

    @contextmanager
    def locked(self, used: dict[str, Any] | None = None) -> Iterator[None]:
        """Does nothing."""
        yield

    def set_aside(self) -> Path | None:
        """Does nothing."""
        return None

    def warn_of_changed_code(self) -> None:
        """Does nothing."""

    def beginning(self) -> dict[str, Any]:
        """Empty: only the first rank reads run.json."""
        return {}

    def append(self, row: Metrics) -> None:
        """Does nothing."""

    def rewrite(self, metrics: list[Metrics]) -> None:
        """Does nothing."""

    def save(self, state: dict[str, Any], epoch: int, step: int | None = None) -> None:
        """Does nothing."""

    def newest_state(self) -> dict[str, Any] | None:
        """None: only the first rank reads checkpoints."""

    def finish(self, record: dict[str, Any], metrics: list[Metrics]) -> None:
        """Does nothing."""


def now() -> str:
    """The time, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _lines(metrics: list[Metrics]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in metrics).encode()
