"""JSON files that show damage: a seal carries the SHA-256 of their content and of files beside them.

Files of before there was a seal, which have no key of it, are read as they are.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import write_atomically

FORMAT = 2
SEAL = ("format", "files", "sha256")


def write_checksummed(path: Path, content: dict[str, Any], beside: dict[str, bytes] | None = None) -> None:
    """Writes `content` and its seal.

    Args:
        path: the file.
        content: an object of JSON.
        beside: name -> content of files in the same directory for which this one vouches.

    Raises:
        UserError: the file cannot be written.
    """
    files = {name: _sha256(written) for name, written in (beside or {}).items()}
    sealed = {"format": FORMAT, **content, "files": files}
    sealed["sha256"] = _digest(sealed)
    write_atomically(path, (json.dumps(sealed, indent=2) + "\n").encode())


def read_checksummed(path: Path) -> dict[str, Any]:
    """What `write_checksummed` was given.

    Raises:
        UserError: it cannot be read, is not JSON, or is not what was written.
    """
    content = read_unchecked(path)
    verify_checksum(path, content)
    return {key: value for key, value in content.items() if key not in SEAL}


def read_beside(path: Path, name: str) -> bytes:
    """The content of the file `name` for which the one at `path` vouches.

    Raises:
        UserError: one of them cannot be read, or is not what was written.
    """
    content = read_unchecked(path)
    verify_checksum(path, content)
    file = path.parent / name
    try:
        found = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from error
    if content.get("files", {}).get(name) not in (None, _sha256(found)):
        raise UserError(f"{file}: damaged or edited: it is not the one that {path.name} was written with")
    return found


def read_unchecked(path: Path) -> dict[str, Any]:
    """The object in a JSON file, whatever its seal says.

    Raises:
        UserError: it cannot be read, or is not JSON.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged or not readable: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: damaged: should hold an object")
    return content


def verify_checksum(path: Path, content: dict[str, Any]) -> None:
    """Compares the content with its seal.

    Raises:
        UserError: they differ, or a part of the seal is lacking.
    """
    if not content.keys() & set(SEAL):
        return  # older than the seal
    rest = {key: value for key, value in content.items() if key != "sha256"}
    if content.get("format") != FORMAT or content.get("sha256") != _digest(rest):
        raise UserError(f"{path}: damaged or edited: its content is not what its checksum says")


def _digest(content: dict[str, Any]) -> str:
    return _sha256(json.dumps(content, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
