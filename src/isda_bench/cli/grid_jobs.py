"""The progress of a grid: each job's place, and the submissions to a cluster."""

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode

from isda_bench.config.compose import hydra_context
from isda_bench.config.grids import grid_lines
from isda_bench.config.override_text import parse
from isda_bench.config.run_config import RunConfig
from isda_bench.monitoring.grid_position import GridPosition
from isda_bench.reporting.durations import duration_text

SECONDS_BETWEEN_LOOKS = 1.0
ERROR = "error: "
"""Before a run's error on stderr."""


class GridJobs:
    """The jobs of one command. A launcher can copy them to other processes.

    Args:
        lines: `key=value` arguments of each command line that the command stands for: one for each part of a
            table.
        kind: of the configured runs.
    """

    def __init__(self, lines: list[list[str]], kind: type[RunConfig] = RunConfig) -> None:
        self.lines = lines
        self.line = 0
        self.durations: list[float] = []
        self.sizes: list[int] = []
        if len(lines) > 1:
            self.sizes = [math.prod(map(len, grid_lines(line).values())) for line in lines]
            return
        with hydra_context(kind):
            self.counts = _counts(parse(lines[0])[0])

    def each_line(self) -> Iterator[list[str]]:
        """The command lines in turn; `position` is then about jobs of the newest."""
        for i, overrides in enumerate(self.lines):
            self.line = i
            yield overrides

    def position(self) -> GridPosition | None:
        """The place of Hydra's present job; None outside a grid and in a grid of one job."""
        config = HydraConfig.get()
        if config.mode != RunMode.MULTIRUN:
            return None
        total = sum(self.sizes) or self._size(config.sweeper.get("params") or {})
        one_after_another = config.runtime.choices["hydra/launcher"] == "basic"
        durations = self.durations if one_after_another else None
        number = sum(self.sizes[: self.line]) + config.job.num + 1
        return GridPosition(number, total, durations) if total > 1 else None

    def _size(self, params: Mapping[str, object]) -> int:
        """Jobs of the only line, of which an experiment varies `params`."""
        varied = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
        return math.prod((_counts(varied) | self.counts).values())


def _counts(overrides: list[Override]) -> dict[str, int]:
    """Key -> how many values it is given."""
    return {
        override.key_or_group: len(list(override.sweep_iterator())) if override.is_sweep_override() else 1
        for override in overrides
    }


@contextmanager
def reported_submissions(overrides: Sequence[str]) -> Iterator[None]:
    """Has submitit's jobs reported on stderr: their ids and the folder of their logs, and each one's end.

    Hydra's launchers do not report it. Nothing is imported or changed for another launcher.

    Args:
        overrides: `key=value` arguments of the command line.
    """
    if not any(override.startswith("hydra/launcher=submitit") for override in overrides):
        yield
        return
    executors: Any = import_module("submitit").AutoExecutor
    submit, ended = executors.map_array, Event()
    threads: list[Thread] = []

    def submit_and_report(executor: Any, *arguments: Any) -> Any:
        jobs = submit(executor, *arguments)
        threads.append(report(jobs, ended))
        return jobs

    executors.map_array = submit_and_report
    try:
        yield
    finally:
        executors.map_array = submit
        ended.set()
        for thread in threads:
            thread.join()


def report(jobs: Sequence[Any], ended: Event) -> Thread:
    """Reports jobs that were submitted, and each one's end from a thread.

    Args:
        jobs: submitit's.
        ended: set when the command ends; the ends that are there by then are still reported.
    """
    folders = dict.fromkeys(str(job.paths.folder) for job in jobs)
    ids = [str(job.job_id) for job in jobs]
    shown = ", ".join(ids if len(ids) <= 8 else [*ids[:4], "...", ids[-1]])
    print(f"submitted {len(ids)} jobs: {shown}; logs in {', '.join(folders)}", file=sys.stderr, flush=True)
    thread = Thread(target=_follow, args=(jobs, ended), daemon=True)
    thread.start()
    return thread


def _follow(jobs: Sequence[Any], ended: Event) -> None:
    waiting, failed, start = list(jobs), 0, time.monotonic()
    while waiting:
        last_look = ended.is_set()
        for job in [job for job in waiting if job.paths.result_pickle.exists()]:
            waiting.remove(job)
            done, words = f"[{len(jobs) - len(waiting)}/{len(jobs)}]", _last_words(job)
            failed += words.startswith(ERROR)
            print(f"{done} job {job.job_id} ended: {words}", file=sys.stderr, flush=True)
        if last_look:
            break
        ended.wait(SECONDS_BETWEEN_LOOKS)
    if not waiting:
        seconds = duration_text(time.monotonic() - start)
        errors = f", {failed} with an error" if failed else ""
        print(f"all {len(jobs)} jobs ended after {seconds}{errors}", file=sys.stderr, flush=True)


def _last_words(job: Any) -> str:
    """The run's error, else its result, from the job's logs."""
    errors, results = (_lines(path) for path in (job.paths.stderr, job.paths.stdout))
    starts = [i for i, line in enumerate(errors) if line.startswith(ERROR)]
    if starts:
        return " ".join(line.strip() for line in errors[starts[-1] :])
    return results[-1] if results else f"see {job.paths.stderr}"


def _lines(path: Path) -> list[str]:
    """A log's lines, without submitit's own."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip() and not line.startswith("submitit ")]
