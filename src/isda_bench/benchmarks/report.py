"""Runs the measurements and writes them as <device>.json and <device>.md."""

import json
import re
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.runtime.devices import set_precision
from isda_bench.storage.provenance import git_state, provenance
from isda_bench.storage.run_directory import now

Row = dict[str, Any]
Measurement = tuple[str, Callable[[torch.device], list[Row]]]


def measure(
    measurements: Mapping[str, Measurement], device: torch.device, out: Path, suffix: str = ""
) -> Path:
    """Takes measurements in one process and writes them to <out>/<device><suffix>.json and .md.

    The files are written after each measurement: an interruption keeps the earlier ones. A failed measurement
    is reported, and the others are still taken.

    Args:
        measurements: name -> title, and the function that takes it.
        device: of the measured code.
        out: folder of the files.
        suffix: of the files' names.

    Returns:
        The Markdown file.

    Raises:
        UserError: at the end, naming those that failed.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    result: dict[str, Any] = {"taken": now(), "git": git_state(), **provenance(device), "rows": {}}
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{_file_name(result['device'])}{suffix}"
    failed = []
    for name, (title, take) in measurements.items():
        print(f"{name}: {title} ...", flush=True)
        set_precision("fp32")  # as a run has it, where a part does not say more
        start = time.monotonic()
        try:
            result["rows"][name] = take(device)
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
        page = _page(result, {name: measurements[name][0] for name in result["rows"]})
        write_atomically(path.with_suffix(".json"), (json.dumps(result, indent=2) + "\n").encode())
        write_atomically(path.with_suffix(".md"), page.encode())
    if failed:
        rest = f"; the rest is in {path}.md" if result["rows"] else ""
        raise UserError(f"failed, as reported above: {', '.join(failed)}{rest}")
    return path.with_suffix(".md")


def _file_name(device: dict[str, Any]) -> str:
    words = f"{device['type']} {device['name']} {device['threads']} threads"
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def _page(result: dict[str, Any], titles: dict[str, str]) -> str:
    device, versions = result["device"], result["versions"]
    head = (
        f"# Measured on {device['name']}, {device['threads']} threads\n\n"
        f"{result['taken']}, torch {versions['torch']}, Python {versions['python']}, "
        f"commit {str(result['git']['commit'])[:8]}. "
        f"Medians, taken in turn in one run; ratios are what to read.\n"
    )
    return head + "".join(f"\n## {titles[name]}\n\n{_table(rows)}\n" for name, rows in result["rows"].items())


def _table(rows: list[Row]) -> str:
    header = list(rows[0])
    lines = [header, ["---"] * len(header), *([_cell(row[key]) for key in header] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
