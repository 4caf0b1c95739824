import atexit
import os
import random
import shutil
import signal
import sys
import tempfile
from itertools import groupby
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tensors of tests are small: threads only wait for one another
if "ISDA_BENCH_CACHE" not in os.environ:  # one for all processes of the suite, none of the user's
    os.environ["ISDA_BENCH_CACHE"] = tempfile.mkdtemp(prefix="isda_bench-cache-")
    atexit.register(shutil.rmtree, os.environ["ISDA_BENCH_CACHE"], ignore_errors=True)

import isda_bench  # noqa: I001  # before torch, for its OpenMP setting
import isda_bench.runtime.torchvision_import  # noqa: F401  # before torchvision

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from helpers.forked import run_forked
from helpers.tiny import REPOSITORY

pytest_plugins = ["helpers.last_words"]
os.environ["WANDB_MODE"] = "disabled"  # some seconds a process; the tests of the logger switch it on


def pytest_addoption(parser):
    parser.addoption("--order", default="given", help="of files and of tests in them: reversed, random:SEED")


LONG_SETUPS = ("test_rehearsal.py", "test_distributed.py", "test_documents.py", "test_library_faults.py")
"""Files of which a part takes long and cannot be divided between workers."""


def pytest_collection_modifyitems(config, items):
    """Tests depend on none before them; those of a file stay together, as do their shared set-ups."""
    kind, _, seed = config.getoption("order").partition(":")
    files = [list(tests) for _, tests in groupby(items, key=lambda item: item.path)]
    files.sort(key=lambda tests: tests[0].path.name not in LONG_SETUPS)  # the last ones keep all workers busy
    arrange = {"given": lambda _: None, "reversed": list.reverse, "random": random.Random(seed).shuffle}[kind]
    for part in (files, *files):
        arrange(part)
    items[:] = [item for tests in files for item in tests]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """What a test draws without a seed of its own does not depend on what was drawn before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


OF_LIBRARIES = (
    "PYTEST_CURRENT_TEST",
    "KMP_",
    "TORCHINDUCTOR_",
    "_TORCHINDUCTOR_",
)  # set by pytest, and by imports


def global_state():
    """What a test could change for those after it."""
    return {
        "working directory": Path.cwd(),
        **{f"${name}": value for name, value in os.environ.items() if not name.startswith(OF_LIBRARIES)},
        "threads": torch.get_num_threads(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "oneDNN": torch.backends.mkldnn.enabled,
        "Hydra": GlobalHydra.instance().is_initialized(),
        "path": list(sys.path),
        **{number.name: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
    }


@pytest.fixture(autouse=True)
def nothing_global_changes():
    """No test leaves another environment, directory, number of threads, ... to those after it."""
    before = global_state()
    yield
    after = global_state()
    names = sorted(before.keys() | after.keys())
    changed = [name for name in names if before.get(name) != after.get(name)]
    assert not changed, [f"{name}: {before.get(name)} became {after.get(name)}" for name in changed]


@pytest.fixture
def typed_in(monkeypatch):
    """Sets this process's folder and command line; what the entry changes for the process is undone later."""

    def call(folder, *words):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", list(words))
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    return call


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
