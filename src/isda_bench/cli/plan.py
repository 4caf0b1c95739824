"""Lists the runs of a `train` command line: finished, missing, and the GPU hours to go.

isda-bench plan experiment=journal_table_2               of a table
isda-bench plan -m model=resnet32,resnet110 seed=0,1     of a grid

It starts nothing. It takes the arguments of `isda-bench train` and adds plan=true. Rates come from finished
runs in runs_dir, and from results/records and results/benchmarks of the current folder where these exist.
"""

import sys

from isda_bench.cli.command_line import main


def command() -> None:
    """Prints the plan of the command line's runs."""
    sys.argv.append("plan=true")
    main()
