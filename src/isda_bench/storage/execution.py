"""How the steps of a run were executed (eager, captured, compiled): rates of two modes do not mix."""

import sys

from isda_bench.runtime.ranks import rank
from isda_bench.storage.checksummed_json import write_checksummed
from isda_bench.storage.run_directory import RunDirectory

EXECUTION = "execution"
THEN = ", then "


def warn_of_another_execution(directory: RunDirectory, execution: str) -> None:
    """Reports on stderr that a run resumes in another mode than the one in which it was interrupted."""
    before = directory.run_json().get(EXECUTION)
    if before is not None and before.rpartition(THEN)[2] != execution:
        print(
            f"{directory.config.run_id}: its steps were {before} so far, now they are {execution}: "
            f"metrics may differ in the last digits, and images/s are of both",
            file=sys.stderr,
        )


def record_execution(directory: RunDirectory, execution: str) -> None:
    """Writes to run.json how the steps of an epoch were executed, after the mode of the epochs before.

    Raises:
        UserError: run.json is damaged.
    """
    if rank() != 0:
        return
    held = directory.run_json()
    before = held.get(EXECUTION)
    if not held or (before is not None and before.rpartition(THEN)[2] == execution):
        return
    content = held | {EXECUTION: execution if before is None else f"{before}{THEN}{execution}"}
    write_checksummed(directory.path / "run.json", content)


def recorded_execution(directory: RunDirectory) -> dict[str, str]:
    """The entry of a record; empty where run.json has none."""
    held = directory.run_json()
    return {EXECUTION: held[EXECUTION]} if EXECUTION in held else {}
