"""A long training of the smallest configuration: memory, open files and the time of a step stay flat.

A file may be open, and memory in use, for a moment; a leak raises the least of them. So they are looked at
again and again, and the least of an early part of the training is compared with the least of a late one.
"""

import os
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from helpers import attacks
from helpers.forked import start_forked

TICKS = os.sysconf("SC_CLK_TCK")
GROWTH = 0.02  # of memory
GROWTH_OF_A_SHORT_RUN = 0.05  # 2.1% was seen beside three other workers; the cause is not known
MEGABYTES = 10  # leaked an epoch, where a leak is to be found


class Look(NamedTuple):
    """At a process: epochs done, resident bytes, open files, seconds of processor time."""

    epoch: int
    memory: int
    files: int
    seconds: float


def look(pid: int, epoch: int) -> Look:
    folder = Path(f"/proc/{pid}")
    resident = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    times = (folder / "stat").read_text().rpartition(")")[2].split()
    files = len(list((folder / "fd").iterdir()))
    return Look(epoch, resident, files, (int(times[11]) + int(times[12])) / TICKS)


def soak(folder: Path, epochs: int, steps: int, prepare=None) -> list[Look]:
    """The looks at a training, from the end of its first epoch to that of the last but one."""
    arguments = [
        "dataset=digits",
        "model=resnet8",
        "loss=isda",
        f"dataset.train_size={8 * steps}",
        "schedule.batch_size=8",
        f"schedule.epochs={epochs}",
        "schedule.milestones=null",
        "schedule.factor=null",
        f"evaluate.every={epochs}",
        "runs_dir=runs",
    ]
    process = start_forked(arguments, folder, prepare=prepare)
    looks = []
    while process.exit_code(0.01) is None:
        lines = sum(path.read_bytes().count(b"\n") for path in folder.glob("runs/*/metrics.jsonl"))
        if 0 < lines < epochs - 1:
            looks.append(look(process.pid, lines))
    process.wait().check()
    return looks


def early_and_late(looks: list[Look]) -> tuple[list[Look], list[Look]]:
    """Fifths of the looks, the second and the last: by number, so that a busy machine leaves none empty."""
    fifth = len(looks) // 5
    assert fifth > 0, f"only {len(looks)} looks"
    return looks[fifth : 2 * fifth], looks[-fifth:]


def growth(looks: list[Look], name: str) -> tuple[int, int]:
    """The least memory or number of open files in the early and in the late part."""
    early, late = (min(getattr(one, name) for one in part) for part in early_and_late(looks))
    return early, late


def assert_files_flat(looks: list[Look]) -> None:
    early, late = growth(looks, "files")
    assert late <= early, f"open files grew from {early} to {late}"


def assert_memory_flat(looks: list[Look], most: float) -> None:
    early, late = growth(looks, "memory")
    assert late < (1 + most) * early, (
        f"resident memory grew from {early / 2**20:.0f} to {late / 2**20:.0f} MiB"
    )


@pytest.mark.parametrize(("epochs", "steps"), [(12, 20), pytest.param(100, 100, marks=pytest.mark.slow)])
def test_soak(tmp_path, tried, epochs, steps):
    looks = soak(tmp_path, epochs, steps)
    assert_files_flat(looks)
    assert_memory_flat(looks, GROWTH if epochs > 20 else GROWTH_OF_A_SHORT_RUN)
    (early, late), (files, _) = growth(looks, "memory"), growth(looks, "files")
    outcome = f"{early / 2**20:.0f} MiB {late / early - 1:+.2%}, {files} files"
    if epochs > 20:
        outcome += f", seconds of a step {step_growth(looks):+.1%}"
    tried("soak, steps", [outcome] * (epochs * steps))


def test_a_leak_of_a_file_and_of_memory_an_epoch_is_found(tmp_path):
    """By the same looks at the same training."""
    looks = soak(tmp_path, 12, 20, prepare=partial(attacks.leak, MEGABYTES))
    with pytest.raises(AssertionError, match=r"open files grew from \d+ to \d+"):
        assert_files_flat(looks)
    with pytest.raises(AssertionError, match=r"resident memory grew from \d+ to \d+ MiB"):
        assert_memory_flat(looks, GROWTH_OF_A_SHORT_RUN)


def test_a_file_that_is_open_for_a_moment_is_no_leak():
    """What the number of one moment took for a leak: a checkpoint that was just being written."""
    looks = [Look(1 + i // 10, 100, 9 if i % 10 == 9 else 8, 0.1 * i) for i in range(100)]
    assert looks[-1].files > looks[20].files
    assert_files_flat(looks)
    with pytest.raises(AssertionError, match="from 8 to 9"):
        assert_files_flat([one._replace(files=8 + (one.epoch > 8)) for one in looks])


def step_growth(looks: list[Look]) -> float:
    """By how much an epoch's least processor time grew from the early part to the late one."""
    early, late = (min(seconds_of_epochs(part)) for part in early_and_late(looks))
    assert late < 1.25 * early, f"a step takes {late / early - 1:.0%} longer in the late part"
    return late / early - 1


def seconds_of_epochs(looks: list[Look]) -> list[float]:
    """Processor time from the first look at each epoch to the first look at the next one."""
    first = {one.epoch: one for one in reversed(looks)}
    starts = [first[epoch] for epoch in sorted(first)]
    return [(end.seconds - start.seconds) / (end.epoch - start.epoch) for start, end in pairwise(starts)]
