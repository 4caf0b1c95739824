"""Runs the measurements and writes them as <device>.json and <device>.md."""

import json
import re
import time
import traceback
from collections.abc import Callable, Sequence
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


def measurements(device: torch.device) -> dict[str, Measurement]:
    """Name -> the measurement, for all measurements that `device` allows."""
    from isda_bench.benchmarks.augmentations import augmentation_rows
    from isda_bench.benchmarks.generators import generated_rows, per_class_rows
    from isda_bench.benchmarks.image_folder import image_folder_rows
    from isda_bench.benchmarks.inversion import inversion_rows
    from isda_bench.benchmarks.loop_overhead import loop_rows
    from isda_bench.benchmarks.losses import isda_rows, loss_rows, low_rank_rows
    from isda_bench.benchmarks.network_steps import network_step_rows
    from isda_bench.benchmarks.networks import network_rows
    from isda_bench.benchmarks.plain_loop import plain_loop_rows
    from isda_bench.benchmarks.start_up import start_up_rows
    from isda_bench.benchmarks.throughput import throughput_rows, together_rows
    from isda_bench.benchmarks.training_step import data_rows, step_rows

    found: dict[str, Measurement] = {
        "isda": ("ISDA beside its naive tensor form: statistics, forward and backward", isda_rows),
        "step": ("A training step of ResNet-32, batch 128: ISDA over cross-entropy", step_rows),
        "steps": ("What ISDA adds to the step of every network", network_step_rows),
        "losses": ("Every loss: a step of ResNet-32 with it over one with cross-entropy", loss_rows),
        "lowrank": ("covariance=lowrank beside the full one", low_rank_rows),
        "loop": ("The training loop beside its bare steps", loop_rows),
        "data": ("Gather, crop, flip and normalise a batch of 128", data_rows),
        "plain": ("ResNet-32 beside a plain PyTorch loop, end to end", plain_loop_rows),
        "generated": ("The 21 generated images of a batch of 128 beside a training step", generated_rows),
        "per_class": ("Ten per-class WGANs at once beside ten in a row: a step of each", per_class_rows),
        "inversion": ("Iterations of the inversion, eager and compiled", inversion_rows),
        "augmentations": ("Augmentations of a batch of 128, beside images one by one", augmentation_rows),
        "folder": ("A folder of JPEGs beside torchvision's loader, from files to batches", image_folder_rows),
        "start": ("How long one waits at the start", start_up_rows),
        "together": ("Several runs of ResNet-32 with ISDA at once", together_rows),
    }
    if device.type == "cuda":
        throughput = ("The loop in each precision: captured, eager, compiled", throughput_rows)
        return {"throughput": throughput} | found  # first: a GPU may be lent for a short time only
    networks = ("Networks beside pytorchcv's: forward and backward, batch 32", lambda _: network_rows())
    return found | {"networks": networks}


def measure(names: Sequence[str], device: torch.device, out: Path, suffix: str = "") -> Path:
    """Takes the measurements `names` in one run and writes them to <out>/<device><suffix>.json and .md.

    They are written after each measurement: an interruption keeps the earlier ones. A failed one is reported,
    and the others are taken all the same.

    Returns:
        The Markdown file.

    Raises:
        UserError: at the end, naming those that failed.
    """
    all_measurements = measurements(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    result: dict[str, Any] = {"taken": now(), "git": git_state(), **provenance(device), "rows": {}}
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{_file_name(result['device'])}{suffix}"
    failed = []
    for name in names:
        title, take = all_measurements[name]
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
        page = _page(result, {name: all_measurements[name][0] for name in result["rows"]})
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
