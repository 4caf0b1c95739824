"""Measures speed and memory; writes results/benchmarks/<device>.json and .md (a part: <device>_<part>).

python scripts/benchmark.py               some minutes; a machine without other load tells more
python scripts/benchmark.py device=cuda   the same on a GPU, and throughput
python scripts/benchmark.py only=isda     one part: isda, step, steps, losses, lowrank, loop, data, plain,
                                          generated, per_class, inversion, augmentations, folder, start,
                                          together, throughput (device=cuda alone), networks (on demand
                                          alone: needs pytorchcv)
"""

from pathlib import Path

from isda_bench.benchmarks.report import measure, measurements
from isda_bench.config.options import Options, main
from isda_bench.config.problems import did_you_mean
from isda_bench.errors import ConfigError
from isda_bench.runtime.devices import choose_device

ON_DEMAND = "networks"


class BenchmarkOptions(Options):
    """What can be given as key=value."""

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


if __name__ == "__main__":
    main(BenchmarkOptions, benchmark, __doc__)
