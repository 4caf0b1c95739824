"""Which runs had their GPU for themselves: the times of others say nothing about the GPU or the method."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

Record = dict[str, Any]
RESOLUTION = 1.0
"""Seconds by which times in records are rounded."""


def alone_on_their_gpu(records: Iterable[Record]) -> list[Record]:
    """The runs on a GPU beside which no other of these runs was trained on that GPU.

    GPUs are told apart by their UUID; by their name in records that lack it.

    Args:
        records: as record.json has them, of finished runs.
    """
    of_gpu: dict[str, list[tuple[float, float, Record]]] = defaultdict(list)
    alone = []
    for record in records:
        device = record.get("device") or {}
        if device.get("type") != "cuda":
            continue
        end = _end(record)
        if end is None:
            alone.append(record)
        else:
            gpu = device.get("uuid") or device.get("name", "")
            of_gpu[gpu].append((end - record.get("seconds", 0.0), end, record))
    for runs in of_gpu.values():
        alone += _without_overlap(runs)
    return alone


def _without_overlap(runs: list[tuple[float, float, Record]]) -> list[Record]:
    """Those of (start, end, record) that no other meets."""
    runs = sorted(runs, key=lambda run: run[:2])
    alone = []
    latest = -float("inf")
    for i, (start, end, record) in enumerate(runs):
        following = runs[i + 1][0] if i + 1 < len(runs) else float("inf")
        if start >= latest - RESOLUTION and following >= end - RESOLUTION:
            alone.append(record)
        latest = max(latest, end)
    return alone


def _end(record: Record) -> float | None:
    """When the run ended, in seconds; None where its record does not say."""
    try:
        return datetime.fromisoformat(record["ended"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None
