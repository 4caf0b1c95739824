import os
import subprocess
import sys
from pathlib import Path

import pytest

import isda_bench  # noqa: F401  # before torch, for its OpenMP setting
from tiny import REPOSITORY


@pytest.fixture
def train(tmp_path):
    """Runs train.py as a user does; returns the finished process (text output)."""

    def call(*arguments, timeout=120, **environment):
        return subprocess.run(
            [sys.executable, str(REPOSITORY / "train.py"), f"runs_dir={tmp_path / 'runs'}", *arguments],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return call


@pytest.fixture(scope="session")
def real_data():
    """The folder with the real CIFAR files; skips where there is none."""
    root = Path(os.environ.get("ISDA_BENCH_DATA", REPOSITORY / "data"))
    if not (root / "cifar-10-batches-py" / "data_batch_1").is_file():
        pytest.skip("no real CIFAR-10 under data/ or $ISDA_BENCH_DATA")
    return root
