"""One run, one data set: compares the checksum of the present data with that of the run's start."""

from pathlib import Path
from typing import Any

from isda_bench.data.base import DataFingerprint, DataSet, ImageData
from isda_bench.errors import UserError
from isda_bench.storage.record_files import DATA

INDICES = "indices_sha256"
"""Key in run.json of the checksum of the indices that are trained and evaluated on."""


class OtherData(UserError):
    """The data are not those of the run."""


def check_data(run: Path, held: Any, found: str, ways_on: str, what: str = "data") -> None:
    """Refuses data that are not those of a run.

    Args:
        run: its directory.
        held: the run's checksum; None: an older run has none.
        found: the checksum of the present data.
        ways_on: advice for the user.
        what: the name of the compared data.

    Raises:
        OtherData: they differ.
    """
    if held is not None and held != found:
        raise OtherData(
            f"{run}: was trained on other {what}: their SHA-256 is {held}, here it is {found}; {ways_on}"
        )


def fingerprint_at_hand(dataset: DataSet) -> DataFingerprint | None:
    """The checksums of the present data; None where there are none that can be read. Downloads nothing."""
    try:
        return dataset.fingerprint()
    except UserError:
        return None


def as_used(data: ImageData) -> dict[str, str]:
    """The entries of run.json about the data with which a run starts."""
    return {DATA: data.checksum, INDICES: data.indices}
