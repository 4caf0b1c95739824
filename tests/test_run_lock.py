"""One process a run directory: living, dead, sleeping and far-away holders."""

import json
import os
import platform
import subprocess
import threading
import time
from pathlib import Path

import pytest

from helpers.processes import DEADLINE, run_python
from isda_bench.errors import UserError
from isda_bench.storage.run_lock import RunLock, RunLocked


def claims(directory):
    return sorted((directory / "claims").iterdir())


def write_claim(directory, **changes):
    """A claim as a process that is gone left it."""
    held = claim_of_this_process(directory) | changes
    (directory / "claims").mkdir(exist_ok=True)
    written = directory / "written.json"
    written.write_text(json.dumps(held))
    written.replace(directory / "claims" / "000001.json")  # who reads it meanwhile sees no half of it


def claim_of_this_process(directory):
    """The content of a claim while it is held."""
    with RunLock(directory / "another run") as lock:
        return json.loads(lock.claim.read_text())


def dead_process():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_one_at_a_time_and_again_after_the_release(tmp_path):
    with RunLock(tmp_path), pytest.raises(RunLocked, match="another process is running"), RunLock(tmp_path):
        pass
    with RunLock(tmp_path) as lock:
        lock.check()
    assert [path.name for path in claims(tmp_path)] == ["000001.json", "000002.json"]


def test_old_claims_go_and_their_numbers_do_not_count_again(tmp_path):
    for _ in range(5):
        with RunLock(tmp_path):
            pass
    assert [path.name for path in claims(tmp_path)] == ["000004.json", "000005.json"]
    with RunLock(tmp_path) as lock:
        assert lock.claim.name == "000006.json"


def test_who_looked_before_others_came_and_went_makes_no_old_claim(tmp_path, monkeypatch):
    with RunLock(tmp_path):
        pass
    glob, looks = Path.glob, iter([True])

    def glob_and_wait(self, pattern):
        found = list(glob(self, pattern))
        if next(looks, False):  # after the first look others come, and go
            for _ in range(5):
                with RunLock(tmp_path):
                    pass
            found[0].write_text(json.dumps({"released": True}))  # read at once, before it was removed
        return iter(found)

    monkeypatch.setattr(Path, "glob", glob_and_wait)
    with RunLock(tmp_path) as lock:
        assert lock.claim.name == "000007.json"


def test_an_error_releases(tmp_path):
    with pytest.raises(RuntimeError), RunLock(tmp_path):
        raise RuntimeError
    with RunLock(tmp_path):
        pass


def test_the_claim_of_a_dead_process_is_taken_over_at_once(tmp_path, capsys):
    write_claim(tmp_path, pid=dead_process())
    with RunLock(tmp_path):
        assert "waiting" not in capsys.readouterr().err


def test_a_process_number_that_is_used_again_is_another_process(tmp_path):
    write_claim(tmp_path, start=claim_of_this_process(tmp_path)["start"] - 1)
    with RunLock(tmp_path):
        pass


def test_a_living_process_on_another_machine_is_seen_by_its_sign_of_life(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as there:
        there.setattr(platform, "node", lambda: "far away")
        holder = RunLock(tmp_path, heartbeat=0.05).__enter__()
    with (
        pytest.raises(RunLocked),
        RunLock(tmp_path, heartbeat=0.05, silence=DEADLINE),
    ):  # taken over if waited out
        pass
    assert "waiting for a sign of life from far away" in capsys.readouterr().err
    holder.check()
    holder.__exit__(None, None, None)
    with RunLock(tmp_path):
        pass


@pytest.mark.parametrize("clock", [-1e6, 1e6])
def test_a_dead_process_on_another_machine_is_taken_over_whatever_its_clock_said(tmp_path, clock):
    write_claim(tmp_path, host="far away")
    os.utime(claims(tmp_path)[0], (time.time() + clock,) * 2)
    with RunLock(tmp_path, heartbeat=0.05, silence=0.3):
        pass


@pytest.mark.parametrize("content", [b"", b"\xff{", b"[]", b"{}"])
def test_a_claim_that_cannot_be_read_is_watched_for_a_moment(tmp_path, capsys, content):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "000001.json").write_bytes(content)
    with RunLock(tmp_path, heartbeat=0.05):
        assert "waiting" in capsys.readouterr().err


def made(path, kind):
    """Something in place of a claim."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "link to nowhere":
        path.symlink_to("nowhere")
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    else:
        path.write_text(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "fifo",
        "directory",
        "link to nowhere",
        "link to a device",
        "[" * 100_000,
        '{"host": ["x"], "pid": {}}',
        '{"pid": "../../etc", "released": []}',
        f'{{"pid": {10**30}}}',
    ],
)
@pytest.mark.parametrize("number", ["000001", "000007", "999999", "1000000"])
def test_whatever_lies_in_place_of_a_claim_is_watched_and_taken_over(tmp_path, kind, number):
    made(tmp_path / "claims" / f"{number}.json", kind)
    RunLock(tmp_path).seems_held()
    for _ in range(3):
        with RunLock(tmp_path, heartbeat=0.01, silence=0.05) as lock:
            lock.check()
            with pytest.raises(RunLocked), RunLock(tmp_path, heartbeat=0.01, silence=0.05):
                pass


def test_a_host_in_a_claim_is_text_for_a_terminal(tmp_path, capsys):
    write_claim(tmp_path, host="far\x1b[2J" + "a" * 1000)
    with RunLock(tmp_path, heartbeat=0.01, silence=0.05):
        reported = capsys.readouterr().err
    assert "\x1b" not in reported and len(reported) < 500


def test_names_that_are_no_claims(tmp_path):
    for name in ("9" * 18, "9" * 30, "00001", "x00001"):
        made(tmp_path / "claims" / f"{name}.json", "{}")
    with pytest.raises(UserError, match="no number comes after it"), RunLock(tmp_path, heartbeat=0.01):
        pass
    (tmp_path / "claims" / f"{'9' * 18}.json").unlink()
    with RunLock(tmp_path, heartbeat=0.01) as lock:
        assert lock.claim.name == "000001.json"


def test_claims_behind_a_link_are_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "claims").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="symbolic link"), RunLock(tmp_path / "run"):
        pass
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_lock_moves_with_its_directory(tmp_path):
    with RunLock(tmp_path / "run") as lock:
        lock.move(tmp_path / "old")
        with pytest.raises(RunLocked), RunLock(tmp_path / "old"):
            pass
    assert not (tmp_path / "run").exists() and not RunLock(tmp_path / "old").seems_held()


def test_a_release_is_no_sign_of_life(tmp_path):
    write_claim(tmp_path, host="far away")
    release = threading.Timer(0.2, lambda: write_claim(tmp_path, host="far away", released=True))
    release.start()
    with RunLock(tmp_path, heartbeat=0.05, silence=DEADLINE):
        release.join()


def test_the_moment_in_which_a_release_is_written_is_no_sign_of_life(tmp_path):
    """Opening the file empties it: it was taken for a claim that lives."""
    write_claim(tmp_path, host="far away")
    (claim,) = (tmp_path / "claims").iterdir()
    empty = threading.Timer(0.2, claim.write_text, [""])
    release = threading.Timer(0.6, lambda: write_claim(tmp_path, host="far away", released=True))
    empty.start()
    release.start()
    with RunLock(tmp_path, heartbeat=0.05, silence=DEADLINE):
        release.join()


def test_an_empty_claim_whose_process_beats_is_held(tmp_path):
    write_claim(tmp_path, host="far away")
    (claim,) = (tmp_path / "claims").iterdir()
    claim.write_text("")
    ended = threading.Event()

    def beat():
        while not ended.wait(0.05):
            os.utime(claim)

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        with pytest.raises(RunLocked), RunLock(tmp_path, heartbeat=2):
            pass
    finally:
        ended.set()
        beating.join()


def test_who_slept_too_long_finds_the_run_taken_over(tmp_path, monkeypatch):
    with monkeypatch.context() as there:
        there.setattr(platform, "node", lambda: "asleep")
        sleeper = RunLock(tmp_path, heartbeat=DEADLINE).__enter__()  # gives no sign of life
    with RunLock(tmp_path, heartbeat=0.05, silence=0.2) as lock:
        with pytest.raises(RunLocked, match="taken this run over"):
            sleeper.check()
        sleeper.__exit__(None, None, None)
        lock.check()
        with pytest.raises(RunLocked), RunLock(tmp_path):
            pass


RACE = """
import os, sys
from multiprocessing import get_context
from pathlib import Path
from isda_bench.storage.run_lock import RunLocked, RunLock

def contend(start, end, folder, held):
    for round in range(12):
        start.wait()
        try:
            with RunLock(folder / str(round)):
                held[round].release()
                end.wait()
        except RunLocked:
            end.wait()

fork = get_context("fork")
start, end = fork.Barrier(4), fork.Barrier(4)
held = [fork.Semaphore(0) for _ in range(12)]
processes = [fork.Process(target=contend, args=(start, end, Path(sys.argv[1]), held)) for _ in range(4)]
for process in processes: process.start()
for process in processes: process.join()
assert all(process.exitcode == 0 for process in processes)
print([semaphore.get_value() for semaphore in held])
"""


def test_of_many_that_take_over_at_once_one_wins(tmp_path):
    gone = dead_process()
    for number in range(0, 12, 2):  # every other one is free
        (tmp_path / str(number)).mkdir()
        write_claim(tmp_path / str(number), pid=gone)
    done = run_python("-c", RACE, str(tmp_path)).check()
    assert done.stdout.strip() == str([1] * 12)
