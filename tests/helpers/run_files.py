"""What the files of a run hold, without what differs from one run to the next."""

import hashlib
import json
from pathlib import Path

import torch

from isda_bench.storage import checkpoint

CLOCKS = {"seconds", "images_per_second"}


def metrics_of(directory: Path) -> list[dict]:
    """A row an epoch, without the times."""
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in CLOCKS} for row in rows]


def same_state(left: dict, right: dict) -> bool:
    """Whether two state dicts are the same to the bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def same_weights(left: Path, right: Path) -> bool:
    """Whether network and loss in the newest checkpoints of two runs are the same to the bit."""
    ours, theirs = (checkpoint.load_newest(path) for path in (left, right))
    return all(same_state(ours[part], theirs[part]) for part in ("model", "loss"))


def checkpoint_name(epoch: int, content: bytes) -> str:
    """The name of a checkpoint with this content, which names its SHA-256."""
    return f"checkpoint-{epoch:05d}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
