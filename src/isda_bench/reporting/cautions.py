"""Cautions about a mean error: unreadable images, a learning rate that drops within the averaged epochs."""

from collections.abc import Iterable
from typing import Any

from isda_bench.storage.run_results import LAST_EPOCHS


def cautions(records: Iterable[dict[str, Any]], schedule: dict[str, Any], protocol: str) -> tuple[str, ...]:
    """The cautions in the footnote of a cell, in words; none where no run has finished.

    Args:
        records: of the cell's finished runs.
        schedule: their section of the configuration.
        protocol: which error of a run counts.
    """
    all_records = list(records)
    if not all_records:
        return ()
    return tuple(filter(None, (schedule_caution(schedule, protocol), unreadable_caution(all_records))))


def unreadable_caution(records: list[dict[str, Any]]) -> str:
    """The number of training images that could not be read, with seeds where the runs differ; or ''."""
    counts = {record["config"]["seed"]: record.get("unreadable_images") or 0 for record in records}
    if not any(counts.values()):
        return ""
    if len(set(counts.values())) == 1:
        count = next(iter(counts.values()))
        return f"{_images(count)} could not be read and {_was(count)} left out"
    each = ", ".join(f"{count} with seed {seed}" for seed, count in sorted(counts.items()) if count)
    return f"training images that could not be read were left out: {each}"


def _images(count: int) -> str:
    return f"{count:,} training image{'' if count == 1 else 's'}"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def schedule_caution(schedule: dict[str, Any], protocol: str) -> str:
    """A sentence for a schedule whose rate drops within the epochs that are averaged; else ''.

    15 epochs with drops at 9 and 13: 'the last 10 epochs average 3 epochs of the first rate, 4 of x0.1 and 3
    of x0.01'.

    Args:
        schedule: the section of the configuration.
        protocol: which error of a run counts.
    """
    milestones, factor = schedule.get("milestones"), schedule.get("factor")
    if protocol != "last_10" or not milestones or factor is None:
        return ""
    last = schedule["epochs"]
    first = max(1, last - LAST_EPOCHS + 1)
    drops = [0] * (last - first + 1)
    for milestone in milestones:
        for epoch in range(max(milestone, first), last + 1):
            drops[epoch - first] += 1
    if drops[0] == drops[-1]:
        return ""
    counts = {drop: drops.count(drop) for drop in sorted(set(drops))}
    rates = {drop: "the first rate" if drop == 0 else f"x{factor**drop:.2g}" for drop in counts}
    head, *others = [f"{count} of {rates[drop]}" for drop, count in counts.items()]
    head = head.replace(" of ", " epochs of " if head.split()[0] != "1" else " epoch of ", 1)
    averaged_text = ", ".join([head, *others[:-1]]) + f" and {others[-1]}"
    return f"the rate drops within the last {len(drops)} epochs, which average {averaged_text}"
