"""Prints the table of all networks and writes it.

python scripts/model_table.py [out=results/models.md]
"""

from pathlib import Path

from isda_bench.config.options import Options, main
from isda_bench.reporting.model_table import markdown, measure, names
from isda_bench.runtime.atomic_files import write_atomically


class ModelTableOptions(Options):
    """What can be given as key=value."""

    out: str = "results/models.md"


def model_table(options: ModelTableOptions) -> None:
    """Measures every network that there is a configuration of."""
    table = markdown(measure(name) for name in names())
    path = Path(options.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, table.encode())
    print(table, end="")


if __name__ == "__main__":
    main(ModelTableOptions, model_table, __doc__)
