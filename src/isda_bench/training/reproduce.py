"""Trains the configuration of a record again."""

from pathlib import Path
from typing import Any

import torch

from isda_bench.config.building import OPTIMIZERS, TARGET, check_allowed, component_function
from isda_bench.config.run_config import SGD, RunConfig, settings_of
from isda_bench.config.settings import TASK_COMPONENTS
from isda_bench.errors import ConfigError, UserError
from isda_bench.storage.record_files import RECORD, read_record
from isda_bench.training.run import run

NO_LOGGER = {"_target_": "isda_bench.monitoring.loggers.Logger"}


def train_again(
    file: Path,
    runs_dir: str,
    device: str | None = None,
    root: str | None = None,
    threads: int | None = None,
    allow: tuple[str, ...] = (),
) -> RunConfig:
    """Trains the run of a record in another folder, to the end.

    A reproduction that is finished there is set aside and trained again, for the code may be another; an
    unfinished one resumes.

    Args:
        file: record.json. It is data: only classes of isda_bench, and of the modules in `allow`, are built.
        runs_dir: where it is trained.
        device: as the configuration's; null: the record's kind of device, where there is one.
        root: where the data set is; null: where it was.
        threads: of the CPU; null: the record's number.
        allow: modules beside isda_bench in which its components may be defined; they are imported.

    Returns:
        The configuration that was trained; its `directory` has the new record.

    Raises:
        UserError: the record is damaged or names a class that is not allowed, `runs_dir` holds the recorded
            run itself, or the training fails.
    """
    record = read_record(file)
    config = reproduction(file, record, runs_dir, device, root, allow)
    if config.directory.resolve() == file.parent.resolve():
        raise UserError(f"runs_dir={runs_dir}: the recorded run itself lies there; choose another folder")
    count: int | None = threads or (record.get("device") or {}).get("threads")
    if count:
        torch.set_num_threads(count)  # sums in another order have other last digits
    run(config)
    return config


def reproduction(
    file: Path,
    record: dict[str, Any],
    runs_dir: str,
    device: str | None = None,
    root: str | None = None,
    allow: tuple[str, ...] = (),
) -> RunConfig:
    """The configuration of a record, with the keys replaced that do not change a result.

    Args:
        file: where the record was read.
        record: its content.
        runs_dir: as in `train_again`.
        device: as in `train_again`.
        root: as in `train_again`.
        allow: as in `train_again`.

    Raises:
        UserError: a component is not allowed.
        ConfigError: the data set has no root.
    """
    settings = settings_of(record["config"])  # with the functions that older components had
    config = settings.model_dump()
    for section in TASK_COMPONENTS:
        if config[section]:
            check_allowed(file, section, config[section], allow)
    check_allowed(file, "optimizer", {TARGET: SGD} | config["optimizer"], (*allow, *OPTIMIZERS))
    for name in config["evaluate"]["metrics"]:
        try:
            component_function(name, allow)
        except ValueError as error:
            raise UserError(f"{file}: evaluate.metrics: {error}") from error
    if root is not None:
        if "root" not in config["dataset"]:
            raise ConfigError([f"root={root}: the data set of this run has no root"])
        config["dataset"]["root"] = root
    config |= {"runs_dir": runs_dir, "device": device or _device(record), "logger": NO_LOGGER, "plan": False}
    config["capture"] = "auto"  # older records say true where this machine may have no GPU
    again = RunConfig(config, record["names"])
    return RunConfig(config | {"rerun": (again.directory / RECORD).exists()}, record["names"])


def _device(record: dict[str, Any]) -> str:
    """The record's kind of device, if this machine has one."""
    kind = (record.get("device") or {}).get("type", "auto")
    return "auto" if kind == "cuda" and not torch.cuda.is_available() else kind
