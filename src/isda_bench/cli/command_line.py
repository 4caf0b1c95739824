"""The training commands: check the command line before Hydra, run the jobs, end cleanly."""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import hydra

from isda_bench.cli.command_line_check import command_line_problems
from isda_bench.cli.endings import JobFailed, clean_end
from isda_bench.cli.flags import parse_flags
from isda_bench.cli.grid_jobs import GridJobs
from isda_bench.cli.jobs import run_job
from isda_bench.cli.launchers import reported_submissions
from isda_bench.config.folders import importing_from_here, users_folder
from isda_bench.config.override_text import readable_path
from isda_bench.config.run_config import RunConfig
from isda_bench.config.several_choices import expanded
from isda_bench.config.table_parts import part_lines, table_runs
from isda_bench.errors import ConfigError
from isda_bench.runtime.garbage_collection import no_garbage_collection
from isda_bench.runtime.ranks import rank_zero_output


def main(kind: type[RunConfig] = RunConfig, program: str = "isda_bench.training.run") -> None:
    """Runs the command line in sys.argv; exits with 2 for a wrong configuration, 1 if a run failed.

    Args:
        kind: of the configured run.
        program: the module whose `component_problems` check each configuration and whose `run` trains it;
            imported (with torch) once the other keys are right.
    """
    with clean_end():
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises exceptions instead of printing and exiting
        sys.argv[1:] = map(readable_path, sys.argv[1:])
        _start(parse_flags(sys.argv[1:]), kind, program)


def _start(arguments: Any, kind: type[RunConfig], program: str) -> None:
    """Checks the command line, then prints its plan or lets Hydra run its jobs."""
    folder = Path(arguments.config_dir) if arguments.config_dir else None
    asks = arguments.help or arguments.hydra_help or arguments.info or arguments.shell_completion
    single = asks or arguments.cfg or kind is not RunConfig
    with rank_zero_output(), users_folder(folder), importing_from_here():
        with no_garbage_collection():
            lines = [arguments.overrides] if single else part_lines(arguments.overrides)
            if not asks:
                _check(arguments, lines, kind, program)
                if not arguments.cfg and _plans(arguments.overrides):
                    return
        grid = GridJobs(lines, kind)
        run = hydra.main(version_base="1.3", config_path=str(kind.conf), config_name="config")
        with reported_submissions(arguments.overrides):
            _run_all(run(lambda composed: run_job(composed, kind, program, grid)), arguments.overrides, grid)


def _run_all(run: Callable[[], None], overrides: list[str], grid: GridJobs) -> None:
    """Runs each command line; raises the first failure at the end, as a grid does."""
    flags = [argument for argument in sys.argv[1:] if argument not in overrides]
    failures = []
    for line in grid.each_line():
        sys.argv[1:] = [*flags, *expanded(line)]
        try:
            run()
        except JobFailed as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _check(arguments: Any, lines: list[list[str]], kind: type[RunConfig], program: str) -> None:
    """Raises ConfigError with all that is wrong with the command line, which stands for `lines`."""
    if arguments.cfg and arguments.multirun:
        raise ConfigError(["--cfg shows the configuration of one run: leave -m out"])
    if arguments.config_name or arguments.config_path:
        return  # another configuration: Hydra's own errors must do
    check = None if arguments.cfg else lambda settings: import_module(program).component_problems(settings)
    found = [command_line_problems(line, check, arguments.multirun, kind) for line in lines]
    problems = list(dict.fromkeys(chain(*found)))
    if not problems and any(line.startswith("experiment=") for line in arguments.overrides):
        from isda_bench.experiments.table_problems import table_problems  # published values take time

        problems = table_problems(arguments.overrides)
    if problems:
        raise ConfigError(problems)


def _plans(overrides: list[str]) -> bool:
    """Prints the plan if the command line asks for it."""
    jobs = table_runs(overrides) if any(line.startswith("plan=") for line in overrides) else []
    problems = dict.fromkeys(line for job in jobs for line in job.setting_problems())
    if problems:
        raise ConfigError(list(problems))
    planned = any(job.settings.plan for job in jobs)
    if planned:
        print(import_module("isda_bench.reporting.plan").plan(jobs))  # imports torch
    return planned
