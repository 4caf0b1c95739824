"""Trains a configuration that has no record yet, and reports one that has."""

import gc
import sys
from collections.abc import Callable
from typing import Any

import torch

from isda_bench.config.components import build_dataset
from isda_bench.config.run_config import RunConfig
from isda_bench.runtime.device_errors import clear_frames, reported_device_errors
from isda_bench.runtime.ranks import rank
from isda_bench.storage.confusion import discard_confusion
from isda_bench.storage.data_check import fingerprint_at_hand
from isda_bench.storage.record_files import DATA
from isda_bench.storage.run_directory import NullRunDirectory, RunDirectory


def run_once(
    config: RunConfig,
    component_problems: Callable[[Any], list[str]],
    train: Callable[[RunConfig, RunDirectory], dict[str, Any]],
    format_summary: Callable[[dict[str, Any]], str],
) -> dict[str, Any]:
    """Checks `config` and trains it, if its directory has no record yet, or `rerun` asks for it.

    A finished run is reported, after its data are compared with the present ones, if those can be read.

    Args:
        config: of the run.
        component_problems: settings -> the problems of its components.
        train: makes the record.
        format_summary: record -> its line on the terminal.

    Raises:
        ConfigError: the configuration is wrong.
        OtherData: the finished run was trained on other data than the present ones.
        UserError: a file of the run is damaged.
    """
    config.check(component_problems)
    directory = RunDirectory(config) if rank() == 0 else NullRunDirectory(config)
    if config.settings.rerun:
        _set_aside(directory)
    else:
        record = directory.finished()
        if record is not None:
            _report_finished(directory, record, format_summary)
            return record
    try:
        with reported_device_errors(_memory_remedies(config)):
            record = train(config, directory)
    except BaseException as error:
        clear_frames(error)
        raise
    finally:
        _free_memory()
    print(format_summary(record))
    return record


def _set_aside(directory: RunDirectory) -> None:
    """Renames the directory of an earlier run, if there is one."""
    renamed = directory.set_aside()
    if renamed is not None:
        print(f"{directory.config.run_id}: the earlier run is now {renamed}", file=sys.stderr)


def _report_finished(
    directory: RunDirectory, record: dict[str, Any], format_summary: Callable[[dict[str, Any]], str]
) -> None:
    """Prints the summary of a finished run, after comparing its data with those that are there now."""
    discard_confusion(directory, record)  # a process killed behind its record leaves the file
    found = fingerprint_at_hand(build_dataset(directory.config.settings)) if record.get(DATA) else None
    directory.check_data(found)
    directory.warn_of_changed_code()
    compared = "; data not there, not compared" if record.get(DATA) and found is None else ""
    print(f"{format_summary(record)} (finished already{compared})")


def _memory_remedies(config: RunConfig) -> list[str]:
    """Settings of this configuration that need less memory than its own."""
    values = config.config
    remedies = ["a smaller schedule.batch_size"]
    if values.get("model") and values.get("precision") != "bf16":
        remedies.append("precision=bf16")
    if values.get("model", {}).get("checkpointing") is False:
        remedies.append("model.checkpointing=true")
    if values.get("capture", False):
        remedies.append("capture=false")
    return remedies


def _free_memory() -> None:
    """Jobs of a grid share a process."""
    gc.collect()
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
