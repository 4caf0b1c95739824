"""Copies finished runs' records and metrics to results/records, the folder that is committed.

isda-bench collect                       every finished run below runs/
isda-bench collect runs_dir=elsewhere    below another folder
"""

from pathlib import Path

from isda_bench.config.options import Options, main
from isda_bench.runtime.terminal import printable
from isda_bench.storage.records import collect_records


class CollectOptions(Options):
    """Options of the command, given as key=value."""

    runs_dir: str = "runs"
    out: str = "results/records"


def collect(options: CollectOptions) -> None:
    """Copies, and names what was copied."""
    for path in collect_records(Path(options.runs_dir).expanduser(), Path(options.out).expanduser()):
        print(printable(str(path)))


def command() -> None:
    """Runs it with the options of the command line."""
    main(CollectOptions, collect, __doc__)
