"""Makes each check in a process of its own: `python -m <this module> NAME DEVICE`."""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import torch

from isda_bench.benchmarks.gpu_check.checks import Check, all_checks
from isda_bench.benchmarks.gpu_check.outcome import CheckFailed, CheckSkipped, Outcome

FIXED_WORKSPACE = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""With it cuBLAS sums in the same order every time."""
SECONDS_TO_END = 5.0
"""That a check has after SIGTERM."""
running: set[subprocess.Popen[str]] = set()
"""The processes of the checks that are being made."""


def outcome_of(check: Check, device: torch.device) -> Outcome:
    """Makes a check in this process; an exception of any kind is a failure."""
    try:
        made = check.make(device)
    except CheckSkipped as error:
        return Outcome("SKIP", str(error))
    except CheckFailed as error:
        return Outcome("FAIL", str(error))
    except Exception as error:
        sentence = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        return Outcome("FAIL", sentence, {"traceback": traceback.format_exc()})
    return made if isinstance(made, Outcome) else Outcome("PASS", made)


def make_checks(
    checks: Mapping[str, Check], device: torch.device, problem: str | None = None, jobs: int = 1
) -> Iterator[dict[str, Any]]:
    """Makes `jobs` checks at once, and behind them those that measure speed, one by one.

    Args:
        checks: name -> check.
        device: to check.
        problem: as in `make_check`.
        jobs: how many at once.

    Yields:
        What `make_check` returns, as the checks end. Closing the generator stops those that are being made.
    """
    together = [name for name, check in checks.items() if not check.alone]
    alone = [name for name, check in checks.items() if check.alone]
    pool = ThreadPoolExecutor(jobs)
    futures: list[Future[dict[str, Any]]] = []
    try:
        for name in together:
            futures.append(pool.submit(make_check, name, checks[name], device, problem))
        yield from (future.result() for future in as_completed(futures))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        while not all(future.done() for future in futures):
            for process in tuple(running):
                _stop(process)
            time.sleep(0.05)
    for name in alone:
        yield make_check(name, checks[name], device, problem)


def _stop(process: subprocess.Popen[str]) -> None:
    """Ends a check and all its processes: torchrun passes SIGTERM on to those it has started."""
    with suppress(ProcessLookupError):  # when the last one has ended
        os.killpg(process.pid, signal.SIGTERM)
        patience = time.monotonic() + SECONDS_TO_END
        while time.monotonic() < patience:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)


def make_check(name: str, check: Check, device: torch.device, problem: str | None = None) -> dict[str, Any]:
    """Makes a check in a process of its own, within its time limit.

    Args:
        name: of the check.
        check: the check.
        device: to check.
        problem: why the GPU that is there cannot be used: a check that needs it fails.

    Returns:
        name, status, sentence, numbers, seconds.
    """
    start = time.monotonic()
    if check.needs_gpu and device.type != "cuda":
        found = Outcome("FAIL", problem) if problem else Outcome("SKIP", "needs a GPU")
    else:
        found = in_a_process(name, device, check.seconds)
    return {"name": name, **asdict(found), "seconds": round(time.monotonic() - start, 1)}


def in_a_process(name: str, device: torch.device, seconds: float) -> Outcome:
    """Makes the check of this name in a process that is stopped after so many seconds."""
    command = [sys.executable, "-m", __name__, name, str(device)]
    try:
        process = subprocess.Popen(
            command,
            env=os.environ | FIXED_WORKSPACE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return Outcome("FAIL", f"its process could not be started: {error}")
    running.add(process)
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _stop(process)
        process.communicate()
        return Outcome("FAIL", f"took longer than {seconds:g} s and was stopped")
    except BaseException:
        _stop(process)
        raise
    finally:
        running.discard(process)
    if not process.returncode:
        try:
            return Outcome(**json.loads(output.splitlines()[-1]))
        except (IndexError, ValueError, TypeError):
            errors = f"{errors}\nit printed no outcome: {output.strip()[-200:]}"
    last = (errors.strip().splitlines() or ["no message"])[-1]
    return Outcome("FAIL", f"its process ended with code {process.returncode}: {last[:500]}")


if __name__ == "__main__":
    chosen, where = sys.argv[1:]
    if where != "cpu":
        torch.cuda.set_device(where)
    print(json.dumps(asdict(outcome_of(all_checks()[chosen], torch.device(where)))))
