"""The command isda-bench: its sub-commands, their help, and the doors that a checkout has to them."""

import importlib
import re
import signal
import sys
import tomllib
from pathlib import Path

import pytest

import isda_bench
from helpers.forked import run_forked
from helpers.processes import run_python
from helpers.tiny import REPOSITORY
from isda_bench.cli.main import COMMANDS, main, overview, run_command, usage

DOORS = {path: re.search(r'run_command\("(\S+)", program="(.*)"\)', path.read_text()) for path in
         [REPOSITORY / "train.py", *sorted((REPOSITORY / "scripts").glob("*.py"))]}  # fmt: skip


@pytest.fixture
def typed(monkeypatch, capsys):
    """Runs `isda-bench <arguments>` in this process; returns exit code, output, errors."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def call(*arguments, program="isda-bench"):
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return call


def test_the_help_lists_every_command_with_a_line_that_fits(typed):
    code, out, _ = typed("--help")
    lines = [line for line in out.splitlines() if re.match(r"  [\w-]+  ", line)]
    assert code == 0 and out == overview() == typed("-h")[1]
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert all(len(line.split(maxsplit=1)[1]) > 20 and len(line) <= 110 for line in lines)


def test_help_reads_the_usage_texts_and_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from isda_bench.cli.main import COMMANDS, main\n"
        "for arguments in (['--help'], ['--version'], *([name, '--help'] for name in COMMANDS)):\n"
        "    sys.argv[1:] = arguments\n"
        "    main()\n"
        "assert not {'torch', 'pandas', 'hydra', 'pydantic', 'numpy'} & set(sys.modules)\n"
    )
    done = run_python("-c", code).check()
    for name in COMMANDS:
        assert f"-c {name}" not in done.stdout and f"isda-bench {name}" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_a_module_with_a_usage_text_and_a_function(name):
    module = importlib.import_module(f"isda_bench.cli.{name.replace('-', '_')}")
    assert callable(module.command)
    assert usage(name) == module.__doc__.rstrip()
    assert f"isda-bench {name}" in usage(name) or name in ("train", "generator")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no command; there are: train, plan, "),
        (["tabels"], "tabels: no such command; did you mean tables?"),
        (["make_tables"], "make_tables: no such command; did you mean tables?"),
        (["zzz"], "zzz: no such command; there are: train, plan, "),
        (["--verbose"], "--verbose: no such command; there are: train, plan, "),
        (
            ["model=resnet8", "schedule.milestones=[1, 2]"],
            "model=resnet8: no such command; did you mean: isda-bench train model=resnet8 "
            "'schedule.milestones=[1, 2]'",
        ),
        (["-m", "seed=0,1"], "-m: no such command; did you mean: isda-bench train -m seed=0,1"),
    ],
)
def test_an_unknown_command_is_reported_with_a_suggestion(typed, arguments, message):
    code, out, err = typed(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}") and len(err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--version"], ["train", "--version"], ["tables", "--version"]])
def test_the_version_is_ours(typed, arguments):
    assert typed(*arguments) == (0, f"isda_bench {isda_bench.__version__}\n", "")


def test_a_wrong_option_of_a_command_ends_with_2(typed):
    code, _, err = typed("collect", "rnus_dir=x")
    assert code == 2 and "did you mean runs_dir?" in err


def test_the_usage_text_names_the_command_as_it_was_typed(typed):
    as_module = typed("tables", "--help", program="/somewhere/isda_bench/__main__.py")[1]
    assert "\npython -m isda_bench tables experiment=demo" in as_module and "\nisda-bench" not in as_module
    assert "\nisda-bench tables experiment=demo" in typed("tables", "-h")[1]


@pytest.mark.parametrize("path", DOORS, ids=lambda path: path.stem)
def test_a_door_is_thin_and_names_itself(path, monkeypatch, capsys):
    name, program = DOORS[path].groups()
    assert name in COMMANDS and len(path.read_text().splitlines()) <= 8
    assert program == f"python {path.relative_to(REPOSITORY).as_posix()}"
    if name in ("train", "generator"):
        return
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    run_command(name, program)
    assert capsys.readouterr().out == usage(name).replace(f"isda-bench {name}", program) + "\n"


def test_there_is_a_door_to_every_command_that_once_was_a_script():
    newer = {"plan", "reproduce", "predict", "card"}
    assert {match[1] for match in DOORS.values()} == set(COMMANDS) - newer


def test_a_plan_is_training_with_plan_true(tmp_path):
    arguments = ["experiment=demo", f"runs_dir={tmp_path / 'runs'}"]
    module = Path(isda_bench.__file__).with_name("__main__.py")
    planned = run_forked(["plan", *arguments], tmp_path, script=module)
    trained = run_forked([*arguments, "plan=true"], tmp_path)
    assert planned.returncode == trained.returncode == 0, planned.stderr
    assert planned.stdout == trained.stdout and "6 missing" in planned.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_the_command(tmp_path):
    arguments = ["train", "dataset=digits", "model=resnet8", "dataset.train_size=200", "schedule.epochs=1"]
    module = Path(isda_bench.__file__).with_name("__main__.py")
    done = run_forked([*arguments, "schedule.milestones=[]"], tmp_path, script=module)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/digits-resnet8-cross_entropy-s0-*/record.json"))) == 1


def test_the_console_script_and_the_version_are_declared_once():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"isda-bench": "isda_bench.cli.main:main"}
    assert "version" in project["dynamic"]
