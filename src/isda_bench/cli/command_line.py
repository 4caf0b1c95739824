"""The training commands: check the command line before Hydra, run the jobs, end cleanly."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isda_bench.cli.command_line_check import command_line_problems
from isda_bench.cli.endings import end_of, exit_with, signal_behind, terminate
from isda_bench.cli.flags import flags_first, parse_flags
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
        sys.argv[1:] = flags_first([readable_path(argument) for argument in sys.argv[1:]])
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
    with rank_zero_output(), users_folder(folder), importing_from_here():
        if not asks:
            _check(arguments, kind, program)
            if not arguments.cfg and _plans(arguments.overrides):
                return
        run = hydra.main(version_base="1.3", config_path=str(kind.conf), config_name="config")
        lines = [arguments.overrides] if asks else _lines(arguments, kind)
        grid = GridJobs(lines, kind)
        with reported_submissions(arguments.overrides):
            _run_all(run(lambda composed: _job(composed, kind, program, grid)), arguments.overrides, grid)


def _lines(arguments: Any, kind: type[RunConfig]) -> list[list[str]]:
    """The overrides of each command line that this one stands for: a table has one for each part."""
    single = arguments.cfg or kind is not RunConfig
    return [arguments.overrides] if single else part_lines(arguments.overrides)


def _run_all(run: Callable[[], None], overrides: list[str], grid: GridJobs) -> None:
    """Runs each command line; raises the first failure at the end, as a grid does."""
    flags = [argument for argument in sys.argv[1:] if argument not in overrides]
    failed: JobFailed | None = None
    for line in grid.each_line():
        if expanded(line) != overrides:
            sys.argv[1:] = [*flags, *expanded(line)]
        try:
            run()
        except JobFailed as error:
            failed = failed or error
    if failed:
        raise failed


def _check(arguments: Any, kind: type[RunConfig], program: str) -> None:
    """Raises ConfigError with all that is wrong with the command line."""

    def component_problems(line: list[str], settings: Any) -> list[str]:
        problems: list[str] = import_module(program).component_problems(settings)
        return list(dict.fromkeys(problems + _ignored_overrides(line, settings)))

    if arguments.cfg and arguments.multirun:
        raise ConfigError(["--cfg shows the configuration of one run: leave -m out"])
    if arguments.config_name or arguments.config_path:
        return  # another configuration: Hydra's own errors must do
    check_values = not arguments.cfg
    problems = [
        problem
        for line in _lines(arguments, kind)
        for problem in command_line_problems(
            line, partial(component_problems, line), arguments.multirun, check_values, kind
        )
    ]
    if not problems and any(line.startswith("experiment=") for line in arguments.overrides):
        from isda_bench.experiments.table_problems import table_problems  # published values take time

        problems = table_problems(arguments.overrides)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


def _ignored_overrides(line: list[str], settings: Any) -> list[str]:
    """What the user has set and this run would not heed: a momentum, where the optimizer takes none."""
    if not any(override.startswith("schedule.momentum=") for override in line):
        return []
    optimizers = import_module("isda_bench.config.optimizer_choice")  # imports torch
    problems: list[str] = optimizers.momentum_problems(settings.optimizer, settings.schedule)
    return problems


def _plans(overrides: list[str]) -> bool:
    """Prints the plan if the command line asks for it."""
    if not any(override.startswith("plan=") for override in overrides):
        return False
    jobs = table_runs(overrides)
    problems = dict.fromkeys(line for job in jobs for line in job.setting_problems())
    if problems:
        raise ConfigError(list(problems))
    if not any(job.settings.plan for job in jobs):
        return False
    print(import_module("isda_bench.reporting.plan").plan(jobs))  # imports torch
    return True


def _job(composed: DictConfig, kind: type[RunConfig], program: str, grid: GridJobs) -> None:
    """One run. As part of a grid it raises and does not exit, so that the others run."""
    hydra_config = HydraConfig.get()
    choices: Any = OmegaConf.to_container(hydra_config.runtime.choices)
    given = list(hydra_config.overrides.task)
    name = " ".join(given)
    try:
        config = run_config(composed, choices, kind)
        name = config.run_id
        ignored = [] if config.setting_problems() else _ignored_overrides(given, config.settings)
        if ignored:
            raise ConfigError(ignored)
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
