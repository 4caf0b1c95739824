"""Checks of whole runs on the digits: training in each precision, resuming, two GPUs."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from isda_bench.benchmarks.gpu_check import two_processes
from isda_bench.benchmarks.gpu_check.outcome import CheckFailed, CheckSkipped
from isda_bench.benchmarks.gpu_check.step_trials import deterministic_kernels
from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import RunConfig
from isda_bench.loading import load_run
from isda_bench.storage import checkpoint
from isda_bench.storage.records import read_metrics
from isda_bench.training.run import run

TINY = [
    *("dataset=digits", "model=resnet8", "dataset.train_size=200", "schedule.batch_size=64", "logger=none"),
    *("loss=isda", "model.dropout=0.1", "schedule.epochs=3", "schedule.milestones=[2]"),
]


_TORCHRUNS = re.compile(r"[WEI]\d{4} \d\d:.*torch/distributed/elastic")
"""The first of the lines that torchrun writes about a process that has failed."""
ORDER_OF_SUMS = 1e-9
"""Relative difference in float64 that another order of sums can make in a few steps."""


class Stopped(Exception):
    """A run was interrupted on purpose."""


def _trained(device: torch.device, folder: Path, *overrides: str) -> RunConfig:
    config = compose_run([*TINY, f"device={device}", f"runs_dir={folder}", *overrides])
    run(config)
    return config


def trains(device: torch.device, precision: str) -> str:
    """The loss falls in eager, captured and compiled runs, and with statistics that cannot be captured."""
    modes = [["capture=false"], ["capture=auto", "loss.covariance=lowrank"]]
    if device.type == "cuda":
        modes += [["capture=true"], ["compile=true"]]
    for mode in modes:
        with tempfile.TemporaryDirectory() as folder:
            config = _trained(device, Path(folder), f"precision={precision}", *mode)
            losses = read_metrics(config.directory)["train_loss"].tolist()
        if not losses[-1] < losses[0]:
            raise CheckFailed(
                f"precision={precision} {' '.join(mode)}: the loss goes from {losses[0]} to {losses[-1]}"
            )
    return f"runs with {', '.join(' '.join(mode) for mode in modes)} train in {precision}"


def resumes(device: torch.device, within: bool) -> str:
    """A run that was stopped and resumed is the run that was not, to the bit."""
    more = ["checkpoint.every_minutes=1e-9"] if within else []
    with deterministic_kernels(), tempfile.TemporaryDirectory() as folder:
        whole = _trained(device, Path(folder) / "whole", *more)
        with mock.patch.object(checkpoint, "save", _stopping(within)):
            try:
                _trained(device, Path(folder) / "broken", *more)
            except Stopped:
                pass
            else:
                raise CheckFailed("the run could not be stopped")
        broken = _trained(device, Path(folder) / "broken", *more)
        _compare(broken, whole)
    return f"a run resumed {'within' if within else 'after'} an epoch equals the whole run to the bit"


def _stopping(within: bool) -> Any:
    """`checkpoint.save` that stops the run after the second checkpoint of its kind."""
    save, seen = checkpoint.save, []

    def save_and_stop(directory: Path, epoch: int, state: dict[str, Any], step: int | None = None) -> Any:
        save(directory, epoch, state, step)
        if (step is not None) == within:
            seen.append(epoch)
        if len(seen) == 2:
            raise Stopped

    return save_and_stop


def _compare(ours: RunConfig, theirs: RunConfig) -> None:
    losses = [read_metrics(config.directory)["train_loss"].tolist() for config in (ours, theirs)]
    if losses[0] != losses[1]:
        raise CheckFailed(f"the losses of its epochs are {losses[0]}, should be {losses[1]}")
    weights = [load_run(config.directory).model.state_dict() for config in (ours, theirs)]
    for name, value in weights[1].items():
        if not torch.equal(weights[0][name], value):
            raise CheckFailed(f"{name} differs at the end")


def two_gpus(device: torch.device) -> str:
    """Torchrun with two GPUs trains, and its parameters are those of one process, up to the order of sums."""
    if torch.cuda.device_count() < 2:
        raise CheckSkipped(f"{torch.cuda.device_count()} GPU here, two are needed")
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*TINY, "model.dropout=0.0", "augment=none", f"runs_dir={folder}"]
        torchrun(["isda_bench", "train", *overrides])
        losses = read_metrics(compose_run(overrides).directory)["train_loss"].tolist()
    if not losses[-1] < losses[0]:
        raise CheckFailed(f"the loss goes from {losses[0]} to {losses[-1]}")
    return f"two processes train one network over NCCL; {two_processes_agree(device)}"


def two_processes_agree(device: torch.device) -> str:
    """Compares what two processes have learnt from given global batches with what one has.

    Raises:
        CheckFailed: a parameter or a statistic differs by more than the order of sums explains.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "state.pt"
        torchrun([two_processes.__name__, device.type, str(file)])
        ours = torch.load(file, weights_only=True)
    theirs = two_processes.trained(device)
    for name, value in theirs.items():
        off = (ours[name].double() - value.double()).norm() / value.double().norm().clamp(min=1e-30)
        if not off <= ORDER_OF_SUMS:
            raise CheckFailed(f"two processes: {name} differs from one process's by {off:.3g} relative to it")
    return f"after {two_processes.STEPS} steps on the same global batches parameters are those of one process"


def torchrun(arguments: list[str]) -> None:
    """Runs a module with arguments in two processes.

    Raises:
        CheckFailed: they fail.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailed(f"torchrun ends with code {done.returncode}: {_last_words(done.stderr)}")


def _last_words(stderr: str) -> str:
    """The end of what the processes wrote, without torchrun's own lines behind it."""
    written = _TORCHRUNS.split(stderr, maxsplit=1)[0].strip() or stderr.strip()
    return written[-1000:]
