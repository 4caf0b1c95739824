"""examples/own_project: a user's network and configuration outside the clone, as its README says."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

import isda_bench
from helpers.forked import run_forked
from helpers.tiny import REPOSITORY

MODULE = Path(isda_bench.__file__).with_name("__main__.py")
EXAMPLE = REPOSITORY / "examples" / "own_project"


def commands() -> list[list[str]]:
    blocks = re.findall(
        r"^```bash\n(.*?)^```$", (EXAMPLE / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert all(line[0] == "isda-bench" for line in lines)
    return [line[1:] for line in lines]


@pytest.fixture
def project(tmp_path):
    return shutil.copytree(EXAMPLE, tmp_path / "own_project")


def test_the_commands_of_its_page_train(project):
    for command in commands()[:-2]:
        done = run_forked([*command, "dataset.train_size=200"], project, script=MODULE)
        assert done.returncode == 0, done.stderr
    assert len(list(project.glob("runs/digits-mine-*/record.json"))) == 4  # the first is one of the grid


@pytest.mark.slow
def test_the_table_of_its_page_is_trained_and_written(project):
    for command in commands()[-2:]:
        done = run_forked(command, project, script=MODULE)
        assert done.returncode == 0, done.stderr
    assert len(list(project.glob("runs/digits-mine-*/record.json"))) == 6
    page = (project / "runs" / "tables" / "own_table.md").read_text()
    assert page.count("(2)") >= 5 and "missing" not in page and "difference to Cross-entropy" in page


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.width=0", r"model\.width=0: should be greater than 0"),
        ("model.widht=8", r"model\.widht: no such key with model=mine; did you mean model\.width\?"),
        ("model=mien", r"model=mien: .*did you mean mine\?"),
        ("loss.strength=-1 model.width=0", r"(?s)(?=.*model\.width=0)(?=.*loss\.strength=-1)"),
    ],
)
def test_mistakes_are_reported_before_anything_is_written(project, override, message):
    before = sorted(project.rglob("*"))
    command = [*commands()[0], *override.split()]
    if override.startswith("model="):
        command.remove("model=mine")
    done = run_forked(command, project, script=MODULE)
    assert done.returncode == 2 and re.search(message, done.stderr) and "Traceback" not in done.stderr, (
        done.stderr
    )
    assert [path for path in sorted(project.rglob("*")) if "__pycache__" not in path.parts] == before
