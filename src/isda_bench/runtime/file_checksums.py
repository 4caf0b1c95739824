"""Checksums of files, computed once for an unchanged file."""

import hashlib
from functools import lru_cache
from pathlib import Path


def file_checksum(path: Path) -> str:
    """SHA-256 of the file's content, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    state = path.stat()
    return _checksum(path.resolve(), state.st_mtime_ns, state.st_size)


@lru_cache
def _checksum(path: Path, _modified: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
