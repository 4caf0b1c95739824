"""Makes the checks and writes their page."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from isda_bench.benchmarks.gpu_check.checks import Check
from isda_bench.benchmarks.gpu_check.processes import make_checks
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.storage.provenance import git_state, provenance
from isda_bench.storage.run_directory import now


def check_device(
    device: torch.device, checks: dict[str, Check], out: Path, problem: str | None = None, jobs: int = 1
) -> tuple[Path, bool]:
    """Makes the checks, prints a line for each, and writes <out>/gpu_check_<device>.json.

    The page is written after each check: an interrupted one keeps the results so far.

    Args:
        device: to check.
        checks: name -> check.
        out: the folder.
        problem: why the GPU that is there cannot be used; null: it can, or there is none.
        jobs: how many at once of those that do not measure speed.

    Returns:
        The page, and whether no check failed.
    """
    content: dict[str, Any] = {"taken": now(), "git": git_state(), **provenance(device)}
    name = re.sub(r"[^a-z0-9]+", "_", f"{device.type} {content['device']['name']}".lower()).strip("_")
    path = out / f"gpu_check_{name}.json"
    out.mkdir(parents=True, exist_ok=True)
    made: dict[str, dict[str, Any]] = {}
    for found in make_checks(checks, device, problem, jobs):
        title = f"{found['status']}  {found['name']}"
        print(f"{title}: {found['sentence']} ({found['seconds']:.0f} s)", flush=True)
        made[found["name"]] = found
        content["checks"] = [made[check] for check in checks if check in made]
        rates = [row for found in content["checks"] for row in found["numbers"].get("throughput", [])]
        content["rows"] = {"throughput": rates}  # where the plan of a table looks for images/s
        write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
    return path, all(found["status"] != "FAIL" for found in content["checks"])


def count(path: Path) -> str:
    """The numbers of checks of a page that passed, failed and were skipped."""
    counts = Counter(found["status"] for found in json.loads(path.read_text())["checks"])
    return f"{counts['PASS']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped"
