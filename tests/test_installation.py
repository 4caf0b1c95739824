"""The wheel and the source distribution: what they hold, and that they work without the clone."""

import configparser
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import isda_bench
from helpers.processes import DEADLINE
from helpers.tiny import REPOSITORY
from isda_bench.cli.main import COMMANDS

BUILD = (
    "import sys; from setuptools import build_meta as build; print(getattr(build, sys.argv[1])(sys.argv[2]))"
)
SOURCES = ("src", "conf", "conf_generator", "scripts", "examples")
RUN = ("dataset=digits", "model=resnet8", "schedule.epochs=2")


def environment(**more: str) -> dict[str, str]:
    """That of a user who has no checkout."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return kept | {"OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"} | more


def build(project: Path, what: str, out: Path) -> Path:
    """What pip builds of the project without isolation: `wheel` or `sdist`."""
    command = [sys.executable, "-c", BUILD, f"build_{what}", str(out)]
    done = subprocess.run(
        command, cwd=project, env=environment(), capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of what is built: the checkout stays clean."""
    copy = tmp_path_factory.mktemp("project")
    for part in SOURCES:
        shutil.copytree(
            REPOSITORY / part, copy / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for path in REPOSITORY.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(project, tmp_path_factory):
    return build(project, "wheel", tmp_path_factory.mktemp("dist"))


def files_below(folder: Path) -> set[str]:
    """Their paths, less Python's caches."""
    found = (Path(at) / name for at, _, names in os.walk(folder, followlinks=True) for name in names)
    return {path.relative_to(folder).as_posix() for path in found if "__pycache__" not in path.parts}


def test_the_wheel_holds_the_package_and_its_configuration(wheel):
    expected = {f"isda_bench/{name}" for name in files_below(REPOSITORY / "src" / "isda_bench")}
    for folder in ("conf", "conf_generator"):
        expected |= {f"isda_bench/{folder}/{name}" for name in files_below(REPOSITORY / folder)}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (entry,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        parser = configparser.ConfigParser()
        parser.read_string(archive.read(entry).decode())
    assert names == expected
    assert dict(parser["console_scripts"]) == {"isda-bench": "isda_bench.cli.main:main"}
    assert wheel.name.startswith(f"isda_bench-{isda_bench.__version__}-py3-none-any")


def test_a_wheel_holds_nothing_of_an_earlier_build(project, wheel, tmp_path):
    stale = [project / "build" / "lib" / "isda_bench" / name for name in ("gone.py", "conf/model/gone.yaml")]
    for path in stale:
        path.write_text("")
    with zipfile.ZipFile(build(project, "wheel", tmp_path)) as again, zipfile.ZipFile(wheel) as first:
        assert again.namelist() == first.namelist()


@pytest.mark.slow
def test_the_source_distribution_makes_the_same_wheel(project, wheel, tmp_path):
    with tarfile.open(build(project, "sdist", tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert {"train.py", "Makefile", "README.md", "LICENSE"} <= {path.name for path in unpacked.iterdir()}
    assert files_below(unpacked / "scripts") == files_below(REPOSITORY / "scripts")
    with zipfile.ZipFile(build(unpacked, "wheel", tmp_path)) as ours, zipfile.ZipFile(wheel) as expected:
        assert ours.namelist() == expected.namelist()


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs isda-bench in an empty folder; its environment has the wheel, and this one's other packages."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "install", "-q", "--no-deps"]
    subprocess.run([*pip, "--no-index", str(wheel)], check=True, env=environment())
    where = [str(scripts / "python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip())
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    folder = tmp_path_factory.mktemp("empty")

    def call(*arguments: str, program: tuple[str, ...] = ("isda-bench",), **variables: str):
        command = [str(scripts / program[0]), *program[1:], *arguments]
        return subprocess.run(
            command,
            cwd=folder,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )

    call.folder = folder
    call.site = site
    return call


@pytest.mark.slow
def test_a_wheel_in_an_empty_folder(installed):
    """What the README promises after `pip install`, in the order in which a user types it."""
    version = installed("--version", program=("python", "-m", "isda_bench"))
    assert version.stdout == f"isda_bench {isda_bench.__version__}\n", version.stderr
    where = installed("-c", "import isda_bench; print(isda_bench.__file__)", program=("python",))
    assert Path(where.stdout.strip()).is_relative_to(installed.site)
    subprocess.run(["git", "init", "-q"], cwd=installed.folder, check=True)
    for arguments in (["add", "-A"], ["commit", "-q", "--allow-empty", "-m", "theirs"]):
        me = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        subprocess.run(["git", *me, *arguments], cwd=installed.folder, check=True)
    trained = installed("train", *RUN, GIT_DIR=str(installed.folder / ".git"))
    assert trained.returncode == 0, trained.stderr
    (run,) = installed.folder.glob("runs/digits-resnet8-cross_entropy-s0-*")
    assert json.loads((run / "run.json").read_text())["git"] == {"commit": None, "dirty": None}
    for arguments, said in [
        (["train", *RUN], "finished already"),
        (["plan", *RUN], "1 run: 1 done"),
        (["runs"], "finished  2/2"),
        (["evaluate", str(run)], "recorded after the last epoch"),
        (["tables"], "written: runs/tables/all.md"),
        (["report"], "written: runs/report.html"),
        (["figures"], "written: runs/figures/"),
        (["collect"], f"results/records/{run.name}"),
        (["dashboard", "--dry-run"], "workspace 'ISDA: all runs'"),
        (["augmentations", "dataset=digits"], "results/augmentations/digits_none.png"),
        (
            ["generator", *RUN[:1], "generator=cgan", "schedule.epochs=1", "schedule.steps=2"],
            "digits-cgan-s0-",
        ),
        (["plan", "experiment=demo"], "6 missing"),
        (["benchmark", "only=per_class"], "results/benchmarks/"),
    ]:
        done = installed(*arguments)
        assert done.returncode == 0 and said in done.stdout + done.stderr, (
            arguments,
            done.stdout,
            done.stderr,
        )
        assert "Traceback" not in done.stderr
    (generator,) = installed.folder.glob("runs/generators/*")
    measured = installed("measure", f"run={generator}")
    assert measured.returncode == 0 and "Frechet" in measured.stdout, measured


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_of_a_wheel_has_a_help_page(installed, name):
    done = installed(name, "--help")
    assert done.returncode == 0 and f"isda-bench {name}" in done.stdout, done.stderr


@pytest.mark.slow
def test_nothing_to_show_is_said_in_a_sentence(installed, tmp_path):
    for name in ("report", "figures", "runs", "collect"):
        done = installed(
            name,
            f"runs_dir={tmp_path / 'none'}",
            *(["records=none"] if name in ("report", "figures") else []),
        )
        assert "Traceback" not in done.stderr
        assert done.returncode == 0 or done.stderr.startswith("error: "), done.stderr
