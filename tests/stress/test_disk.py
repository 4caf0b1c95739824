"""Full disks, folders that cannot be written, data that vanishes: one clear error, then on from there."""

import math
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from helpers import attacks
from helpers.trials import make_project, make_tables, result, train

TMPFS = 16 * 2**20
PAGE = 4096


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A finished project."""
    project = make_project(tmp_path_factory.mktemp("unbroken"))
    train(project).check()
    make_tables(project).check()
    return project


@pytest.fixture
def project(tmp_path):
    """One not begun yet."""
    return make_project(tmp_path / "project")


def one_error(done, *parts):
    """A UserError's end, which names the parts."""
    done.check(1)
    assert done.stderr.count("error: ") == 1 and "Traceback" not in done.stderr, done.stderr
    assert all(part in done.stderr for part in parts), (parts, done.stderr)


WRITTEN = ["cifar10.safetensors", "run.json", "metrics.jsonl", "checkpoint-00002", "record.json"]


@pytest.mark.parametrize(
    "name", ["checkpoint-00002", *(pytest.param(n, marks=pytest.mark.slow) for n in WRITTEN)]
)
def test_full_disk_at_each_file(project, unbroken, name, tried):
    """Flushing the file fails."""
    done = train(project, prepare=partial(attacks.fail_writes, name))
    one_error(done, name, "No space left on device")
    assert not list(project.rglob(".writing-*"))
    train(project).check()
    assert result(project) == result(unbroken)
    tried("disk full at a file", ["one error, then identical"])


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={TMPFS}", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, left: int) -> Path:
    """Fills the disk up to `left` bytes."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    filler = disk / "filler"
    filler.write_bytes(bytes(free - left))
    return filler


@pytest.mark.slow
@pytest.mark.parametrize("trials", [30])
def test_full_disk_at_any_size(small_disk, unbroken, rng, tried, trials):
    project = small_disk / "project"
    reported = []
    for _ in range(trials):
        make_project(project)
        filler = fill(small_disk, PAGE * int(math.exp(rng.uniform(0, math.log(800)))))
        done = train(project)
        if done.check(0, 1).returncode:
            one_error(done, "No space left on device")
            reported.append("one error, then identical")
        else:
            reported.append("room enough")
        tables = make_tables(project)
        if tables.returncode:
            one_error(tables)
        assert not list(project.rglob(".writing-*"))
        filler.unlink()
        train(project).check()
        make_tables(project).check()
        assert result(project) == result(unbroken)
        shutil.rmtree(project)
    tried("disk full with 4 KiB to 3 MiB left", reported)


@pytest.mark.slow
@pytest.mark.parametrize("trials", [15])
def test_limit_on_the_size_of_files(tmp_path, unbroken, rng, tried, trials):
    reported = []
    for i in range(trials):
        project = make_project(tmp_path / str(i))
        size = int(math.exp(rng.uniform(6, 14)))
        done = train(project, prepare=partial(attacks.full_above_size, size))
        if done.returncode:
            assert "Traceback" not in done.check(1).stderr, done.stderr
        reported.append("one error, then identical" if done.returncode else "room enough")
        assert not list(project.rglob(".writing-*"))
        train(project).check()
        assert result(project) == result(unbroken)
    tried("file size limited", reported)


PLACES = [
    ("runs", 0o555, "runs_dir: "),
    (".", 0o555, "runs"),
    ("data", 0o555, "dataset.root=data: cannot be written"),
    ("data", 0o000, "data"),
    ("data/cifar-10-batches-py/data_batch_2", 0o000, "data_batch_2"),
]


@pytest.mark.parametrize(
    ("place", "mode", "error"),
    [PLACES[0], *(pytest.param(*p, marks=pytest.mark.slow) for p in PLACES[1:])],
)
def test_no_permission(project, unbroken, place, mode, error, tried):
    path = project / place
    if not path.exists():
        path.mkdir()
    before = path.stat().st_mode
    path.chmod(mode)
    done = train(project, prepare=attacks.bound_by_permissions)
    path.chmod(before)
    one_error(done, error)
    train(project).check()
    assert result(project) == result(unbroken)
    tried("no permission to write or read", ["one error, then identical"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", "run.json", "metrics.jsonl", "record.json"])
def test_no_permission_in_the_run(project, unbroken, name, tried):
    """The run was begun by somebody else."""
    train(project, prepare=partial(attacks.after_checkpoint, attacks.dies))
    (directory,) = project.glob("runs/*")
    path = directory / name
    if name == "record.json":
        path.touch()
    before = path.stat().st_mode
    path.chmod(0o000 if name else 0o555)
    done = train(project, prepare=attacks.bound_by_permissions)
    if name == "metrics.jsonl":
        done.check()  # it is replaced as a whole
    else:
        one_error(done, name or "cannot be written")
    if path.exists() and name != "metrics.jsonl":
        path.chmod(before)
    if name == "record.json":
        path.unlink()
    train(project).check()
    assert result(project) == result(unbroken)
    tried("no permission in a run begun by another", ["one error, then identical"])


@pytest.mark.slow
def test_no_permission_for_tables(unbroken, tmp_path, tried):
    project = Path(shutil.copytree(unbroken, tmp_path / "project"))
    (project / "tables").chmod(0o555)
    shutil.rmtree(project / "tables", ignore_errors=True)
    project.chmod(0o555)
    done = make_tables(project, prepare=attacks.bound_by_permissions)
    project.chmod(0o755)
    one_error(done, "tables")
    tried("no permission for tables", ["one error"])


def test_data_that_vanishes(project, unbroken, tried):
    """While it trains it has the data in memory; what goes on later says what is missing."""
    vanish = partial(shutil.rmtree, "data")
    kept = Path(shutil.copytree(project / "data", project / "kept"))
    both = partial(attacks.after_checkpoint, attacks.each(vanish, attacks.dies))
    train(project, prepare=both).check(-9)
    one_error(train(project), "dataset.root=data", "missing: data_batch_1", "dataset.download=false")
    kept.rename(project / "data")
    done = train(project, prepare=partial(attacks.after_checkpoint, vanish))
    done.check()
    shutil.copytree(unbroken / "data", project / "data")
    assert result(project) == result(unbroken)
    tried("data set vanishes between epochs", ["training goes on", "resumed: one error", "back: identical"])
