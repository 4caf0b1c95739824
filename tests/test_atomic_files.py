"""Temporary files: whose they are, and who removes them."""

import os
import platform
import subprocess

import pytest

from isda_bench.errors import UserError
from isda_bench.runtime import atomic_files
from isda_bench.runtime.atomic_files import ASIDE, read_file, remove_leftovers, write_atomically


def interrupted(path, monkeypatch, node=None, process=None):
    """The temporary file of a write that was killed, on the machine `node` as this process or another."""
    with monkeypatch.context() as there:
        if node:
            there.setattr(platform, "node", lambda: node)
        if process:
            there.setattr(os, "getpid", lambda: process)
        there.setattr(type(path), "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        there.setattr(type(path), "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"half")
    (left,) = set(path.parent.glob(f"{ASIDE}*")) - set(interrupted.before)
    interrupted.before.add(left)
    return left


interrupted.before = set()


@pytest.fixture
def dead_process():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    "clean", [remove_leftovers, lambda folder: write_atomically(folder / "record.json", b"")]
)
def test_a_killed_process_s_file_is_removed_and_no_other(tmp_path, monkeypatch, dead_process, clean):
    path = tmp_path / "record.json"
    dead = interrupted(path, monkeypatch, process=dead_process)
    afar = interrupted(path, monkeypatch, node="another-machine", process=dead_process)
    alive = interrupted(path, monkeypatch)
    clean(tmp_path)
    assert not dead.exists() and afar.exists() and alive.exists()


def test_two_writers_of_one_process_have_files_of_their_own(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    first, second = (interrupted(path, monkeypatch) for _ in range(2))
    assert first != second and platform.node()[:10].replace("-", "_").replace(".", "_") in first.name


def test_a_special_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name in ("fifo", "folder", "nothing"):
        with pytest.raises(OSError):
            read_file(tmp_path / name)


def test_a_failed_write_leaves_no_file(tmp_path):
    (tmp_path / "record.json").mkdir()
    with pytest.raises(UserError, match=r"record\.json: cannot be written"):
        write_atomically(tmp_path / "record.json", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
    assert atomic_files.ASIDE == ".writing-"
