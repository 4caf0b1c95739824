"""Draws the paper's figures from finished runs: SVG, PNG and PDF at a paper's size.

isda-bench figures                    of every table with runs:
    <table>_curves      error over epochs, a panel a network and data set; figure_3 also has the published
    <table>_gain        gain of ISDA over the number of training images (evidence_sizes, small_data)
    gain_over_training_size    the README's picture: the first of these that has runs
    <selection>_curves_of_choice    error on held-out images over the values tried
    spectrum_<run>      spectra of the class covariances: a run of each network and data set below runs_dir
isda-bench figures experiment=comparison [out=runs/figures]    of one table
isda-bench figures deviations=true                               with the runs that deviate from an experiment
isda-bench figures run=runs/<run id>                              the spectrum of this run
isda-bench figures records=results/records      with the shipped runs: results/figures
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from isda_bench.config.experiment_files import table_names, table_of
from isda_bench.config.options import Options, main
from isda_bench.errors import UserError
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.figures.files import write
from isda_bench.reporting.gallery import Picture, gain_picture, gallery, runs_with_statistics, spectra
from isda_bench.storage.records import read_records


class FigureOptions(Options):
    """Options of the command, given as key=value."""

    experiment: str | None = None
    run: str | None = None
    runs_dir: str = "runs"
    records: str | None = None
    deviations: bool = False
    out: Annotated[str, Field(min_length=1)] | None = None


def make_figures(options: FigureOptions) -> None:
    """Writes every figure that has finished runs."""
    drawn = spectra([Path(options.run).expanduser()], options.allow) if options.run else _of_tables(options)
    out = Path(options.out or ("results/figures" if options.records else f"{options.runs_dir}/figures"))
    written = False
    for picture in drawn:
        print("written:", *write(picture.figure, out.expanduser() / picture.name))
        written = True
    if not written:
        raise UserError(_nothing_to_draw(options))


def _nothing_to_draw(options: FigureOptions) -> str:
    of_what = f" of experiment={options.experiment}" if options.experiment else " of any experiment"
    hint = "" if options.deviations else "; deviations=true also draws runs that deviate from it"
    return f"no finished runs{of_what}: nothing to draw{hint}"


def _of_tables(options: FigureOptions) -> Iterator[Picture]:
    if options.experiment is not None:
        table_of(options.experiment)  # reports a wrong name before anything is read
    places = [Path(place).expanduser() for place in (options.runs_dir, options.records) if place]
    records = read_records(places)
    if records.empty:
        raise UserError(f"no finished runs in {' or '.join(map(str, places))}")
    names = [options.experiment] if options.experiment else table_names()
    tables = {name: experiment_table(name, records) for name in names}
    yield from gallery(tables, records, options.deviations)
    if options.experiment is None:
        yield from gain_picture(tables)
        yield from spectra(runs_with_statistics(records), options.allow)


def command() -> None:
    """Runs it with the options of the command line."""
    main(FigureOptions, make_figures, __doc__)
