"""Writes one HTML page with the tables, the figures, the paper's claims and every run.

isda-bench report                                              of everything: runs/report.html
isda-bench report experiment=demo out=runs/demo/report.html    of one experiment
isda-bench report deviations=true             with the runs that deviate from an experiment, below it
isda-bench report records=results/records     with the shipped runs: results/report.html
"""

import sys
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import pandas as pd
from pydantic import Field

from isda_bench.config.building import check_allowed
from isda_bench.config.experiment_files import table_names, table_of
from isda_bench.config.options import Options, main
from isda_bench.errors import UserError
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.claims import Claim, check_claims
from isda_bench.reporting.gallery import Picture, gallery, runs_with_statistics, spectra
from isda_bench.reporting.html_report import report
from isda_bench.reporting.questions import AnsweredQuestion, answered_questions
from isda_bench.reporting.table import Table
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.runtime.terminal import printable
from isda_bench.storage.record_files import RECORD
from isda_bench.storage.records import UnfinishedRun, read_records, unfinished_runs


class ReportOptions(Options):
    """Options of the command, given as key=value."""

    experiment: str | None = None
    runs_dir: str = "runs"
    records: str | None = None
    deviations: bool = False
    protocol: Literal["last_10", "final", "best"] | None = None
    out: Annotated[str, Field(min_length=1)] | None = None


def make_report(options: ReportOptions) -> None:
    """Writes the page; what is damaged is left out of it, with a line on the page and on stderr.

    Raises:
        ConfigError: there is no such experiment.
        UserError: nothing has finished yet: the page then lists what is planned.
    """
    if options.experiment is not None:
        table_of(options.experiment)  # reports a wrong name before anything is read
    places = [Path(place).expanduser() for place in (options.runs_dir, options.records) if place]
    left_out: list[str] = []
    content = _content(options, places, left_out)
    page = report(*content[:5], left_out, content.questions)
    for reason in left_out:
        print(f"left out: {printable(reason)}", file=sys.stderr)
    if len(content.records):
        _write(options, page)
    else:
        _write_without_runs(options, page, places)


def _write_without_runs(options: ReportOptions, page: str, places: list[Path]) -> None:
    """Writes the page if it can be, and raises an error that says what it lacks."""
    what = f" of experiment={options.experiment}" if options.experiment else ""
    message = f"no finished runs{what} in {' or '.join(map(str, places))}"
    try:
        path = _write(options, page)
    except (UserError, OSError):
        raise UserError(message) from None
    makes = f"isda-bench train experiment={options.experiment or 'demo'} makes them"
    raise UserError(f"{message}; {path} lists what is planned, and {makes}")


class _Content(NamedTuple):
    """The arguments of `report`, but for what is left out."""

    title: str
    tables: list[Table]
    claims: list[Claim]
    pictures: list[Picture]
    records: pd.DataFrame
    questions: list[AnsweredQuestion]


def _content(options: ReportOptions, places: list[Path], left_out: list[str]) -> _Content:
    records = read_records(places, left_out)
    drawn: dict[Path, list[Picture]] = {}
    records = _with_spectra(records, drawn, options.allow, left_out)
    unfinished = unfinished_runs(places, left_out)
    names = [options.experiment] if options.experiment else table_names()
    tables = _tables(names, records, unfinished, options.protocol, left_out)
    shown = {name: t if options.deviations else t.without_deviations for name, t in tables.items()}
    count = "1 run" if len(records) == 1 else f"{len(records)} runs"
    title = f"ISDA and its baselines: {f'errors of {count}' if len(records) else 'no runs yet'}"
    claims: list[Claim] = []
    questions: list[AnsweredQuestion] = []
    if options.experiment and shown:
        cells = [line.cell for table in shown.values() for line in table.lines]
        records = records[records["cell"].isin(cells)]
        records = _with_spectra(records, drawn, options.allow, left_out)
        title = shown[options.experiment].title
    elif len(tables) == len(names) and len(records):
        claims, questions = check_claims(tables, records), answered_questions(tables)
    pictures = _gallery(shown, records, options.deviations, left_out)
    pictures += [picture for run in runs_with_statistics(records) for picture in drawn.get(run, [])]
    return _Content(title, list(shown.values()), claims, pictures, records, questions)


def _tables(
    names: list[str],
    records: pd.DataFrame,
    unfinished: list[UnfinishedRun],
    protocol: str | None,
    left_out: list[str],
) -> dict[str, Table]:
    """The experiments' tables; one that cannot be made (runs of different data) is left out."""
    tables = {}
    for name in names:
        try:
            tables[name] = experiment_table(name, records, unfinished, protocol)
        except UserError as error:
            left_out.append(f"the table of experiment={name}: {error}")
    return tables


def _gallery(
    tables: dict[str, Table], records: pd.DataFrame, deviations: bool, left_out: list[str]
) -> list[Picture]:
    try:
        return list(gallery(tables, records, deviations)) if len(records) else []
    except UserError as error:
        left_out.append(f"figures: {error}")
        return []


def _with_spectra(
    records: pd.DataFrame, drawn: dict[Path, list[Picture]], allow: tuple[str, ...], left_out: list[str]
) -> pd.DataFrame:
    """Draws the spectra that the runs' checkpoints give; returns the records of runs that can be built.

    A run whose checkpoint is damaged, or whose components are of a module that is not allowed, has no
    spectrum; its record counts.

    Args:
        records: of the runs.
        drawn: run -> its pictures; those of further runs are added.
        allow: modules beside isda_bench in which their components may be defined.
        left_out: what the page lacks; reasons are added.
    """
    for run in [run for run in runs_with_statistics(records) if run not in drawn]:
        drawn[run] = []
        try:
            (record,) = records.loc[records["path"] == run, "record"]
            for section in ("dataset", "model", "loss"):
                check_allowed(run / RECORD, section, record["config"][section], allow)
        except UserError as error:
            left_out.append(f"the spectrum of a run: {error}")
            continue
        try:
            drawn[run] = list(spectra([run], allow))
        except UserError as error:
            left_out.append(str(error))
            if str(error).startswith(f"{run / RECORD}:"):
                records = records[records["path"] != run]
    return records


def _write(options: ReportOptions, page: str) -> Path:
    usual = "results/report.html" if options.records else f"{options.runs_dir}/report.html"
    path = Path(options.out or usual).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode())
    print("written:", path)
    return path


def command() -> None:
    """Runs it with the options of the command line."""
    main(ReportOptions, make_report, __doc__)
