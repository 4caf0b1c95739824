"""Writes one HTML page with the tables, the figures, the paper's claims and every run.

isda-bench report                                              of everything: runs/report.html
isda-bench report experiment=demo out=runs/demo/report.html    of one experiment
isda-bench report deviations=true             with the runs that deviate from an experiment, below it
isda-bench report records=results/records     with the shipped runs: results/report.html
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from isda_bench.config.experiment_files import table_names, table_of
from isda_bench.config.options import Options, main
from isda_bench.errors import UserError
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.claims import check_claims
from isda_bench.reporting.gallery import gallery, spectra_of_records
from isda_bench.reporting.html_report import report
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.storage.records import read_records, unfinished_runs


class ReportOptions(Options):
    """Options of the command, given as key=value."""

    experiment: str | None = None
    runs_dir: str = "runs"
    records: str | None = None
    deviations: bool = False
    protocol: Literal["last_10", "final", "best"] | None = None
    out: Annotated[str, Field(min_length=1)] | None = None


def make_report(options: ReportOptions) -> None:
    """Writes the page."""
    if options.experiment is not None:
        table_of(options.experiment)  # reports a wrong name before anything is read
    places = [Path(place).expanduser() for place in (options.runs_dir, options.records) if place]
    records, unfinished = read_records(places), unfinished_runs(places)
    if records.empty:
        raise UserError(f"no finished runs in {' or '.join(map(str, places))}")
    names = [options.experiment] if options.experiment else table_names()
    tables = {name: experiment_table(name, records, unfinished, options.protocol) for name in names}
    shown = {name: t if options.deviations else t.without_deviations for name, t in tables.items()}
    if options.experiment:
        cells = [line.cell for line in shown[options.experiment].lines]
        records = records[records["cell"].isin(cells)]
    _write(
        options,
        report(
            f"ISDA: {options.experiment or 'results'}",
            shown.values(),
            [] if options.experiment else check_claims(tables, records),
            [*gallery(shown, records, options.deviations), *spectra_of_records(records, options.allow)],
            records,
        ),
    )


def _write(options: ReportOptions, page: str) -> None:
    usual = "results/report.html" if options.records else f"{options.runs_dir}/report.html"
    path = Path(options.out or usual).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode())
    print("written:", path)


def command() -> None:
    """Runs it with the options of the command line."""
    main(ReportOptions, make_report, __doc__)
