"""Measures speed and memory of the losses, the data and the training loop.

isda-bench benchmark               some minutes; ratios are steadier on a machine without other load
isda-bench benchmark device=cuda   the same on a GPU, and throughput
isda-bench benchmark only=isda     one part: isda, step, steps, losses, lowrank, loop, data, generated,
                                   per_class, inversion, together, throughput (device=cuda alone)

It writes <out>/<device>.json and .md, for one part <device>_<part>.json and .md; out=results/benchmarks.
In a checkout, benchmarks/run.py measures the package beside other code.
"""

from pathlib import Path

import torch

from isda_bench.benchmarks.generators import generated_rows, per_class_rows
from isda_bench.benchmarks.inversion import inversion_rows
from isda_bench.benchmarks.loop_overhead import loop_rows
from isda_bench.benchmarks.losses import isda_rows, loss_rows, low_rank_rows
from isda_bench.benchmarks.network_steps import network_step_rows
from isda_bench.benchmarks.report import Measurement, measure
from isda_bench.benchmarks.throughput import throughput_rows, together_rows
from isda_bench.benchmarks.training_step import data_rows, step_rows
from isda_bench.config.options import Options, main
from isda_bench.config.problems import did_you_mean
from isda_bench.errors import ConfigError
from isda_bench.runtime.devices import requested_device

MEASUREMENTS: dict[str, Measurement] = {
    "isda": ("ISDA beside its naive tensor form: statistics, forward and backward", isda_rows),
    "step": ("A training step of ResNet-32, batch 128: ISDA over cross-entropy", step_rows),
    "steps": ("The time that ISDA adds to the step of every network", network_step_rows),
    "losses": ("Every loss: a step of ResNet-32 with it over one with cross-entropy", loss_rows),
    "lowrank": ("covariance=lowrank beside the full one", low_rank_rows),
    "loop": ("The training loop beside its bare steps", loop_rows),
    "data": ("Gather, crop, flip and normalise a batch of 128", data_rows),
    "generated": ("The 21 generated images of a batch of 128 beside a training step", generated_rows),
    "per_class": ("Ten per-class WGANs at once beside ten in a row: a step of each", per_class_rows),
    "inversion": ("Iterations of the inversion, eager and compiled", inversion_rows),
    "together": ("Several runs of ResNet-32 with ISDA at once", together_rows),
}
ON_CUDA: dict[str, Measurement] = {
    "throughput": ("The loop in each precision: captured, eager, compiled", throughput_rows)
}
"""Taken first: a GPU may be available for a short time only."""


class BenchmarkOptions(Options):
    """Options of the command, given as key=value."""

    device: str = "cpu"
    only: str | None = None
    out: str = "results/benchmarks"


def measurements(device: torch.device) -> dict[str, Measurement]:
    """Name -> the measurement, for all that `device` allows."""
    return (ON_CUDA if device.type == "cuda" else {}) | MEASUREMENTS


def benchmark(options: BenchmarkOptions) -> None:
    """Takes the measurements and prints the page."""
    device = requested_device(options.device)
    chosen = measurements(device)
    if options.only is not None:
        if options.only not in chosen:
            raise ConfigError(
                [f"only={options.only}: no such part{did_you_mean(options.only, list(chosen))}"]
            )
        chosen = {options.only: chosen[options.only]}
    page = measure(chosen, device, Path(options.out), f"_{options.only}" if options.only else "")
    print(page.read_text())
    print("written:", page, page.with_suffix(".json"))


def command() -> None:
    """Runs it with the options of the command line."""
    main(BenchmarkOptions, benchmark, __doc__)
