"""Checks a GPU in some ten minutes: PASS, FAIL or SKIP for each part.

isda-bench gpu-check                     all checks on the GPU; on a CPU those that can be made there
isda-bench gpu-check device=cuda:1       another GPU
isda-bench gpu-check only=captured       the checks whose names begin so
isda-bench gpu-check jobs=8              eight at once, for 8 cores or more; those of speed last, one by one

Each check has a process and a time limit of its own. It writes <out>/gpu_check_<device>.json;
out=results/benchmarks. The exit code is 1 where a check failed, also where a GPU is there and its driver
is dead or does not fit torch; without any GPU the checks that need one are skipped, with exit code 0.
"""

import sys
from pathlib import Path

from pydantic import PositiveInt

from isda_bench.benchmarks.gpu_check.checks import all_checks
from isda_bench.benchmarks.gpu_check.page import check_device, count
from isda_bench.config.options import Options, main
from isda_bench.errors import ConfigError
from isda_bench.runtime.devices import cuda_problem, requested_device, unusable_gpu


class GpuCheckOptions(Options):
    """Options of the command, given as key=value."""

    device: str = "auto"
    only: str = ""
    jobs: PositiveInt = 1
    out: str = "results/benchmarks"


def gpu_check(options: GpuCheckOptions) -> None:
    """Makes the checks, prints a line for each and the count."""
    device = requested_device(options.device)
    checks = {name: check for name, check in all_checks().items() if name.startswith(options.only)}
    if not checks:
        names = ", ".join(dict.fromkeys(name.split()[0] for name in all_checks()))
        raise ConfigError([f"only={options.only}: no check begins so; they begin with {names}"])
    problem = unusable_gpu() if device.type == "cpu" and options.device != "cpu" else None
    if problem:
        checks = {"driver": all_checks()["driver"]}
        print("The GPU cannot be used: no other check is made; device=cpu makes those of a CPU.", flush=True)
    elif device.type == "cpu":
        reason = f"no CUDA here: {cuda_problem()}" if options.device != "cpu" else "device=cpu"
        print(f"On the CPU ({reason}): checks that need a GPU are skipped.", flush=True)
    path, passed = check_device(device, checks, Path(options.out), problem, options.jobs)
    print(f"{count(path)}; written: {path}")
    if not passed:
        sys.exit(1)


def command() -> None:
    """Runs it with the options of the command line."""
    main(GpuCheckOptions, gpu_check, __doc__)
