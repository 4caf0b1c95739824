"""Trains a record's configuration again and compares the two trainings epoch by epoch.

isda-bench reproduce results/records/<run id>                the record of a run, or its directory
isda-bench reproduce runs/<run id> runs_dir=elsewhere        trains below another folder than runs/reproduced
isda-bench reproduce runs/<run id> root=data device=cuda threads=4

Exit code 0: the metrics of every epoch are identical to the bit, as they are on the same processor with the
same versions. Else 1, with a table of the largest differences and of what can explain them (versions, device,
threads). Classes of isda_bench alone are built, unless allow=<module> allows another module.
"""

import sys
from typing import Annotated

from pydantic import Field, PositiveInt

from isda_bench.config.options import Options, main
from isda_bench.reporting.run_comparison import CLOCKS, circumstances, comparison_text, metric_differences
from isda_bench.storage.record_files import read_record, record_file
from isda_bench.storage.records import read_metrics
from isda_bench.training.reproduce import train_again


class ReproduceOptions(Options):
    """Options of the command, given as key=value."""

    run: str
    runs_dir: Annotated[str, Field(min_length=1)] = "runs/reproduced"
    device: str | None = None
    root: str | None = None
    threads: PositiveInt | None = None


def reproduce(options: ReproduceOptions) -> None:
    """Trains and compares; exits with 1 where the two differ."""
    file = record_file(options.run)
    recorded, metrics = read_record(file), read_metrics(file.parent)  # before an hour of training
    again = train_again(
        file, options.runs_dir, options.device, options.root, options.threads, options.allow
    ).directory
    differences = metric_differences(metrics, read_metrics(again))
    differing = circumstances(recorded, read_record(again / file.name))
    count = len(metrics.columns.difference(["epoch", *CLOCKS]))
    print(comparison_text(differences, differing, len(metrics), count))
    if differences:
        sys.exit(1)


def command() -> None:
    """Runs it with the options of the command line."""
    main(ReproduceOptions, reproduce, __doc__)
