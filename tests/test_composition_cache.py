"""Compositions on disk: found again, never trusted where damaged, never needed."""

import math
import multiprocessing
import os

import pytest

from isda_bench.config.composition_cache import remembered
from isda_bench.config.run_config import CONF

ASKED, FOUND = ["grid", "seed=0"], [[["seed=0"], {"seed": 0, "loss": {"strength": 0.5}}, {"loss": "isda"}]]


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ISDA_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def never():
    raise AssertionError("composed again")


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_composition_is_found_again(folder):
    assert remembered(ASKED, CONF, lambda: FOUND) == FOUND
    assert remembered(ASKED, CONF, never) == FOUND
    assert remembered([*ASKED, "seed=1"], CONF, lambda: 2) == 2  # another question has an answer of its own
    assert len(files(folder)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-3],
        lambda content: content.replace(b"0.5", b"0.6"),
        lambda content: b"\xff\x00" + content,
        lambda content: b"null\nnull",
    ],
)
def test_a_damaged_file_is_composed_and_written_again(folder, damage):
    remembered(ASKED, CONF, lambda: FOUND)
    (path,) = files(folder)
    path.write_bytes(damage(path.read_bytes()))
    assert remembered(ASKED, CONF, lambda: FOUND) == FOUND
    assert remembered(ASKED, CONF, never) == FOUND


def test_a_folder_that_cannot_be_used_is_no_error(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below", "/proc/nothing"):
        monkeypatch.setenv("ISDA_BENCH_CACHE", str(place))
        assert [remembered(ASKED, CONF, lambda: FOUND) for _ in range(2)] == [FOUND, FOUND]


def test_another_configuration_is_another_question(folder, tmp_path):
    for name, text in (("a", "x: 1"), ("b", "x: 2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
        assert remembered(ASKED, tmp_path / name, name.upper) == name.upper()


def test_a_composition_with_environment_variables_is_not_stored(folder, tmp_path):
    (tmp_path / "config.yaml").write_text("home: ${oc.env:HOME}")
    for asked, conf in ((["runs_dir=${oc.env:HOME}"], CONF), (ASKED, tmp_path)):
        answers = iter((1, 2))
        assert [remembered(asked, conf, lambda: next(answers)) for _ in range(2)] == [1, 2]  # noqa: B023
    assert not files(folder)


@pytest.mark.parametrize("value", [{1: "a key that is no text"}, [math.nan], {"pair": (1, 2)}])
def test_a_value_that_a_file_would_change_is_not_stored(folder, value):
    remembered(ASKED, CONF, lambda: value)
    assert remembered(ASKED, CONF, lambda: "composed again") == "composed again"


def test_files_of_older_states_are_removed(folder, tmp_path):
    for state in range(7):
        (tmp_path / f"{state}").mkdir()
        (tmp_path / f"{state}" / "config.yaml").write_text(f"x: {state}")
        remembered(ASKED, tmp_path / f"{state}", lambda: FOUND)
        for path in folder.iterdir():
            os.utime(path, (path.stat().st_mtime - 10,) * 2)
    assert len(files(folder)) == 4
    assert remembered(ASKED, tmp_path / "6", never) == FOUND


def ask(number):
    return remembered([f"question {number % 3}"], CONF, lambda: [f"answer {number % 3}"] * 1000)


def test_many_at_once(folder):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        for number, found in enumerate(pool.map(ask, range(60))):
            assert found == [f"answer {number % 3}"] * 1000
    assert len(files(folder)) == 3
