"""train.py as a user types it: real processes, and the functions behind them."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from helpers.processes import run_python
from helpers.tiny import REPOSITORY, TINY
from isda_bench.cli import command_line
from isda_bench.cli.endings import Terminated
from isda_bench.cli.flags import parse_flags
from isda_bench.config.compose import hydra_context
from isda_bench.config.options import Options, main, parse
from isda_bench.config.override_text import parse as parse_overrides
from isda_bench.errors import ConfigError


@pytest.fixture
def typed(typed_in, tmp_path, capsys):
    """Runs the command line in this process up to its end; returns exit code and output."""

    def call(*arguments):
        typed_in(tmp_path, "train.py", *arguments)
        with pytest.raises(SystemExit) as raised:
            command_line.main()
        return raised.value.code, capsys.readouterr()

    return call


def nothing_written(folder) -> bool:
    return not list(folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (["model=resnt32"], "model=resnt32: no such model; did you mean resnet32?"),
        (["hydra/launcher=3"], "hydra/launcher=3: should be the name of a choice"),
        (["+smuggled=1", "seed=a"], "2 problems in the configuration:\n  +smuggled=1: only keys"),
        (["-m", "experiment=demo,demo"], "one experiment at a time"),
        (["experiment=demo", "schedule.epochs=0"], "schedule.epochs=0: should be greater than 0"),
        (["-m", "dataset=digits", "model=resnet8", "schedule.epochs=-1", "seed=0,1"], "schedule.epochs=-1"),
        (["--cfg", "job", "-m"], "leave -m out"),
        (["--cfg", "job", "sed=1"], "sed: no such key; did you mean seed?"),
        (["--cfg", "job", "--resolve", "dataset.root=${nope}"], "Interpolation key 'nope' not found"),
        (["-model=resnet8"], "-model=resnet8: no such flag; did you mean model=resnet8?"),
        (["-capture"], "-capture: no such flag"),
        (["-multirun"], "-multirun: no such flag; did you mean --multirun?"),
        (["-s"], "-s: no such flag"),
        (["--nosuch"], "unrecognized arguments: --nosuch"),
    ],
)
def test_a_mistake_ends_with_code_2_and_one_message(typed, tmp_path, arguments, reported):
    code, output = typed(*arguments)
    assert code == 2
    assert reported in output.err
    assert output.err.count("error: ") == 1
    assert "Traceback" not in output.err
    assert output.out == ""
    assert nothing_written(tmp_path)


def test_a_file_in_place_of_the_grids_folder_is_reported(typed, tmp_path):
    (tmp_path / "file").touch()
    code, output = typed("-m", *TINY, "runs_dir=file", "seed=0,1")
    assert code == 1
    assert output.err.splitlines()[-1].startswith("error: ")
    assert "file" in output.err
    assert "Traceback" not in output.err


def test_a_file_in_place_of_runs_dir_is_reported(typed, tmp_path):
    (tmp_path / "runs").touch()
    code, output = typed(*TINY)
    assert code == 1
    assert output.err.startswith("error: runs_dir: ")
    assert "Traceback" not in output.err
    assert (tmp_path / "runs").read_bytes() == b""


def test_a_file_in_place_of_the_data_folder_is_reported(typed, tmp_path):
    (tmp_path / "file").touch()
    code, output = typed("dataset.root=file")
    assert code == 1
    assert output.err == "error: dataset.root=file: is not a folder\n"


def test_offline_without_cifar_one_error_names_the_way_on(typed, tmp_path, monkeypatch):
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    code, output = typed()
    assert code == 1
    assert output.err.count("error: ") == 1
    assert "Traceback" not in output.err
    for part in ("dataset.root=data", "looked in:", "tried:", "cifar-10-python.tar.gz", "dataset=digits"):
        assert part in output.err
    assert nothing_written(tmp_path)


def test_one_failing_job_does_not_stop_the_others(tmp_path):
    arguments = [*TINY, "-m", "loss=isda", "schedule.epochs=1", "loss.strength=-1,0.5", "runs_dir=runs"]
    code = (
        f"import sys; sys.argv = {['train.py', *arguments]!r}\n"
        "from isda_bench.cli.command_line import main\n"
        "try: main()\n"
        "finally: assert not {'wandb', 'torchvision', 'timm'} & set(sys.modules), 'imported in vain'"
    )
    done = run_python("-c", code, cwd=tmp_path).check(1)
    reported = (
        r"error: digits-resnet8-isda-s0-\w{8}: a problem in the configuration:\n  loss.strength=-1: should be"
    )
    assert re.search(reported, done.stderr)
    assert "Traceback" not in done.stderr
    assert len(list(tmp_path.glob("runs/digits-resnet8-isda-s0-*/record.json"))) == 1
    assert len(list(tmp_path.glob("runs/digits-*"))) == 1


def test_the_resolved_configuration_is_printed(typed_in, tmp_path, capsys):
    typed_in(tmp_path, "train.py", "--cfg", "job", "--resolve", "model=wrn28_10", "loss=isda")
    command_line.main()
    printed = capsys.readouterr().out
    for line in ("width: 10", "factor: 0.2", "strength: 0.5", "padding: 4"):
        assert line in printed
    assert "${" not in printed
    assert nothing_written(tmp_path)


@pytest.mark.parametrize(
    ("typed_path", "path"),
    [
        ("~/data", f"{Path.home()}/data"),
        ("~", f"{Path.home()}"),
        ("/My Images (1)", "/My Images (1)"),
        ("./wörk & play; #1", "./wörk & play; #1"),
        ("../it's", "../it's"),
        ('/say "x" \\ y\\', '/say "x" \\ y\\'),
        ("/data/${oc.env:NAME}", "/data/of_name"),
    ],
)
def test_paths_are_taken_as_typed(typed_in, tmp_path, monkeypatch, capsys, typed_path, path):
    monkeypatch.setenv("NAME", "of_name")
    typed_in(tmp_path, "train.py", "--cfg", "job", "--resolve", f"dataset.root={typed_path}")
    command_line.main()
    assert OmegaConf.create(capsys.readouterr().out).dataset.root == path
    assert nothing_written(tmp_path)


@pytest.mark.parametrize("text", ["dataset.root=My Images (1)", "runs_dir=wörk", "runs_dir=it's [1]"])
def test_quotes_are_suggested_as_the_shell_takes_them(typed, text):
    """The line that is printed, typed into a shell, is what Hydra reads as that text."""
    _, output = typed(text)
    line = output.err.strip().partition("; type ")[2]
    (argument,) = shlex.split(line)
    with hydra_context():
        (override,), problems = parse_overrides([argument])
    assert not problems and f"{override.key_or_group}={override.value()}" == text


@pytest.mark.parametrize("text", ["dataset.root=${a", "=3", "foo"])
def test_quotes_are_not_suggested_where_they_do_not_help(typed, text):
    assert "; type " not in typed(text)[1].err


def test_a_folder_of_ones_own_that_is_not_there(typed, tmp_path):
    code, output = typed("--config-dir", "nosuch", "model=resnet8")
    assert code == 2 and output.err.endswith("--config-dir=nosuch: no such folder\n")


def test_flags_are_those_of_the_hydra_that_is_installed():
    """The private parser, by what the command line needs of it."""
    found = parse_flags(["--config-dir", "x", "--cfg", "job", "-m", "a=1", "b=2"])
    assert (found.config_dir, found.cfg, found.multirun, found.overrides) == (
        "x",
        "job",
        True,
        ["a=1", "b=2"],
    )
    none = parse_flags([])
    names = ("help", "hydra_help", "info", "shell_completion", "config_name", "config_path", "resolve")
    assert not any(getattr(none, name) for name in names)
    for flag in ("-cd=x", "-cn=x", "-cp=x", "-sc"):
        parse_flags([flag])
    assert parse_flags(["a=1", "-m", "b=2"]).overrides == ["a=1", "b=2"]


def test_help_names_the_groups_and_imports_no_torch():
    code = (
        "import sys; sys.argv = ['train.py', '--help']\n"
        "from isda_bench.cli.command_line import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'wandb', 'torchvision'} & set(sys.modules)"
    )
    done = run_python("-c", code, cwd=REPOSITORY).check()
    for part in ("loss: center, cross_entropy", "isda", "resnet110", "seed: 0", "experiment=demo"):
        assert part in done.stdout


class Wanted(Options):
    run: str
    count: int = 3


def test_options_of_scripts():
    assert parse(Wanted, ["run=runs/a=b"]) == Wanted(run="runs/a=b")
    assert parse(Wanted, ["count=5", "run=x"]).count == 5


@pytest.mark.parametrize("first", ["runs/a=b", "run=runs/a=b"])
def test_the_first_argument_can_be_the_run_alone(first, monkeypatch):
    given = []
    monkeypatch.setattr(sys, "argv", ["isda-bench", first, "count=5"])
    main(Wanted, given.append, None)
    assert given == [Wanted(run="runs/a=b", count=5)]


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ([], ["run: not given"]),
        (["foo", "=3"], ["foo: should be key=value", "=3: should be key=value", "run: not given"]),
        (["run=x", "cuont=3"], ["cuont: no such option; did you mean count?"]),
        (["run=x", "run=y"], ["run: given twice"]),
        (["run=x", "count=1.5"], ["count=1.5: should be a valid integer"]),
        (["run=["], ["run=[: cannot be read; quote special characters", "run: not given"]),
        (["run=", "count=a"], ["run=null: should be a valid string", "count='a': should be a valid integer"]),
    ],
)
def test_wrong_options_of_scripts_are_all_listed(arguments, problems):
    with pytest.raises(ConfigError) as raised:
        parse(Wanted, arguments)
    assert [line.partition(", unable")[0] for line in raised.value.problems] == problems


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (
            ["-m", "seed=range(1,1000000000)"],
            "seed=range(1,1000000000): should have from 1 to 100,000",
        ),
        (["-m", "seed=range(1,2000)", "schedule.epochs=range(1,2000)"], "a grid of 3,996,001 runs; at most"),
        (["-m", "seed=range(3,1)"], "seed=range(3,1): should have from 1 to"),
        (["-m", f"seed=range(1,{10**400})"], "seed=range(1,1000"),
        (["model=resnt8", "hydra.x=range(1,10000000000)"], "hydra.x: a grid of 9,999,999,999 runs"),
        (["-m", "seed=glob(*)"], "seed=glob(*): a grid takes choice(...) or range(...)"),
        (["seed=" + "9" * 5000], "seed=999"),
        (["k" * 5000 + "=1"], "kkk"),
        (["model=wrn28_10", "model.width=1000000000"], "model: cannot be built: "),
        (["model.depth=99999998"], "model: more than 10,000 layers"),
    ],
)
def test_a_grid_that_is_much_too_large_is_refused_at_once(typed, tmp_path, arguments, reported):
    code, output = typed(*arguments)
    assert code == 2
    assert reported in output.err
    assert output.err.count("error: ") == 1 and len(output.err.splitlines()) <= 10
    assert nothing_written(tmp_path)


@pytest.mark.parametrize(("sent", "code"), [(Terminated(), 143), (KeyboardInterrupt(), 130)])
def test_a_signal_that_a_failing_clean_up_hides_is_seen(typed, monkeypatch, sent, code):
    def stopped(config):
        try:
            raise sent
        finally:
            raise AttributeError("clean-up")

    monkeypatch.setattr("isda_bench.training.run.run", stopped)
    ended, output = typed(*TINY)
    assert ended == code and "the same command resumes" in output.err


def test_an_error_that_hides_no_signal_is_shown(typed, monkeypatch):
    monkeypatch.setattr("isda_bench.training.run.run", lambda config: {}["missing"])
    with pytest.raises(KeyError, match="missing"):
        typed(*TINY)
