"""One run of a command line, as a job of Hydra."""

import os
import sys
from importlib import import_module
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from isda_bench.cli.endings import JobFailed, exit_with
from isda_bench.cli.grid_jobs import GridJobs
from isda_bench.config.compose import run_config
from isda_bench.config.run_config import RunConfig
from isda_bench.errors import ConfigError, DeviceLost, UserError
from isda_bench.runtime.terminal import printable_lines
from isda_bench.storage.run_lock import RunLocked


def run_job(composed: DictConfig, kind: type[RunConfig], program: str, grid: GridJobs) -> None:
    """Trains what Hydra has composed; a single run that fails exits.

    Args:
        composed: without Hydra's own node.
        kind: of the configured run.
        program: the module whose `run` trains it.
        grid: the jobs of the command.

    Raises:
        JobFailed: the run is a part of a grid and has failed: the others run.
    """
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


def _unheeded_momentum(settings: Any) -> list[str]:
    """Problems of a momentum that the user has set: the optimizer may take none."""
    choice = import_module("isda_bench.config.optimizer_choice")  # imports torch
    problems: list[str] = choice.momentum_problems(settings.optimizer, settings.schedule)
    return problems
