"""wandb's service gone, slow or killed: the training goes on, with one warning."""

import os
import signal
from functools import partial
from pathlib import Path
from threading import Timer

import pytest

from helpers import attacks
from helpers.forked import run_forked
from helpers.processes import until
from helpers.tiny import TINY
from isda_bench.storage.records import read_records

RUN = [
    *TINY,
    "schedule.epochs=3",
    "schedule.milestones=null",
    "schedule.factor=null",
    "logger=wandb",
    "runs_dir=runs",
]
OFFLINE = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}


def signal_service(number: int) -> None:
    """Sends the signal to the wandb services of this process, once they are there."""
    services: list[int] = []

    def there() -> bool:
        services[:] = [pid for pid in descendants(os.getpid()) if b"wandb-core" in command_of(pid)]
        return bool(services)

    until(there)
    Path("services").write_text(" ".join(map(str, services)))
    signal_services(number)


def descendants(pid: int) -> list[int]:
    """Children and theirs; none of a process that has ended meanwhile."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [found for child in children for found in [child, *descendants(child)]]


def command_of(pid: int) -> bytes:
    """Empty of a process that has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def wake_later(seconds: float) -> None:
    """Stops the service and wakes it after so many seconds: it is slow.

    A thread wakes it: a fork of this process would wait for wandb's start (`background_calls`), and wandb
    starts no sooner than its service wakes.
    """
    signal_service(signal.SIGSTOP)
    Timer(seconds, signal_services, [signal.SIGCONT]).start()


def signal_services(number: int) -> None:
    """Sends the signal to the services that were found."""
    for pid in Path("services").read_text().split():
        os.kill(int(pid), number)


def no_service() -> None:
    """wandb's service cannot be started."""
    import wandb.sdk.lib.service.service_process as process

    def gone(*_, **__):
        raise FileNotFoundError("wandb-core")

    assert hasattr(process, "start")
    process.start = gone


def stop_for_good() -> None:
    """It answers nothing any more."""
    from isda_bench.monitoring import loggers

    loggers.SECONDS_TO_ANSWER = 10.0
    signal_service(signal.SIGSTOP)


ATTACKS = {
    "gone": no_service,
    "killed": partial(attacks.after_checkpoint, partial(signal_service, signal.SIGKILL)),
    "slow": partial(attacks.after_checkpoint, partial(wake_later, 5.0)),
    "stopped for good": partial(attacks.after_checkpoint, stop_for_good),
}
OTHERS = [name for name in ATTACKS if name != "killed"]


@pytest.mark.parametrize(
    "attack",
    ["killed", *(pytest.param(name, marks=pytest.mark.slow) for name in ATTACKS if name != "killed")],
)
def test_training_goes_on(tmp_path, tried, attack):
    done = run_forked(RUN, tmp_path, env=OFFLINE, prepare=ATTACKS[attack])
    if attack == "stopped for good":
        for pid in (tmp_path / "services").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    done.check()
    assert "Traceback" not in done.stderr, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("wandb failed")]
    assert len(warnings) == (attack != "slow"), done.stderr
    (record,) = read_records([tmp_path / "runs"])["record"]
    assert record["epochs"] == 3
    tried(f"wandb's service {attack}", ["trained to the end, one warning"])
