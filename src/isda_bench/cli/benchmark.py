"""Measures speed and memory of the losses, networks, data and loop.

isda-bench benchmark               some minutes; a machine without other load tells more
isda-bench benchmark device=cuda   the same on a GPU, and throughput
isda-bench benchmark only=isda     one part: isda, step, steps, losses, lowrank, loop, data, plain,
                                   generated, per_class, inversion, augmentations, folder, start,
                                   together, throughput (device=cuda alone), networks (on demand
                                   alone: needs pytorchcv)

It writes <out>/<device>.json and .md, for one part <device>_<part>.json and .md; out=results/benchmarks.
"""

from pathlib import Path

from isda_bench.benchmarks.report import measure, measurements
from isda_bench.config.options import Options, main
from isda_bench.config.problems import did_you_mean
from isda_bench.errors import ConfigError
from isda_bench.runtime.devices import choose_device

ON_DEMAND = "networks"


class BenchmarkOptions(Options):
    """Options of the command, given as key=value."""

    device: str = "cpu"
    only: str | None = None
    out: str = "results/benchmarks"


def benchmark(options: BenchmarkOptions) -> None:
    """Takes the measurements and prints the page."""
    device = choose_device(options.device)
    names = list(measurements(device))
    chosen = [name for name in names if name != ON_DEMAND]
    if options.only is not None:
        if options.only not in names:
            raise ConfigError([f"only={options.only}: no such part{did_you_mean(options.only, names)}"])
        chosen = [options.only]
    page = measure(chosen, device, Path(options.out), f"_{options.only}" if options.only else "")
    print(page.read_text())
    print("written:", page, page.with_suffix(".json"))


def command() -> None:
    """Runs it with the options of the command line."""
    main(BenchmarkOptions, benchmark, __doc__)
