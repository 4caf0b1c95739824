"""The provenance of a number: code, versions, machine."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from isda_bench.config.places import PACKAGE, checkout

CODE = ("src", "conf", "conf_generator", "train.py")
"""Parts of the repository that decide a run's result."""

_OF_A_REPOSITORY = r"GIT_(?!CONFIG)"
"""Variables that point git at a repository; GIT_CONFIG... stay: a container may name its safe.directory."""


def provenance(device: torch.device) -> dict[str, Any]:
    """Versions and device, for a record; a GPU's UUID tells it from others of its kind."""
    described = {"type": device.type, "name": device_name(device), "threads": torch.get_num_threads()}
    if device.type == "cuda":
        uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
        described |= {} if uuid is None else {"uuid": str(uuid)}
    return {"versions": versions(), "device": described}


def git_state(package: Path = PACKAGE) -> dict[str, Any]:
    """Commit of the code, and whether code or configuration differ from it.

    Both are null where no commit describes the code: an installed wheel, files outside git, files that
    another project's repository surrounds but does not track.

    Args:
        package: folder of isda_bench.
    """
    root = checkout(package)
    if root is None or (commit := _commit(root, package)) is None:
        return {"commit": None, "dirty": None}
    changes = _git(root, "status", "--porcelain", "--", *CODE)
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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit(root: Path, package: Path) -> str | None:
    """The newest commit of the repository whose top folder is `root`, if it holds the package."""
    module = (package / "__init__.py").relative_to(root).as_posix()
    found = _git(root, "rev-parse", "--show-toplevel", "HEAD", f"HEAD:{module}")
    if found is None:
        return None
    top, commit, _ = found.splitlines()
    return commit if Path(top).resolve() == root else None


def _git(root: Path, *arguments: str) -> str | None:
    """The output of git in `root`, ignoring $GIT_DIR, without a lock on its index; None where it fails."""
    environment = {key: value for key, value in os.environ.items() if not re.match(_OF_A_REPOSITORY, key)}
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
