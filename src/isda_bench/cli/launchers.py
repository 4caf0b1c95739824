"""Hydra's launchers: why one cannot be used on this machine; reports of jobs that a cluster runs."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from threading import Event, Thread
from typing import Any

from omegaconf import DictConfig

from isda_bench.reporting.durations import duration_text

SECONDS_BETWEEN_LOOKS = 1.0
ERROR = "error: "
"""Before a run's error on stderr."""


def launcher_problems(name: str, launcher: DictConfig) -> list[str]:
    """Why grids cannot be launched with a choice of conf/hydra/launcher on this machine.

    Args:
        name: of the choice.
        launcher: its section, as Hydra has composed it.
    """
    plugin = launcher._target_.split(".")[1]
    if find_spec("hydra_plugins") is None or find_spec(f"hydra_plugins.{plugin}") is None:
        package = plugin.replace("_", "-")
        return [f"hydra/launcher={name}: not installed; pip install {package} brings it"]
    if name == "submitit_slurm" and which("srun") is None:
        return [f"hydra/launcher={name}: no Slurm on this machine (no srun)"]
    if launcher.get("n_jobs") == 0:
        return ["hydra.launcher.n_jobs=0: should be above 0, or -1 for all processors"]
    return []


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
