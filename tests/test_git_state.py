"""The commit in a record is that of the checkout whose code ran, or null."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from isda_bench.config.places import checkout, configuration
from isda_bench.storage.provenance import git_state

NO_COMMIT = {"commit": None, "dirty": None}


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch):
    for key in [key for key in os.environ if key.startswith("GIT_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(folder: Path, *arguments: str) -> str:
    me = ["-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *me, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def committed(folder: Path) -> str:
    """Makes the folder a repository with all its files in one commit."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes.txt").write_text(folder.name)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all")
    return git(folder, "rev-parse", "HEAD")


def sources(folder: Path) -> Path:
    """A project with this one's layout; returns its package."""
    package = folder / "src" / "isda_bench"
    for path in (package / "__init__.py", folder / "conf" / "config.yaml", folder / "train.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return package


def wheel(folder: Path) -> Path:
    """An installed package with the configuration inside; returns the package."""
    package = folder / "isda_bench"
    (package / "conf").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    return package


def test_of_a_checkout_its_commit(tmp_path):
    package = sources(tmp_path / "ours")
    commit = committed(tmp_path / "ours")
    assert git_state(package) == {"commit": commit, "dirty": False}
    assert checkout(package) == tmp_path / "ours" and configuration(package) == tmp_path / "ours" / "conf"


@pytest.mark.parametrize(
    ("changed", "dirty"),
    [
        ("src/isda_bench/new.py", True),
        ("conf/config.yaml", True),
        ("conf_generator/config.yaml", True),
        ("train.py", True),
        ("notes.txt", False),
    ],
)
def test_dirty_means_changes_that_decide_a_result(tmp_path, changed, dirty):
    package = sources(tmp_path)
    committed(tmp_path)
    (tmp_path / changed).parent.mkdir(exist_ok=True)
    (tmp_path / changed).write_text("changed")
    assert git_state(package)["dirty"] is dirty


def test_of_a_second_worktree_its_own_commit(tmp_path):
    sources(tmp_path / "ours")
    committed(tmp_path / "ours")
    git(tmp_path / "ours", "worktree", "add", "-q", tmp_path / "other")
    git(tmp_path / "other", "commit", "-q", "--allow-empty", "-m", "more")
    found = git_state(tmp_path / "other" / "src" / "isda_bench")
    assert found == {"commit": git(tmp_path / "other", "rev-parse", "HEAD"), "dirty": False}


@pytest.mark.parametrize("site", [".venv/lib/python3.11/site-packages", "src", "."])
def test_of_an_installed_wheel_not_the_commit_of_the_repository_around_it(tmp_path, site):
    package = wheel(tmp_path / "theirs" / site)
    committed(tmp_path / "theirs")
    assert git_state(package) == NO_COMMIT
    assert checkout(package) is None and configuration(package) == package / "conf"


def test_of_sources_unpacked_below_a_foreign_repository_none(tmp_path):
    package = sources(tmp_path / "theirs" / "downloads" / "isda_bench-0.1.0")
    committed(tmp_path / "theirs")
    assert git_state(package) == NO_COMMIT


def test_of_an_older_version_unpacked_in_a_newer_checkout_none(tmp_path):
    sources(tmp_path / "ours")
    package = sources(tmp_path / "ours" / "downloads" / "isda_bench-0.1.0")
    committed(tmp_path / "ours")
    assert git_state(package) == NO_COMMIT


def test_of_sources_that_a_foreign_repository_does_not_track_none(tmp_path):
    committed(tmp_path / "theirs")
    assert git_state(sources(tmp_path / "theirs")) == NO_COMMIT


def test_of_sources_without_git_none(tmp_path):
    assert git_state(sources(tmp_path)) == NO_COMMIT


def test_of_a_repository_without_a_commit_none(tmp_path):
    package = sources(tmp_path)
    git(tmp_path, "init", "-q")
    assert git_state(package) == NO_COMMIT


def test_without_the_program_git_none(tmp_path, monkeypatch):
    package = sources(tmp_path)
    committed(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(package) == NO_COMMIT


@pytest.mark.parametrize(
    "names", [("GIT_DIR",), ("GIT_DIR", "GIT_WORK_TREE"), ("GIT_WORK_TREE",), ("GIT_INDEX_FILE",)]
)
def test_variables_that_name_another_repository_change_nothing(tmp_path, monkeypatch, names):
    package = sources(tmp_path / "ours")
    commit = committed(tmp_path / "ours")
    shutil.copytree(tmp_path / "ours" / "src", tmp_path / "theirs" / "src")
    committed(tmp_path / "theirs")
    values = {"GIT_DIR": ".git", "GIT_WORK_TREE": ".", "GIT_INDEX_FILE": ".git/index"}
    for name in names:
        monkeypatch.setenv(name, str(tmp_path / "theirs" / values[name]))
    assert git_state(package) == {"commit": commit, "dirty": False}
    assert git_state(wheel(tmp_path / "site-packages")) == NO_COMMIT


def test_the_index_is_not_written(tmp_path):
    """Many runs of one checkout start at once: none may hold git's lock while the user commits."""
    package = sources(tmp_path)
    committed(tmp_path)
    index = tmp_path / ".git" / "index"
    os.utime(package / "__init__.py", (1, 1))  # git would refresh what it knows of the file
    before = index.read_bytes()
    assert git_state(package)["dirty"] is False
    assert index.read_bytes() == before
