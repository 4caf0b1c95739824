"""Writes the report: one HTML page with tables, figures, the paper's claims and every run, to open from disk.

python scripts/make_report.py                                          of everything: results/report.html
python scripts/make_report.py experiment=demo out=runs/demo/report.html    of one experiment
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from isda_bench.config.experiment_files import table_names, table_of
from isda_bench.config.options import Options, main
from isda_bench.errors import UserError
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.claims import check_claims
from isda_bench.reporting.gallery import gallery, runs_with_statistics, spectra
from isda_bench.reporting.html_report import report
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.storage.records import read_records, unfinished_runs


class ReportOptions(Options):
    """What can be given as key=value."""

    experiment: str | None = None
    runs_dir: str = "runs"
    records: str = "results/records"
    protocol: Literal["last_10", "final", "best"] = "last_10"
    out: Annotated[str, Field(min_length=1)] = "results/report.html"


def make_report(options: ReportOptions) -> None:
    """Writes the page."""
    if options.experiment is not None:
        table_of(options.experiment)  # a wrong name is told before anything is read
    places = [Path(options.runs_dir).expanduser(), Path(options.records)]
    records, unfinished = read_records(places), unfinished_runs(places)
    if records.empty:
        raise UserError(f"no finished runs in {options.runs_dir} or {options.records}")
    names = [options.experiment] if options.experiment else table_names()
    tables = {name: experiment_table(name, records, unfinished, options.protocol) for name in names}
    if options.experiment:
        cells = [line.cell for line in tables[options.experiment].lines]
        records = records[records["cell"].isin(cells)]
    _write(
        options,
        report(
            f"ISDA: {options.experiment or 'results'}",
            tables.values(),
            [] if options.experiment else check_claims(tables, records),
            [*gallery(tables, records), *spectra(runs_with_statistics(records), options.allow)],
            records,
        ),
    )


def _write(options: ReportOptions, page: str) -> None:
    path = Path(options.out).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode())
    print("written:", path)


if __name__ == "__main__":
    main(ReportOptions, make_report, __doc__)
