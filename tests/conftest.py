import os
from pathlib import Path

import pytest

import isda_bench  # noqa: F401  # before torch, for its OpenMP setting
from forked import run_forked
from tiny import REPOSITORY

os.environ["WANDB_MODE"] = "disabled"  # some seconds a process; the tests of the logger switch it on


@pytest.fixture
def train(tmp_path):
    """Runs train.py as a user does, in a process of its own; returns how it ended and its output."""

    def call(*arguments, **options):
        return run_forked([f"runs_dir={tmp_path / 'runs'}", *arguments], tmp_path, **options)

    return call


@pytest.fixture(scope="session")
def real_data():
    """The folder with the real CIFAR files; skips where there is none."""
    root = Path(os.environ.get("ISDA_BENCH_DATA", REPOSITORY / "data"))
    if not (root / "cifar-10-batches-py" / "data_batch_1").is_file():
        pytest.skip("no real CIFAR-10 under data/ or $ISDA_BENCH_DATA")
    return root
