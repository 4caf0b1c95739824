"""One run, one data set: compares the checksum of the data at hand with the one that a run began with."""

import json
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

from isda_bench.config.building import ANY_MODULE, build
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


def checksum_at_hand(section: dict[str, Any]) -> str | None:
    """The checksum of the data that a section `dataset` of the user's command line describes.

    Returns:
        None where the data are not there, or cannot be read. Nothing is downloaded.
    """
    return _checksum_at_hand(json.dumps(section, sort_keys=True))


@lru_cache(maxsize=32)
def _checksum_at_hand(section: str) -> str | None:
    dataset: DataSet = copy(build(json.loads(section), DataSet, ANY_MODULE))
    root = getattr(dataset, "root", None)
    if root is not None and not Path(root).is_dir():
        return None
    if hasattr(dataset, "download"):
        dataset.download = False
    try:
        return dataset.load().checksum
    except UserError:
        return None
