"""Draws the paper's figures from finished runs: SVG and PNG.

isda-bench figures                    of every table with runs:
    <table>_curves      error over epochs, a panel a network and data set (figure_3: also the published)
    small_data_gain     gain of ISDA over the number of training images
    <selection>_curves_of_choice    error on held-out images over the values tried
    spectrum_<run>      spectra of the class covariances: a run of each network and data set below runs_dir
isda-bench figures experiment=comparison [out=runs/figures]    of one table
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
from isda_bench.reporting.figures import write
from isda_bench.reporting.gallery import Picture, gallery, spectra, spectra_of_records
from isda_bench.storage.records import read_records


class FigureOptions(Options):
    """Options of the command, given as key=value."""

    experiment: str | None = None
    run: str | None = None
    runs_dir: str = "runs"
    records: str | None = None
    out: Annotated[str, Field(min_length=1)] | None = None


def make_figures(options: FigureOptions) -> None:
    """Writes every figure that has finished runs."""
    drawn = spectra([Path(options.run).expanduser()], options.allow) if options.run else _of_tables(options)
    out = Path(options.out or ("results/figures" if options.records else f"{options.runs_dir}/figures"))
    written = []
    for picture in drawn:
        written += write(picture.figure, out.expanduser() / picture.name)
        print("written:", *written[-2:])
    if not written:
        raise UserError(f"no finished runs of experiment={options.experiment}: nothing to draw")


def _of_tables(options: FigureOptions) -> Iterator[Picture]:
    if options.experiment is not None:
        table_of(options.experiment)  # reports a wrong name before anything is read
    places = [Path(place).expanduser() for place in (options.runs_dir, options.records) if place]
    records = read_records(places)
    if records.empty:
        raise UserError(f"no finished runs in {' or '.join(map(str, places))}")
    names = [options.experiment] if options.experiment else table_names()
    yield from gallery({name: experiment_table(name, records) for name in names}, records)
    if options.experiment is None:
        yield from spectra_of_records(records, options.allow)


def command() -> None:
    """Runs it with the options of the command line."""
    main(FigureOptions, make_figures, __doc__)
