"""The training commands: check the command line before Hydra, run the jobs, end cleanly."""

import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from isda_bench.cli.command_line_check import command_line_problems
from isda_bench.cli.endings import end_of, exit_with, signal_behind, terminate
from isda_bench.cli.flags import parse_flags
from isda_bench.cli.grid_jobs import GridJobs, reported_submissions
from isda_bench.config.compose import run_config
from isda_bench.config.folders import importing_from_here, users_folder
from isda_bench.config.override_text import readable_path
from isda_bench.config.run_config import RunConfig
from isda_bench.config.several_choices import expanded
from isda_bench.config.table_parts import part_lines, table_runs
from isda_bench.errors import ConfigError, DeviceLost, UserError
from isda_bench.runtime.ranks import rank_zero_output
from isda_bench.runtime.terminal import printable_lines
from isda_bench.storage.run_lock import RunLocked


class JobFailed(UserError):
    """A run of a grid has failed; the message is empty where the error has been reported."""


def main(kind: type[RunConfig] = RunConfig, program: str = "isda_bench.training.run") -> None:
    """Runs the command line in sys.argv; exits with 2 for a wrong configuration, 1 if a run failed.

    Args:
        kind: of the configured run.
        program: the module whose `component_problems` check each configuration and whose `run` trains it;
            imported (with torch) once the other keys are right.
    """
    try:
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises exceptions instead of printing and exiting
        sys.argv[1:] = map(readable_path, sys.argv[1:])
        _start(parse_flags(sys.argv[1:]), kind, program)
    except JobFailed as error:
        if str(error):
            print(error, file=sys.stderr)
        sys.exit(1)
    except (ConfigError, HydraException, OmegaConfBaseException) as error:
        exit_with(2, error)
    except BrokenPipeError:
        raise  # the output's reader has ended: isda-bench ends quietly
    except (UserError, OSError) as error:
        exit_with(1, error)
    except Exception as error:
        behind = signal_behind(error)
        if behind is not None:
            exit_with(*behind)
        if type(error).__module__.partition(".")[0] not in ("joblib", "submitit"):
            raise
        exit_with(1, UserError(f"the launcher lost a run: {error}"))  # its process was killed, say
    except KeyboardInterrupt as error:
        exit_with(*end_of(error))


def _start(arguments: Any, kind: type[RunConfig], program: str) -> None:
    """Checks the command line, then prints its plan or lets Hydra run its jobs."""
    folder = Path(arguments.config_dir) if arguments.config_dir else None
    asks = arguments.help or arguments.hydra_help or arguments.info or arguments.shell_completion
    single = asks or arguments.cfg or kind is not RunConfig
    with rank_zero_output(), users_folder(folder), importing_from_here():
        lines = [arguments.overrides] if single else part_lines(arguments.overrides)
        if not asks:
            _check(arguments, lines, kind, program)
            if not arguments.cfg and _plans(arguments.overrides):
                return
        grid = GridJobs(lines, kind)
        run = hydra.main(version_base="1.3", config_path=str(kind.conf), config_name="config")
        with reported_submissions(arguments.overrides):
            _run_all(run(lambda composed: _job(composed, kind, program, grid)), arguments.overrides, grid)


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


def _unheeded_momentum(settings: Any) -> list[str]:
    """Problems of a momentum that the user has set: the optimizer may take none."""
    choice = import_module("isda_bench.config.optimizer_choice")  # imports torch
    problems: list[str] = choice.momentum_problems(settings.optimizer, settings.schedule)
    return problems


def _job(composed: DictConfig, kind: type[RunConfig], program: str, grid: GridJobs) -> None:
    """One run. As part of a grid it raises and does not exit, so that the others run."""
    hydra_config = HydraConfig.get()
    name = " ".join(hydra_config.overrides.task)
    try:
        config = run_config(composed, dict(hydra_config.runtime.choices), kind)
        name = config.run_id
        if any(given.startswith("schedule.momentum=") for given in hydra_config.overrides.task):
            config.check(_unheeded_momentum)
        position = grid.position()
        import_module(program).run(config, *([position] if position else []))
    except UserError as error:
        if hydra_config.mode != RunMode.MULTIRUN or isinstance(error, DeviceLost):  # which ends a grid, too
            exit_with(2 if isinstance(error, ConfigError) else 1, error)
        if isinstance(error, RunLocked):
            print(error, file=sys.stderr, flush=True)  # the other process does this run of the grid
            return
        message = printable_lines(f"error: {name}: {error}")
        print(message, file=sys.stderr, flush=True)
        elsewhere = "SUBMITIT_EXECUTOR" in os.environ  # stderr is a file there
        raise JobFailed(message if elsewhere else "") from error
