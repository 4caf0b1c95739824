"""Where a number comes from: code, versions, machine."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_STATUS = Path("/proc/self/status")


def provenance(device: torch.device) -> dict[str, Any]:
    """Versions and device, for a record."""
    return {
        "versions": versions(),
        "device": {"type": device.type, "name": device_name(device), "threads": torch.get_num_threads()},
    }


def git_state() -> dict[str, Any]:
    """Commit of the code and whether code or configuration differ from it; null where it is no checkout."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", ":/src", ":/conf", ":/train.py")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def versions() -> dict[str, str | None]:
    """Of Python and the packages that make the numbers; of torch with its build, such as 2.14.1+cu130."""
    packages = {name: _version(name) for name in ("isda_bench", "torch", "torchvision", "numpy")}
    packages["torch"] = str(torch.__version__)  # the installed package's metadata may leave the build out
    return {"python": platform.python_version(), **packages, "cuda": torch.version.cuda}


def device_name(device: torch.device) -> str:
    """The GPU's or the processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def reset_peak_memory(device: torch.device) -> None:
    """Begins to measure anew: runs of a grid share a process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int | None:
    """Most bytes in use since the reset: by tensors on the GPU, by the process on the CPU (None: unknown)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    lines = _STATUS.read_text().splitlines() if _STATUS.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
