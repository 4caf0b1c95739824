"""Prints and writes the table of all networks: parameters, multiply-adds, cost of a run.

isda-bench models [out=results/models.md]
"""

from pathlib import Path

from isda_bench.config.options import Options, main
from isda_bench.reporting.model_table import markdown, measure, names
from isda_bench.runtime.atomic_files import write_atomically


class ModelTableOptions(Options):
    """Options of the command, given as key=value."""

    out: str = "results/models.md"


def model_table(options: ModelTableOptions) -> None:
    """Measures every network of conf/model."""
    table = markdown(measure(name) for name in names())
    path = Path(options.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, table.encode())
    print(table, end="")


def command() -> None:
    """Runs it with the options of the command line."""
    main(ModelTableOptions, model_table, __doc__)
