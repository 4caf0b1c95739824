"""The command line of train.py: finds mistakes before Hydra does, runs the jobs, ends cleanly."""

import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isda_bench.compose import run_config
from isda_bench.config import CONF
from isda_bench.errors import ConfigError, UserError
from isda_bench.overrides import command_line_problems

INTERRUPTED, TERMINATED = 130, 143  # exit codes, by the shells' convention of 128 + signal


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


def main() -> None:
    """Runs what sys.argv asks for; exits with 2 for a wrong configuration, 1 if a run failed."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands exceptions on instead of printing and exiting
        sys.argv[1:] = _flags_first(sys.argv[1:])
        arguments = get_args_parser().parse_args()
        if _trains(arguments) or arguments.cfg:
            _check(arguments)
        if _trains(arguments) and not arguments.cfg and _plans(arguments.overrides):
            return
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(_job)()
    except ConfigError as error:
        _exit(2, error)
    except JobFailed:
        sys.exit(1)  # the job has told
    except UserError as error:
        _exit(1, error)
    except (HydraException, OmegaConfBaseException) as error:
        _exit(2, error)
    except OSError as error:
        _exit(1, error)
    except Terminated:
        _exit(TERMINATED, "terminated; the same command goes on from the last checkpoint")
    except KeyboardInterrupt:
        _exit(INTERRUPTED, "interrupted; the same command goes on from the last checkpoint")


def _job(composed: DictConfig) -> None:
    """One run. As part of a grid it raises and does not exit, so that the others go on."""
    from isda_bench.run import run  # imports torch: --help does without

    hydra_config = HydraConfig.get()
    choices: Any = OmegaConf.to_container(hydra_config.runtime.choices)
    name = " ".join(hydra_config.overrides.task)
    try:
        config = run_config(composed, choices)
        name = config.run_id
        run(config)
    except UserError as error:
        if hydra_config.mode != RunMode.MULTIRUN:
            _exit(2 if isinstance(error, ConfigError) else 1, error)
        print(f"error: {name}: {error}", file=sys.stderr, flush=True)
        raise JobFailed from error


class JobFailed(UserError):
    """A run has failed and its error is told."""


def _check(arguments: Any) -> None:
    """Raises ConfigError with all that is wrong with the command line."""
    if arguments.cfg and arguments.multirun:
        raise ConfigError(["--cfg shows the configuration of one run: leave -m out"])
    if arguments.config_dir or arguments.config_name or arguments.config_path:
        return  # another configuration: Hydra's own errors must do
    problems = command_line_problems(arguments.overrides, arguments.multirun, check_values=not arguments.cfg)
    if problems:
        raise ConfigError(problems)


def _plans(overrides: list[str]) -> bool:
    """Prints the plan if that is what the command line asks for."""
    if not any(override.startswith("plan=") for override in overrides):
        return False
    from isda_bench.compose import cells

    jobs = cells(overrides)
    if not any(job.settings.plan for job in jobs):
        return False
    from isda_bench.plan import plan  # imports torch

    print(plan(jobs))
    return True


def _flags_first(arguments: list[str]) -> list[str]:
    """Hydra's parser does not take `a=1 -m b=2,3`."""
    return sorted(arguments, key=lambda argument: argument not in ("-m", "--multirun", "--resolve"))


def _trains(arguments: Any) -> bool:
    return not (arguments.help or arguments.hydra_help or arguments.info or arguments.shell_completion)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _exit(code: int, message: object) -> NoReturn:
    print(f"error: {message}" if isinstance(message, Exception) else message, file=sys.stderr, flush=True)
    sys.exit(code)
