"""Writes the tables of finished runs beside the published ones, and checks the paper's claims.

isda-bench tables                                  every experiment, the claims, a list of all runs
isda-bench tables experiment=demo out=runs/demo    the table of one experiment
isda-bench tables deviations=true                  with the runs that deviate from an experiment, below it
isda-bench tables records=results/records          with the runs of another folder: the shipped ones
isda-bench tables --config-dir ./conf experiment=mine   an experiment of your own folder
isda-bench tables protocol=final                   another error: final, best, or last_10, the paper's
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from isda_bench.config.experiment_files import table_names, table_of
from isda_bench.config.options import Options, main
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.claims import check_claims, markdown_claims
from isda_bench.reporting.figures.error_curves import error_curves
from isda_bench.reporting.figures.files import write
from isda_bench.reporting.figures.panels import Panel, panels
from isda_bench.reporting.latex_table import latex
from isda_bench.reporting.questions import answered_questions, markdown_answers
from isda_bench.reporting.render_tables import csv_table, markdown, markdown_table, wide_csv
from isda_bench.reporting.table import Table
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.runtime.garbage_collection import no_garbage_collection
from isda_bench.storage.records import read_records, unfinished_runs


class TableOptions(Options):
    """Options of the command, given as key=value."""

    experiment: str | None = None
    runs_dir: str = "runs"
    records: str | None = None
    deviations: bool = False
    protocol: Literal["last_10", "final", "best"] | None = None
    out: Annotated[str, Field(min_length=1)] | None = None


@no_garbage_collection()
def make_tables(options: TableOptions) -> None:
    """Writes <out>/<experiment>.md, .tex, .csv and _wide.csv; for all claims.md, evidence.md and all.md too.

    `out` is by default <runs_dir>/tables, and results/tables where `records` names another folder.
    """
    if options.experiment is not None:
        table_of(options.experiment)  # reports a wrong name before anything is read
    places = [Path(place).expanduser() for place in (options.runs_dir, options.records) if place]
    out = Path(options.out or _usual_place(options)).expanduser()
    records, unfinished = read_records(places), unfinished_runs(places)
    tables = {}
    for name in [options.experiment] if options.experiment else table_names():
        tables[name] = experiment_table(name, records, unfinished, options.protocol)
        shown = tables[name] if options.deviations else tables[name].without_deviations
        _report(shown, in_full=shown.has_runs or options.experiment is not None)
        _write_table(shown, out)
    if options.experiment:
        cells = [line.cell for line in shown.lines]
        own = records[records["cell"].isin(cells)]
        drawn = panels(own, shown.protocol, shown.method_labels, shown.labels)
        _draw(drawn, out / options.experiment, shown.protocol)
        return
    claims = markdown_claims(check_claims(tables, records))
    print(f"The paper's claims\n\n{claims}")
    _write(out / "claims.md", claims)
    evidence = markdown_answers(answered_questions(tables))
    print(f"The evidence's questions\n\n{evidence}")
    _write(out / "evidence.md", evidence)
    if not records.empty:
        protocol = options.protocol or "last_10"
        _write(out / "all.md", markdown_table(records, protocol))
        _draw(panels(records, protocol), out / "all", protocol)


def _usual_place(options: TableOptions) -> str:
    return "results/tables" if options.records else f"{options.runs_dir}/tables"


def _report(table: Table, in_full: bool) -> None:
    print(f"experiment={table.name}: {table.finished} of {table.wanted} runs are finished\n")
    if in_full:
        print(markdown(table))


def _write_table(table: Table, out: Path) -> None:
    _write(out / f"{table.name}.md", markdown(table))
    _write(out / f"{table.name}.tex", latex(table))
    _write(out / f"{table.name}.csv", csv_table(table))
    _write(out / f"{table.name}_wide.csv", wide_csv(table))


def _draw(drawn: list[Panel], path: Path, protocol: str) -> None:
    if drawn:
        figure = error_curves(drawn, protocol)
        print("written:", *write(figure, path.with_name(f"{path.name}_curves")))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
    print("written:", path)


def command() -> None:
    """Runs it with the options of the command line."""
    main(TableOptions, make_tables, __doc__)
