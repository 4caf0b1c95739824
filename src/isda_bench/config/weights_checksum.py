"""The checksum of the file whose weights a network starts from: part of the run's identity."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from isda_bench.runtime.file_checksums import file_checksum


def add_checksum_of_weights(model: Any) -> None:
    """Adds it to the section of a network as `weights_sha256`, unless that is given."""
    weights = model.get("weights") if isinstance(model, dict) else None
    if isinstance(weights, str) and model.get("weights_sha256", "") is None:
        with suppress(OSError, RuntimeError):  # which the check reports; RuntimeError: no such home folder
            model["weights_sha256"] = file_checksum(Path(weights).expanduser())
