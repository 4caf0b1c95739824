"""Which runs had their GPU for themselves: the times of others say nothing about the GPU or the method."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

Record = dict[str, Any]
RESOLUTION = 1.0
"""Seconds by which times in records are rounded."""


class _Use(NamedTuple):
    """The use of a GPU by a run, from its first start to its end, pauses included; times in seconds."""

    start: float
    end: float
    gpu: str
    uuid: str | None
    record: Record


def alone_on_their_gpu(records: Iterable[Record]) -> list[Record]:
    """The runs on a GPU beside which no other of these runs was trained on that GPU, each once.

    GPUs of one name are told apart by their UUID. A run without it, an older one or one on several GPUs, may
    have used any of that name.

    Args:
        records: as record.json has them, of finished runs; one that does not say when it ended was alone.
    """
    on_gpu = {
        (record.get("run_id"), record.get("ended"), i if record.get("ended") is None else None): record
        for i, record in enumerate(records)
        if (record.get("device") or {}).get("type") == "cuda"
    }
    uses = [use for record in on_gpu.values() if (use := _use(record)) is not None]
    shared = _shared(sorted(uses, key=lambda use: use.start))
    return [record for record in on_gpu.values() if id(record) not in shared]


def _shared(uses: list[_Use]) -> set[int]:
    """The ids of the records that meet another on a GPU; `uses` in the order of their starts."""
    shared: set[int] = set()
    current: list[_Use] = []
    for use in uses:
        current = [other for other in current if other.end > use.start + RESOLUTION]
        for other in current:
            told_apart = use.uuid and other.uuid and use.uuid != other.uuid
            if use.gpu == other.gpu and not told_apart:
                shared |= {id(use.record), id(other.record)}
        current.append(use)
    return shared


def _use(record: Record) -> _Use | None:
    end = _seconds(record.get("ended"))
    if end is None:
        return None
    start = _seconds(record.get("started"))
    device = record["device"]
    uuid = device.get("uuid") if record.get("processes", 1) == 1 else None
    return _Use(
        end - record.get("seconds", 0.0) if start is None else start, end, device["name"], uuid, record
    )


def _seconds(time: str | None) -> float | None:
    """Of a time in a record; UTC where it names no zone, None where it is no time."""
    try:
        found = datetime.fromisoformat(time or "")
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
