"""Seconds of start-up: to the help, and to the first batch."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import torch

FIRST_BATCH = """
import time
import torch
after_torch = time.perf_counter()
import json, os, sys
from isda_bench.config.compose import compose_run
from isda_bench.training.run import run
from isda_bench.training.step import Step
def first(*batch):
    print(json.dumps(time.perf_counter() - after_torch), flush=True)
    os._exit(0)
Step.__call__ = first
run(compose_run(["dataset=digits", "model=resnet8", "loss=isda", *sys.argv[1:]]))
"""


def start_up_rows(device: torch.device, rounds: int = 5) -> list[dict[str, Any]]:
    """Seconds of a fresh process, the median of `rounds`.

    Returns:
        Rows of what and seconds: `import torch`, `isda-bench train --help` as a whole, and the first batch of
        digits counted from the end of `import torch`.
    """
    waits: dict[str, Callable[[], float]] = {
        "import torch, as a process": lambda: _seconds("-c", "import torch"),
        "train --help, as a process": lambda: _seconds("-m", "isda_bench", "train", "--help"),
        "first batch of digits, after import torch": partial(_first_batch, device),
    }
    return [
        {"what": name, "seconds": statistics.median(wait() for _ in range(rounds))}
        for name, wait in waits.items()
    ]


def _seconds(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _first_batch(device: torch.device) -> float:
    with TemporaryDirectory(ignore_cleanup_errors=True) as runs:  # wandb's service may still write
        done = subprocess.run(
            [sys.executable, "-c", FIRST_BATCH, f"runs_dir={runs}", f"device={device}"],
            check=True,
            capture_output=True,
            text=True,
            cwd=runs,
        )
    return float(json.loads(done.stdout.splitlines()[-1]))
