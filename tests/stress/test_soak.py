"""A long training of the smallest configuration: memory, open files and the time of a step stay flat."""

import os
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from forked import start_forked

STEPS = 100  # an epoch: 800 images in batches of 8
TICKS = os.sysconf("SC_CLK_TCK")


def measure(pid: int) -> tuple[int, int, float]:
    """Resident bytes, open files, seconds of processor time."""
    folder = Path(f"/proc/{pid}")
    resident = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    times = (folder / "stat").read_text().rpartition(")")[2].split()
    return resident, len(list((folder / "fd").iterdir())), (int(times[11]) + int(times[12])) / TICKS


@pytest.mark.parametrize("epochs", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_soak(tmp_path, tried, epochs):
    arguments = [
        "dataset=digits",
        "model=resnet8",
        "loss=isda",
        "dataset.train_size=800",
        "schedule.batch_size=8",
        f"schedule.epochs={epochs}",
        "schedule.milestones=null",
        "schedule.factor=null",
        f"evaluate.every={epochs}",
        "runs_dir=runs",
    ]
    process = start_forked(arguments, tmp_path)
    measured = {}  # at the end of each epoch
    while not wait([process.process.sentinel], 0.02):
        lines = sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("runs/*/metrics.jsonl"))
        if lines and lines not in measured:
            measured[lines] = measure(process.process.pid)
    done = process.wait()
    assert done.returncode == 0, done.stderr
    kept = sorted(measured)
    warm = max(1, epochs // 5)
    first = next(epoch for epoch in kept if epoch >= warm)
    last = next(epoch for epoch in reversed(kept) if epoch <= max(epochs - 11, first + 1))
    (resident, files, _), (resident_then, files_then, _) = measured[first], measured[last]
    growth = resident_then / resident - 1
    assert growth < 0.02, f"resident memory grew by {growth:.1%} from epoch {first} to {last}"
    assert files_then <= files
    told = f"{resident / 2**20:.0f} MiB {growth:+.2%}, {files} files"
    if epochs > 20:
        told += f", seconds of a step {step_growth(measured, first, last):+.1%}"
    tried("soak, steps", [told] * (epochs * STEPS))


def step_growth(measured, first, last):
    """By how much a step's processor time grew from the first half to the second."""
    middle = min(measured, key=lambda epoch: abs(epoch - (first + last) / 2))
    early = (measured[middle][2] - measured[first][2]) / (middle - first)
    late = (measured[last][2] - measured[middle][2]) / (last - middle)
    assert late < 1.25 * early, f"a step takes {late / early - 1:.0%} longer in the second half"
    return late / early - 1
