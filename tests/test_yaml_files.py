"""A YAML file that cannot be read is one error that names it, in every place that reads one."""

import os

import pytest

from isda_bench.config.compose import compose_run
from isda_bench.config.experiment_files import experiment_names, published_file, table_section
from isda_bench.config.folders import users_folder
from isda_bench.config.yaml_files import read_yaml
from isda_bench.errors import ConfigError
from isda_bench.experiments.planned import planned

HEAD = b"# @package _global_\n"
REPEATED = b"a: &a [x, x]\n" + b"".join(
    b"%c: &%c [*%c, *%c]\n" % (i, i, i - 1, i - 1) for i in range(98, 120)
)
UNREADABLE = {
    "contains itself": (HEAD + b"table: &t\n  title: [*t]\n", "a part of it contains itself"),
    "lists itself": (HEAD + b"schedule: {milestones: &m [*m]}\n", "a part of it contains itself"),
    "endless": (HEAD + REPEATED, "more than 100,000 values"),
    "deep": (HEAD + b"a: " + b"[" * 3000 + b"]" * 3000, "too many levels"),
    "latin-1": (HEAD + b"table: {title: \xe9}\n", "utf-8"),
    "no YAML": (HEAD + b"table: [\n", "line 3: "),
    "a tag": (HEAD + b"table: !!python/object/apply:os.system [true]\n", "line 2: "),
}


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "experiment").mkdir()
    with users_folder(tmp_path):
        yield tmp_path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(*case, id=name, marks=[pytest.mark.slow] * (name == "deep"))
        for name, case in UNREADABLE.items()
    ],
)
def test_an_unreadable_experiment_is_one_error(conf, content, reason):
    path = conf / "experiment" / "mine.yaml"
    path.write_bytes(content)
    for read in (
        lambda: read_yaml(path),
        lambda: compose_run(["experiment=mine"]),
        lambda: planned("mine"),
        lambda: table_section("mine"),
    ):
        with pytest.raises(ConfigError, match=r"mine\.yaml: cannot be read: ") as error:
            read()
        assert reason in str(error.value)


def test_a_part_may_be_repeated(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: &a [1, 2]\nb: *a\n")
    assert read_yaml(path) == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/nowhere")], ids=["FIFO", "folder", "link"]
)
def test_what_is_no_file_is_no_experiment(conf, make):
    make(conf / "experiment" / "mine.yaml")
    assert "mine" not in experiment_names()
    assert planned("demo")  # which reads every file of the folder for its cache
    (conf / "experiment" / "other.yaml").write_text("# @package _global_\n")
    make(conf / "experiment" / "other.published.yaml")
    with pytest.raises(ConfigError, match=r"other\.published\.yaml: is no file"):
        published_file("other")


@pytest.mark.parametrize(
    ("line", "problem"),
    [("seed: x,1", "seed=x"), ("seed: 0.5,1", "seed=0.5"), ("schedule.epochs: a,b", "schedule.epochs='a'")],
)
def test_an_experiment_of_wrong_settings_is_one_error(conf, line, problem):
    (conf / "experiment" / "mine.yaml").write_text(
        f"# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      {line}\n"
    )
    with pytest.raises(ConfigError, match=f"experiment=mine: {problem}"):
        planned("mine")
