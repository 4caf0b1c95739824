"""Real offline wandb runs."""

import struct
import subprocess
import sys

import pytest
from wandb.proto import wandb_internal_pb2

from isda_bench.compose import compose_run
from isda_bench.run import run
from tiny import TINY

BLOCK, FULL, LAST = 32768, 1, 4


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


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
        assert header.run_group == config.cell and header.job_type == "train"
        assert {item.key for item in header.config.update} >= {"seed", "schedule", "loss"}
        assert [row["epoch"] for row in history] == ["1", "2"]
        assert float(summary["last_10_error"]) == pytest.approx(record["error"]["last_10"])
    assert configs[0].cell == configs[1].cell


def test_a_failure_of_wandb_does_not_stop_the_run(tmp_path, monkeypatch, capsys):
    import wandb

    def fails(**settings):
        raise OSError("no service")

    monkeypatch.setattr(wandb, "init", fails)
    config = compose_run([*TINY, "schedule.epochs=1", "logger=wandb", f"runs_dir={tmp_path}"])
    assert run(config)["epochs"] == 1
    assert capsys.readouterr().err.count("wandb failed (no service)") == 1


def test_without_wandb_nothing_of_it_is_imported(train):
    check = "import sys, atexit; atexit.register(lambda: print('wandb' in sys.modules))"
    script = f"{check}\nfrom isda_bench.command_line import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", script, *TINY, "schedule.epochs=1"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr
