"""Real offline wandb runs, and the other loggers."""

import csv
import importlib.util
import json
import os
import struct
import time
from threading import Event

import pytest
import torch
import wandb
from matplotlib.image import imread
from wandb.proto import wandb_internal_pb2

from helpers.processes import DEADLINE, run_python, until
from helpers.tiny import TINY
from isda_bench.cli.command_line_check import command_line_problems
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_run
from isda_bench.monitoring import loggers
from isda_bench.monitoring.loggers import Logger, WandbLogger
from isda_bench.storage import checkpoint
from isda_bench.storage.checkpoint import load_newest
from isda_bench.training.run import run

BLOCK, FULL, LAST = 32768, 1, 4


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv(
        "WANDB_SERVICE", ""
    )  # set by wandb: processes of later tests would use this one's service
    monkeypatch.delenv("WANDB_SERVICE")
    for name in ("SECONDS_TO_ANSWER", "SECONDS_TO_WAIT"):  # a busy machine is no failure of wandb's
        monkeypatch.setattr(loggers, name, DEADLINE)


def records_of(content):
    """The records of LevelDB's log format: blocks of 32 KiB, pieces of a record with a header of 7 bytes."""
    position, record = len(b":W&B") + 3, b""
    while position + 7 <= len(content):
        left = -position % BLOCK or BLOCK
        if left < 7:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", content, position + 4)
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (FULL, LAST):
            yield record
            record = b""


def wandb_run(path):
    """The run's header, its history and its summary, read from the file that `wandb sync` would send."""
    header, history, summary = None, [], {}
    for data in records_of(path.read_bytes()):
        entry = wandb_internal_pb2.Record()
        entry.ParseFromString(data)
        if entry.WhichOneof("record_type") == "run":
            header = entry.run
        elif entry.WhichOneof("record_type") == "history":
            history.append({item.key or item.nested_key[0]: item.value_json for item in entry.history.item})
        elif entry.WhichOneof("record_type") == "summary":
            summary |= {item.key or item.nested_key[0]: item.value_json for item in entry.summary.update}
    return header, history, summary


def test_an_offline_run_a_job(tmp_path):
    configs = [
        compose_run([*TINY, "schedule.epochs=2", "logger=wandb", f"seed={seed}", f"runs_dir={tmp_path}"])
        for seed in (0, 1)
    ]
    records = [run(config) for config in configs]
    files = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2
    runs = {header.run_id: (header, history, summary) for header, history, summary in map(wandb_run, files)}
    for config, record in zip(configs, records, strict=True):
        header, history, summary = runs[config.run_id]
        assert (header.project, header.display_name) == ("isda_bench", config.run_id)
        assert (header.run_group, header.job_type, list(header.tags)) == (config.cell, "train", [])
        sent = {item.key: json.loads(item.value_json) for item in header.config.update}
        assert sent["schedule"] == config.config["schedule"]
        assert sent["chosen"] == config.names and sent["seed"] == config.config["seed"]
        lines = (tmp_path / config.run_id / "metrics.jsonl").read_text().splitlines()
        kept = [{key: json.loads(value) for key, value in row.items()} for row in history]
        for row, line in zip(kept, map(json.loads, lines), strict=True):
            assert line.items() <= row.items() and row["_step"] == row["epoch"]
        assert ["samples" in row for row in kept] == [True, False]
        for name in ("last_10", "final", "best"):
            assert float(summary[f"{name}_error"]) == record["error"][name]
    assert configs[0].cell == configs[1].cell


def test_the_samples_are_the_first_batch_as_the_network_sees_it(tmp_path):
    config = compose_run([*TINY, "schedule.epochs=1", "logger=wandb", f"runs_dir={tmp_path}"])
    run(config)
    (path,) = tmp_path.glob("wandb/offline-run-*/files/media/images/samples_*.png")
    picture = imread(path)
    height, width = (side // count for side, count in zip(picture.shape[:2], (4, 8), strict=True))
    assert min(height, width) >= 96, "readable"
    rows = [picture[i * height :][:height] for i in range(4)]
    assert len({row.tobytes() for row in rows}) == 4
    assert all((row[-15:] < 0.5).any() for row in rows), "no class below the images"


@pytest.mark.parametrize("picture", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_logged_run_is_the_run_without_logger(tmp_path, monkeypatch, picture):
    if not picture:
        monkeypatch.setattr(WandbLogger, "show", lambda *_: None)
    weights = []
    for logger in ("none", "wandb"):
        config = compose_run(
            [*TINY, "schedule.epochs=1", f"logger={logger}", f"runs_dir={tmp_path / logger}"]
        )
        run(config)
        weights.append(load_newest(tmp_path / logger / config.run_id)["model"])
    assert all(torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))


def test_an_experiment_is_the_tag(tmp_path):
    settings = ["experiment=demo", "schedule.epochs=1", "schedule.milestones=[]", "logger=wandb"]
    run(compose_run([*settings, f"runs_dir={tmp_path}"]))
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    header, _, _ = wandb_run(path)
    assert list(header.tags) == ["demo"]


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """Trains a run of three epochs to the checkpoint of its second one."""

    def call(*loggers):
        config = compose_run([*TINY, "schedule.epochs=3", *loggers, f"runs_dir={tmp_path}"])
        save = checkpoint.save

        def save_and_stop(directory, epoch, state, step=None):
            save(directory, epoch, state)
            if epoch == 2:
                raise KeyboardInterrupt

        with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
            stopped.setattr(checkpoint, "save", save_and_stop)
            run(config)
        return config

    return call


def test_the_newest_offline_run_of_a_resumed_run_holds_all_its_epochs(tmp_path, interrupted):
    config = interrupted("logger=wandb")
    run(config)
    paths = sorted(tmp_path.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    runs = [wandb_run(path) for path in paths]
    assert [header.run_id for header, _, _ in runs] == [config.run_id] * 2
    assert [[row["_step"] for row in history] for _, history, _ in runs] == [["1", "2"], ["1", "2", "3"]]
    lines = (tmp_path / config.run_id / "metrics.jsonl").read_text().splitlines()
    for row, line in zip(runs[1][1], map(json.loads, lines), strict=True):
        assert line.items() <= {key: json.loads(value) for key, value in row.items()}.items()
    assert "samples" in runs[1][1][0]


@pytest.mark.parametrize(("step", "sent"), [(0, [1, 2]), (2, [2]), (3, [])])
def test_an_online_run_gets_the_epochs_that_it_lacks(step, sent):
    class Online:
        """As wandb continues a run on its servers."""

        def __init__(self):
            self.step = step
            self.rows = []

        def log(self, row, step):
            self.rows.append(step)

        def finish(self, exit_code):
            pass

    logger = WandbLogger("online")
    logger.run = online = Online()
    online.url = "https://wandb.example/run"
    logger.resume([{"epoch": 1}, {"epoch": 2}])
    logger.__exit__(None, None, None)
    assert online.rows == sent


def test_the_end_says_where_the_offline_run_is_and_how_it_is_sent(tmp_path, capsys):
    run(compose_run([*TINY, "schedule.epochs=1", "logger=wandb", f"runs_dir={tmp_path}"]))
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("wandb")]
    assert line == f"wandb: offline run in wandb/{folder.name}; wandb sync wandb/{folder.name}"


@pytest.fixture
def new_wandb():
    """Has wandb read the environment anew before and after a test: it does so once in a process."""
    wandb.teardown()
    yield
    wandb.teardown()


def test_the_run_of_a_sweeps_agent_keeps_the_agents_id(tmp_path, monkeypatch, new_wandb):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_RUN_ID", "agent1")
    run(compose_run([*TINY, "schedule.epochs=1", "logger=wandb", f"runs_dir={tmp_path}"]))
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert wandb_run(path)[0].run_id == "agent1"


def test_csv_holds_the_epochs_of_a_resumed_run_once(tmp_path, interrupted):
    config = interrupted("logger=csv", "evaluate.every=2")
    run(config)
    with (tmp_path / config.run_id / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = (tmp_path / config.run_id / "metrics.jsonl").read_text().splitlines()
    kept = [{name: json.loads(value) for name, value in row.items() if value} for row in rows]
    assert kept == [json.loads(line) for line in lines] and len(kept) == 3
    assert not (tmp_path / "wandb").exists()


def test_several_loggers_at_once_in_either_order(tmp_path):
    for seed, choice in enumerate(("[wandb,csv]", "[csv,wandb]")):
        config = compose_run(
            [*TINY, "schedule.epochs=1", f"logger={choice}", f"seed={seed}", f"runs_dir={tmp_path}"]
        )
        alone = compose_run([*TINY, "schedule.epochs=1", "logger=none", f"seed={seed}"])
        assert config.run_id == alone.run_id
        assert config.names == alone.names | {"logger": "several"}
        run(config)
        assert (tmp_path / config.run_id / "metrics.csv").exists()
        assert len(list(tmp_path.glob(f"wandb/offline-run-*-{config.run_id}"))) == 1


def test_a_list_is_checked_like_a_choice():
    def problems(value):
        return command_line_problems([*TINY, f"logger={value}"], component_problems)

    assert problems("[csv,wandb]") == []
    assert problems("[csv,wanb]") == ["logger=wanb: no such logger; did you mean wandb?"]
    assert problems("[none,csv]") == ["logger=[none,csv]: none is for no logger at all"]
    assert problems("[]") == ["logger=[]: no such logger; there are: csv, none, tensorboard, wandb"]
    assert problems("[csv,csv]") == ["logger=[csv,csv]: names a logger twice"]
    (several,) = command_line_problems([*TINY, "loss=[isda,focal]"], component_problems)
    assert several.startswith("loss=['isda', 'focal']: no such loss")
    chosen = [*TINY, "logger=[wandb,csv]"]
    assert command_line_problems([*chosen, "logger.loggers.wandb.mode=online"], component_problems) == []
    (wrong,) = command_line_problems([*chosen, "logger.loggers.wandb.mode=loud"], component_problems)
    assert "mode='loud': should be 'online' or 'offline'" in wrong


class Failing(Logger):
    """Fails where it is asked to."""

    def __init__(self, where):
        self.where = where

    def open(self, config):
        assert self.where != "open", "the disk is full"
        return self

    def log(self, row):
        assert self.where != "log", "the disk is full"

    def finish(self, record):
        assert self.where != "finish", "the disk is full"

    def __exit__(self, *_):
        assert self.where != "exit", "the disk is full"


@pytest.mark.parametrize("where", ["open", "log", "finish", "exit"])
def test_no_logger_that_fails_stops_a_run_or_another_logger(tmp_path, capsys, where):
    config = compose_run([*TINY, "schedule.epochs=2", "logger=[csv]", f"runs_dir={tmp_path}"])
    failing = {"class": f"{__name__}.Failing", "where": where}
    config.config["logger"]["loggers"] = {"failing": failing} | config.config["logger"]["loggers"]
    assert run(config)["epochs"] == 2
    assert len((tmp_path / config.run_id / "metrics.csv").read_text().splitlines()) == 3
    assert capsys.readouterr().err.count("failing failed (the disk is full") == 1


def test_a_single_logger_of_ones_own_does_not_stop_a_run_either(tmp_path, capsys):
    config = compose_run([*TINY, "schedule.epochs=1", "logger=none", f"runs_dir={tmp_path}"])
    config.config["logger"] = {"_target_": f"{__name__}.Failing", "where": "log"}
    assert run(config)["epochs"] == 1
    assert capsys.readouterr().err.count("logger failed (the disk is full") == 1


def test_tensorboard_holds_each_epoch_of_a_resumed_run_once(tmp_path, interrupted):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = interrupted("logger=tensorboard")
    record = run(config)
    events = EventAccumulator(str(tmp_path / config.run_id / "tensorboard")).Reload()
    metrics = [json.loads(line) for line in (tmp_path / config.run_id / "metrics.jsonl").open()]
    shown = events.Scalars("test_error")
    assert [event.step for event in shown] == [1, 2, 3]
    assert [event.value for event in shown] == pytest.approx([row["test_error"] for row in metrics])
    assert events.Scalars("results/best_error")[0].value == pytest.approx(record["error"]["best"])
    assert events.Images("samples")[0].step == 1


def test_tensorboard_without_its_package_is_one_error(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "tensorboard" else find_spec(name, *more),
    )
    (problem,) = command_line_problems([*TINY, "logger=tensorboard"], component_problems)
    assert problem.endswith("not installed; pip install 'isda_bench[tensorboard]' brings it")


def test_a_failure_of_wandb_does_not_stop_the_run(tmp_path, monkeypatch, capsys):
    def fails(**settings):
        raise OSError("no service")

    monkeypatch.setattr(wandb, "init", fails)
    config = compose_run([*TINY, "schedule.epochs=1", "logger=wandb", f"runs_dir={tmp_path}"])
    assert run(config)["epochs"] == 1
    assert capsys.readouterr().err.count("wandb failed (no service)") == 1


@pytest.mark.parametrize(
    ("arguments", "imported"),
    [pytest.param(["logger=none"], "False", marks=pytest.mark.slow), ([], "True")],
    ids=["none", "default"],
)
def test_wandb_is_the_default_and_without_it_nothing_of_it_is_imported(tmp_path, arguments, imported):
    check = "import sys, atexit; atexit.register(lambda: print('wandb' in sys.modules))"
    script = f"{check}\nfrom isda_bench.cli.command_line import main\nmain()"
    run_dir = f"runs_dir={tmp_path}"
    done = run_python("-c", script, *TINY, "schedule.epochs=1", run_dir, *arguments).check()
    assert done.stdout.splitlines()[-1] == imported
    assert ("wandb: offline run in wandb/offline-run-" in done.stderr) == (imported == "True")
    assert bool(list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))) == (imported == "True")


def test_disabled_in_the_environment_nothing_is_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run(compose_run([*TINY, "schedule.epochs=1", "logger=wandb", f"runs_dir={tmp_path}"]))
    assert not (tmp_path / "wandb").exists()


def test_the_training_does_not_wait_for_wandb(tmp_path, monkeypatch):
    config = compose_run([*TINY, "schedule.epochs=2", "logger=wandb", f"runs_dir={tmp_path}"])
    metrics = tmp_path / config.run_id / "metrics.jsonl"
    started = wandb.init

    def after_training(**settings):
        until(lambda: metrics.exists() and len(metrics.read_text().splitlines()) == 2)
        return started(**settings)

    monkeypatch.setattr(wandb, "init", after_training)
    run(config)
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    _, history, _ = wandb_run(path)
    assert [row["epoch"] for row in history] == ["1", "2"]


def test_one_that_hangs_is_given_up(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loggers, "SECONDS_TO_ANSWER", 0.5)
    forever = Event()
    monkeypatch.setattr(wandb, "init", lambda **_: forever.wait())
    config = compose_run([*TINY, "schedule.epochs=1", "logger=wandb", f"runs_dir={tmp_path}"])
    assert run(config)["epochs"] == 1
    forever.set()
    assert capsys.readouterr().err.count("wandb failed (no answer for 0.5 s)") == 1


def test_no_process_is_forked_while_wandb_starts(tmp_path, monkeypatch):
    """A loader's worker would have its locks."""
    logger, forking = WandbLogger(), Event()

    def fails_late(**_):
        assert forking.wait(60)
        time.sleep(0.2)
        raise OSError("no service")

    monkeypatch.setattr(wandb, "init", fails_late)
    logger.open(compose_run([*TINY, f"runs_dir={tmp_path}"]))
    forking.set()
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert logger.calls.failed
    os.waitpid(child, 0)
