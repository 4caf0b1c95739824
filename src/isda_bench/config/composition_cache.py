"""Keeps composed configurations on disk, each under a hash of its inputs: a table's grid takes a second.

The folder is `$ISDA_BENCH_CACHE`, else `$XDG_CACHE_HOME/isda_bench` (`~/.cache/isda_bench`). It holds data
and can be deleted at any time. Without it, or where a file in it is damaged, configurations are composed.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from isda_bench.config.folders import config_folders
from isda_bench.errors import UserError
from isda_bench.runtime.atomic_files import write_atomically

KEPT_FOLDERS = 4
"""States of configuration and code whose files stay: those of branches worked on in turn."""


def remembered(asked: list[str], conf: Path, compose: Callable[[], Any]) -> Any:
    """The result of `compose`, from disk if it is there.

    Args:
        asked: what is composed.
        conf: the folder that it is composed from; or that of the code that computes it.
        compose: gives plain values, as JSON has them.
    """
    decides = _decides(tuple(config_folders(conf)))
    if decides is None or any(_RESOLVER.search(text) for text in asked):
        return compose()
    path = _folder() / decides / f"{_hash(json.dumps(asked))}.json"
    found = _read(path)
    if found is None:
        found = compose()
        _write(path, found)
    return found


_RESOLVER = re.compile(r"\$\{[^}]*:")
"""`${oc.env:HOME}`: the value is not decided by the files alone."""


@cache
def _decides(folders: tuple[Path, ...]) -> str | None:
    """Hash of the files as a process first finds them, and of the code and the libraries that compose."""
    texts = [f"{name} {version(name)}" for name in ("hydra-core", "omegaconf")]
    for folder in (*folders, Path(__file__).parent):
        for path in filter(Path.is_file, sorted([*folder.rglob("*.yaml"), *folder.glob("*.py")])):
            texts.append(f"{path.relative_to(folder)}\n{path.read_text(encoding='utf-8', errors='replace')}")
            if path.suffix == ".yaml" and _RESOLVER.search(texts[-1]):
                return None
    return _hash("\0".join(texts))


def _folder() -> Path:
    if own := os.environ.get("ISDA_BENCH_CACHE"):
        return Path(own)
    place = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with suppress(RuntimeError):  # there is no home: then nothing is kept
        return Path(place).expanduser() / "isda_bench"
    return Path(os.devnull) / "isda_bench"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


def _read(path: Path) -> Any:
    """The content of a file whose first line is its hash; None where there is none."""
    try:
        digest, _, content = path.read_text(encoding="utf-8").partition("\n")
        return json.loads(content) if digest == _hash(content) else None
    except (OSError, ValueError):
        return None


def _write(path: Path, found: Any) -> None:
    content = json.dumps(found)
    if json.loads(content) != found:  # NaN, a key that is no text
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, f"{_hash(content)}\n{content}".encode())
        folders = sorted(path.parent.parent.iterdir(), key=lambda folder: folder.stat().st_mtime)
        for old in [file for folder in folders[:-KEPT_FOLDERS] for file in folder.glob("*.json")]:
            old.unlink(missing_ok=True)
        for folder in folders[:-KEPT_FOLDERS]:
            folder.rmdir()
    except (OSError, UserError):
        return  # a disk that is full or read-only, another process that cleans up
