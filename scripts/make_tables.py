"""Prints and writes the tables and curves of finished runs.

python scripts/make_tables.py                               all runs under runs/ and results/records/
python scripts/make_tables.py experiment=demo out=runs/demo the runs of one experiment
python scripts/make_tables.py records=results/records       the runs of one place
"""

import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field

from isda_bench.compose import cells
from isda_bench.errors import UserError
from isda_bench.figures import error_curves
from isda_bench.options import Options, main
from isda_bench.results import read_records
from isda_bench.tables import markdown_table


class TableOptions(Options):
    """What can be given as key=value."""

    experiment: str | None = None
    runs_dir: str = "runs"
    records: str = "results/records"
    out: Annotated[str, Field(min_length=1)] = "results/tables"


def make_tables(options: TableOptions) -> None:
    """Writes <out>/<experiment or all>.md and the curves beside it."""
    records = read_records([Path(options.runs_dir), Path(options.records)])
    name = options.experiment or "all"
    if options.experiment:
        wanted = [cell.run_id for cell in cells([f"experiment={options.experiment}"])]
        records = records[records["run_id"].isin(wanted)]
        print(f"{len(records)} of {len(wanted)} runs of experiment={name} are finished", file=sys.stderr)
    if records.empty:
        raise UserError(f"no finished runs in {options.runs_dir} or {options.records}")
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    table = markdown_table(records)
    path = out / f"{name}.md"
    path.write_text(table)
    written = [path, *error_curves(records, out / f"{name}_curves.svg")]
    print(table)
    print("written:", *written)


if __name__ == "__main__":
    main(TableOptions, make_tables, __doc__)
