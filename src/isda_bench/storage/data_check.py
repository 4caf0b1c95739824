"""One run, one data set: compares the checksum of the data at hand with the one that a run began with."""

from pathlib import Path
from typing import Any

from isda_bench.data.base import DataSet
from isda_bench.errors import UserError

DATA = "data_sha256"
"""Key of the data's checksum in run.json and in the record; older files may lack it."""


class OtherData(UserError):
    """The data are not those of the run."""


def check_data(run: Path, held: Any, found: str, ways_on: str) -> None:
    """Refuses data that are not those of a run.

    Args:
        run: its directory.
        held: the checksum that the run has; None: an older run has none.
        found: the checksum of the data that are there.
        ways_on: what the user can do.

    Raises:
        OtherData: they differ.
    """
    if held is not None and held != found:
        raise OtherData(
            f"{run}: was trained on other data: their SHA-256 is {held}, here it is {found}; {ways_on}"
        )


def checksum_at_hand(dataset: DataSet) -> str | None:
    """The checksum of the data that are there.

    Returns:
        None where they are not, or cannot be read. Nothing is downloaded.
    """
    try:
        found = dataset.fingerprint()
    except UserError:
        return None
    return None if found is None else found.data
