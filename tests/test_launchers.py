"""Grids beyond one process: real joblib workers, real submitit jobs, Slurm's commands played by scripts."""

import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from helpers.processes import run_python, start_python, until
from helpers.tiny import REPOSITORY, TINY
from isda_bench.cli import launchers
from isda_bench.cli.command_line_check import command_line_problems
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_overrides, hydra_context
from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.config.run_config import CONF
from isda_bench.runtime import devices

pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
pytest.importorskip("hydra_plugins.hydra_submitit_launcher")

GRID = ["-m", *TINY, "schedule.epochs=2", "schedule.milestones=[]", "seed=0,1"]


@pytest.fixture
def train(tmp_path):
    """Runs train.py in a process of its own, not a forked one: at its end that would wait for the workers."""

    def call(*arguments, env=None):
        run_dir = f"runs_dir={tmp_path / 'runs'}"
        return run_python(str(REPOSITORY / "train.py"), run_dir, *arguments, cwd=tmp_path, env=env or {})

    return call


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_launcher_is_for_grids(launcher):
    chosen = [*TINY, f"hydra/launcher={launcher}"]
    (problem,) = command_line_problems(chosen, component_problems)
    assert problem == f"hydra/launcher={launcher}: launches the runs of a grid: needs -m"
    assert command_line_problems(chosen, component_problems, multirun=True) == []
    assert command_line_problems(["experiment=demo", f"hydra/launcher={launcher}"], component_problems) == []


@pytest.mark.parametrize("launcher", sorted(path.stem for path in (CONF / "hydra/launcher").glob("*.yaml")))
def test_generators_have_the_same_launchers(launcher):
    own = OmegaConf.load(CONF / "hydra/launcher" / f"{launcher}.yaml")
    with hydra_context(GeneratorConfig):
        composed = compose_overrides([f"hydra/launcher={launcher}", "generator=cgan"]).hydra.launcher
    plain = [key for key in own if not OmegaConf.is_interpolation(own, key)]
    assert len(plain) > 1 and {key: composed[key] for key in plain} == {key: own[key] for key in plain}


def test_a_launcher_reports_its_missing_requirements(monkeypatch):
    monkeypatch.setattr(launchers, "which", lambda name: None)
    chosen = [*TINY, "hydra/launcher=submitit_slurm"]
    assert command_line_problems(chosen, component_problems, multirun=True) == [
        "hydra/launcher=submitit_slurm: no Slurm on this machine (no srun)"
    ]
    monkeypatch.setattr(launchers, "find_spec", lambda name: None)
    assert command_line_problems(chosen, component_problems, multirun=True) == [
        "hydra/launcher=submitit_slurm: not installed; pip install hydra-submitit-launcher brings it"
    ]


@pytest.mark.parametrize(
    ("process", "gpus", "device"),
    [
        ("MainProcess", 4, "cuda:0"),
        ("LokyProcess-1", 4, "cuda:0"),
        ("LokyProcess-4", 4, "cuda:3"),
        ("LokyProcess-6", 4, "cuda:1"),
        ("LokyProcess-2", 0, "cpu"),
    ],
)
def test_gpus_are_given_to_the_processes_in_turn(monkeypatch, process, gpus, device):
    monkeypatch.setattr(devices.multiprocessing.current_process(), "name", process)
    monkeypatch.setattr(devices.torch.cuda, "init", lambda: None)
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: gpus)
    assert str(devices.choose_device("spread")) == device


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_runs_at_once_and_a_failing_one_stops_no_other(train, tmp_path, launcher):
    done = train(*GRID, f"hydra/launcher={launcher}", "loss=isda", "loss.strength=0.5,-1")
    done.check(1)
    assert len(list(tmp_path.glob("runs/digits-*/record.json"))) == 2
    assert "loss.strength=-1: should be greater than or equal to 0" in done.stderr
    assert "Traceback" not in done.stderr and "UserWarning" not in done.stderr
    if launcher == "submitit_local":
        assert re.search(
            r"^submitted 4 jobs: \d+, .*; logs in \S+/runs/.submitit$", done.stderr, re.MULTILINE
        )
        ends = re.findall(r"^\[\d/4\] job \d+ ended: (error: )?digits-\S+: ", done.stderr, re.MULTILINE)
        assert sorted(ends) == ["", "", "error: ", "error: "]


@pytest.mark.slow
def test_two_launchers_on_one_table_share_its_runs(train, tmp_path):
    grid = [part for part in GRID if part != "schedule.epochs=2"]
    command = [str(REPOSITORY / "train.py"), *grid, "loss=isda,cross_entropy", "schedule.epochs=40"]
    both = [start_python(*command, f"runs_dir={tmp_path / 'runs'}", cwd=tmp_path) for _ in range(2)]
    printed = [process.wait().check().stdout for process in both]
    trained = re.findall(r"^(\S+): test error .*best [\d.]+%\)$", "".join(printed), re.MULTILINE)
    assert len(trained) == len(set(trained)) == 4
    assert len(list(tmp_path.glob("runs/*/record.json"))) == 4


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_launcher_leaves_no_worker_and_no_lock(tmp_path, number):
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script += "from isda_bench.cli.command_line import main\nmain()"  # a shell may hide SIGINT from its jobs
    command = ["-c", script, "-m", *TINY, "seed=0,1", "schedule.epochs=9000", "hydra/launcher=joblib"]
    process = start_python(*command, f"runs_dir={tmp_path}", start_new_session=True)
    process.until(lambda: len(list(tmp_path.glob("*/metrics.jsonl"))) == 2)
    workers = session(process.pid)
    assert len(workers) > 2  # itself, and one a run
    process.send(number)
    done = process.wait().check(128 + number)
    assert "the same command resumes from the last checkpoint" in done.stderr
    until(lambda: not session(process.pid))


def session(leader):
    """The living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            state, _, _, number = path.read_text().rpartition(")")[2].split()[:4]
            found += [path] if int(number) == leader and state not in "ZX" else []
    return found


SBATCH = """#!/bin/bash
cp "$1" "$SUBMISSION"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
for task in $(seq 0 "$last"); do
  SLURM_JOB_ID=7$task SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task bash "$1" >"$SUBMISSION.$task" 2>&1 &
done
echo Submitted batch job 7
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do
  if [[ $1 == --unbuffered ]]; then shift; else shift 2; fi
done
exec "$@"
"""


@pytest.mark.slow
def test_a_grid_is_one_slurm_array(train, tmp_path):
    """sbatch, srun and sacct as scripts: what they are given is run as Slurm would run it."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, script in [("sbatch", SBATCH), ("srun", SRUN), ("sacct", "#!/bin/bash\n")]:
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    slurm = {"PATH": f"{commands}:{os.environ['PATH']}", "SUBMISSION": str(tmp_path / "submission.sh")}
    done = train(*GRID, "hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu", env=slurm)
    done.check()
    assert len(list(tmp_path.glob("runs/digits-*/record.json"))) == 2
    lines = (tmp_path / "submission.sh").read_text().splitlines()
    for line in (
        "--array=0-1%2",
        "--partition=gpu",
        "--time=720",
        "--gpus-per-node=1",
        "--cpus-per-task=4",
        "--mem=16GB",
        "--job-name=isda_bench",
        "--open-mode=append",
    ):
        assert f"#SBATCH {line}" in lines
    assert re.search(r"--signal=\w+@120", "\n".join(lines))
