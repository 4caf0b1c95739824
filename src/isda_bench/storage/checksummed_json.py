"""JSON files that show damage: they contain the SHA-256 of their content, and that of files in the same
directory.

A checksum shows damage and careless edits. It is no signature: whoever writes a file can compute it, so that
a right checksum does not prove the content's origin. The content is data, to be checked like any
input. Older files without a checksum are read unchecked.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isda_bench.config.building import LARGEST
from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import read_file, write_atomically

FORMAT = 2
CHECKSUM_KEYS = ("format", "files", "sha256")
DEEPEST = 50  # levels of lists and objects


class NewerFormat(UserError):
    """A newer version of isda_bench has written the file."""


def write_checksummed(path: Path, content: dict[str, Any], beside: dict[str, bytes] | None = None) -> None:
    """Writes `content` and its checksum.

    Args:
        path: the file.
        content: an object of JSON.
        beside: name -> content of files in the same directory whose checksums are written too.

    Raises:
        UserError: the file cannot be written.
    """
    files = {name: _sha256(written) for name, written in (beside or {}).items()}
    checksummed = {"format": FORMAT, **content, "files": files}
    checksummed["sha256"] = _digest(checksummed)
    write_atomically(path, (json.dumps(checksummed, indent=2) + "\n").encode())


def read_checksummed(path: Path) -> dict[str, Any]:
    """The content that `write_checksummed` has written.

    Raises:
        UserError: it cannot be read, is not JSON, or is not what was written.
    """
    return checked_content(path, read_unchecked(path))


def checked_content(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """The content of the file at `path`, less the keys of its checksum.

    Args:
        path: the file.
        content: all of it, from `read_unchecked`.

    Raises:
        UserError: it is not what was written.
    """
    verify_checksum(path, content)
    return {key: value for key, value in content.items() if key not in CHECKSUM_KEYS}


def read_beside(path: Path, name: str, content: dict[str, Any] | None = None) -> bytes:
    """The content of the file `name` whose checksum is in the file at `path`.

    Args:
        path: the file.
        name: of a file in its directory.
        content: of the file at `path`, from `read_unchecked`; null: it is read.

    Raises:
        UserError: one of them cannot be read, or is not what was written.
    """
    content = read_unchecked(path) if content is None else content
    verify_checksum(path, content)
    file = path.parent / name
    try:
        found = read_file(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from error
    files = content.get("files", {})
    if not isinstance(files, dict) or files.get(name) not in (None, _sha256(found)):
        raise UserError(f"{file}: damaged or edited: it is not the one that {path.name} was written with")
    return found


def read_unchecked(path: Path) -> dict[str, Any]:
    """The object in a JSON file, without a check of its checksum.

    Raises:
        UserError: it cannot be read, or is not JSON.
    """
    try:
        content = parse_json(read_file(path).decode())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged or not readable: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: damaged: should hold an object")
    return content


def parse_json(text: str) -> Any:
    """The value that a text holds: its numbers are finite, its integers have at most 64 bits.

    Raises:
        ValueError: it is not JSON, or has a value that our files never contain.
    """
    value = parse_any_json(text)
    for problem in _problems(value):
        raise ValueError(problem)
    return value


def parse_any_json(text: str) -> Any:
    """The value that a text holds, for callers that check each part of it: it may be what we never write.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError(f"more than {DEEPEST} levels deep") from error


def has_checksum(content: dict[str, Any]) -> bool:
    """Whether the content has a part of a checksum, right or not; older files have none."""
    return bool(content.keys() & set(CHECKSUM_KEYS))


def verify_checksum(path: Path, content: dict[str, Any]) -> None:
    """Compares the content with its checksum.

    Raises:
        NewerFormat: a newer version has written it.
        UserError: they differ, or a part of the checksum is lacking.
    """
    if not has_checksum(content):
        return
    version = content.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise NewerFormat(
            f"{path}: damaged or edited, or written by a newer isda_bench: it has format {version}"
        )
    rest = {key: value for key, value in content.items() if key != "sha256"}
    if version != FORMAT or content.get("sha256") != _digest(rest):
        raise UserError(f"{path}: damaged or edited: its content is not what its checksum says")


def _problems(value: Any) -> Iterator[str]:
    """Values that our files never contain."""
    level = [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                below += item
            elif isinstance(item, int) and abs(item) >= LARGEST:
                yield "an integer of more than 64 bits"
            elif isinstance(item, str) and not item.isascii() and _is_no_text(item):
                yield "half a character"
            elif isinstance(item, float) and item - item != 0:
                yield "a number that is not finite"
        level = below
    if level:
        yield f"more than {DEEPEST} levels deep"


def _is_no_text(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _digest(content: dict[str, Any]) -> str:
    return _sha256(json.dumps(content, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
