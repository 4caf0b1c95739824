"""The command line of what trains: finds mistakes before Hydra does, runs the jobs, ends cleanly."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isda_bench.cli.command_line_check import command_line_problems
from isda_bench.config.compose import run_config
from isda_bench.config.run_config import RunConfig
from isda_bench.config.table_parts import part_lines
from isda_bench.errors import ConfigError, DeviceLost, RankLost, UserError
from isda_bench.runtime.ranks import rank, rank_zero_output
from isda_bench.storage.run_lock import RunLocked

_SHORT_FLAGS = re.compile(
    r"-(sc|cp|cn|cd)(=|$)|-c(job|hydra|all)$|-i(all|config|defaults(-tree)?|plugins|searchpath)$"
)
INTERRUPTED, TERMINATED = 130, 143  # exit codes, by the shells' convention of 128 + signal


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


def main(kind: type[RunConfig] = RunConfig, program: str = "isda_bench.training.run") -> None:
    """Runs what sys.argv asks for; exits with 2 for a wrong configuration, 1 if a run failed.

    Args:
        kind: what the command line configures.
        program: the module whose `component_problems` check each configuration and whose `run` trains it;
            imported (with torch) once the other keys are right.
    """

    def job(composed: DictConfig) -> None:
        _job(composed, kind, program)

    try:
        signal.signal(signal.SIGTERM, _terminate)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands exceptions on instead of printing and exiting
        sys.argv[1:] = _flags_first(sys.argv[1:])
        _refuse_dashes(sys.argv[1:])
        arguments = get_args_parser().parse_args()
        with rank_zero_output():
            if _trains(arguments) or arguments.cfg:
                _check(arguments, kind, program)
            if _trains(arguments) and not arguments.cfg and _plans(arguments.overrides):
                return
            run = hydra.main(version_base="1.3", config_path=str(kind.conf), config_name="config")(job)
            lines = _lines(arguments, kind)
            _run_all(run, arguments.overrides, lines) if len(lines) > 1 else run()
    except ConfigError as error:
        _exit(2, error)
    except JobFailed as error:
        if str(error):
            print(error, file=sys.stderr)
        sys.exit(1)
    except UserError as error:
        _exit(1, error)
    except (HydraException, OmegaConfBaseException) as error:
        _exit(2, error)
    except OSError as error:
        _exit(1, error)
    except Exception as error:
        behind = _signal_behind(error)
        if behind is not None:
            _exit(*behind)
        if type(error).__module__.partition(".")[0] not in ("joblib", "submitit"):
            raise
        _exit(1, UserError(f"the launcher lost a run: {error}"))  # its process was killed, say
    except KeyboardInterrupt as error:
        _exit(*_end(error))


def _lines(arguments: Any, kind: type[RunConfig]) -> list[list[str]]:
    """The overrides of each command line that this one stands for: a table has one for each part."""
    single = arguments.cfg or not _trains(arguments) or kind is not RunConfig
    return [arguments.overrides] if single else part_lines(arguments.overrides)


def _run_all(run: Callable[[], None], overrides: list[str], lines: list[list[str]]) -> None:
    """Runs each command line; raises the first failure at the end, as a grid does."""
    flags = [argument for argument in sys.argv[1:] if argument not in overrides]
    failed: JobFailed | None = None
    for line in lines:
        sys.argv[1:] = [*flags, *line]
        try:
            run()
        except JobFailed as error:
            failed = failed or error
    if failed:
        raise failed


def _end(error: KeyboardInterrupt) -> tuple[int, str]:
    """Exit code and message of a process that was told to stop."""
    code, word = (TERMINATED, "terminated") if isinstance(error, Terminated) else (INTERRUPTED, "interrupted")
    return code, f"{word}; the same command resumes from the last checkpoint"


def _signal_behind(error: BaseException | None) -> tuple[int, str] | None:
    """The end that a signal asked for, where a clean-up on its way out failed and hides it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return _end(error)
        error = error.__cause__ or error.__context__
    return None


def _job(composed: DictConfig, kind: type[RunConfig], program: str) -> None:
    """One run. As part of a grid it raises and does not exit, so that the others go on."""
    hydra_config = HydraConfig.get()
    choices: Any = OmegaConf.to_container(hydra_config.runtime.choices)
    name = " ".join(hydra_config.overrides.task)
    try:
        config = run_config(composed, choices, kind)
        name = config.run_id
        import_module(program).run(config)
    except RunLocked as error:
        if hydra_config.mode != RunMode.MULTIRUN:
            _exit(1, error)
        print(error, file=sys.stderr, flush=True)  # the other process does this run of the grid
    except DeviceLost as error:
        _exit(1, error)  # ends a grid, too: its other runs would fail on this device
    except UserError as error:
        if hydra_config.mode != RunMode.MULTIRUN:
            _exit(2 if isinstance(error, ConfigError) else 1, error)
        message = f"error: {name}: {error}"
        print(message, file=sys.stderr, flush=True)
        elsewhere = "SUBMITIT_EXECUTOR" in os.environ  # stderr is a file there
        raise JobFailed(message if elsewhere else "") from error


class JobFailed(UserError):
    """A run of a grid has failed; the message is empty where the error is told."""


def _check(arguments: Any, kind: type[RunConfig], program: str) -> None:
    """Raises ConfigError with all that is wrong with the command line."""

    def component_problems(settings: Any) -> list[str]:
        problems: list[str] = import_module(program).component_problems(settings)
        return problems

    if arguments.cfg and arguments.multirun:
        raise ConfigError(["--cfg shows the configuration of one run: leave -m out"])
    if arguments.config_dir or arguments.config_name or arguments.config_path:
        return  # another configuration: Hydra's own errors must do
    problems = [
        problem
        for line in _lines(arguments, kind)
        for problem in command_line_problems(
            line, component_problems, arguments.multirun, not arguments.cfg, kind
        )
    ]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


def _plans(overrides: list[str]) -> bool:
    """Prints the plan if that is what the command line asks for."""
    if not any(override.startswith("plan=") for override in overrides):
        return False
    from isda_bench.config.table_parts import table_runs

    jobs = table_runs(overrides)
    problems = dict.fromkeys(line for job in jobs for line in job.setting_problems())
    if problems:
        raise ConfigError(list(problems))
    if not any(job.settings.plan for job in jobs):
        return False
    from isda_bench.reporting.plan import plan  # imports torch

    print(plan(jobs))
    return True


def _flags_first(arguments: list[str]) -> list[str]:
    """Hydra's parser does not take `a=1 -m b=2,3`."""
    return sorted(arguments, key=lambda argument: argument not in ("-m", "--multirun", "--resolve"))


def _refuse_dashes(arguments: list[str]) -> None:
    """Raises ConfigError for `-model=resnet32`, which Hydra's parser takes for `-m odel=resnet32`."""
    flags = {option for action in get_args_parser()._actions for option in action.option_strings}
    problems = []
    for argument in arguments:
        if re.match(r"-[^-\d=][^=]|-s$", argument) and not _SHORT_FLAGS.match(argument):
            long = f"-{argument.partition('=')[0]}" in flags
            meant = f"-{argument}" if long else argument[1:] if "=" in argument else ""
            problems.append(f"{argument}: no such flag" + (f"; did you mean {meant}?" if meant else ""))
    if problems:
        raise ConfigError(problems)


def _trains(arguments: Any) -> bool:
    return not (arguments.help or arguments.hydra_help or arguments.info or arguments.shell_completion)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _exit(code: int, message: object) -> NoReturn:
    if isinstance(message, Exception):
        _let_others_speak(message)
        print(f"error: {message}", file=sys.__stderr__ if rank() else sys.stderr, flush=True)
    elif rank() == 0:
        print(message, file=sys.stderr, flush=True)
    sys.exit(code)


def _let_others_speak(error: Exception) -> None:
    """Waits where another process is likely to tell it, or its reason: torchrun then ends this one."""
    try:
        time.sleep(15 if isinstance(error, RankLost) else 5 if rank() else 0)
    except Terminated:
        _exit(TERMINATED, "terminated; the same command resumes from the last checkpoint")
