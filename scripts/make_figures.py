"""Draws the paper's figures from finished runs: SVG and PNG.

python scripts/make_figures.py                    of every table that has runs:
    <table>_curves      error over epochs, a panel a network and data set (figure 3: comparison's)
    small_data_gain     gain of ISDA over the number of training images
    <selection>_curves_of_choice    error on held-out images over the values tried
    spectrum_<run>      spectra of the class covariances: a run of each network and data set below runs_dir
python scripts/make_figures.py experiment=comparison [out=runs/figures]    of one table
python scripts/make_figures.py run=runs/<run id>                              the spectrum of this run
python scripts/make_figures.py records=results/records      with the shipped runs: results/figures
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
from isda_bench.reporting.gallery import Picture, gallery, runs_with_statistics, spectra
from isda_bench.storage.records import read_records


class FigureOptions(Options):
    """What can be given as key=value."""

    experiment: str | None = None
    run: str | None = None
    runs_dir: str = "runs"
    records: str | None = None
    out: Annotated[str, Field(min_length=1)] | None = None


def make_figures(options: FigureOptions) -> None:
    """Writes what there are runs for."""
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
        table_of(options.experiment)  # a wrong name is told before anything is read
    places = [Path(place).expanduser() for place in (options.runs_dir, options.records) if place]
    records = read_records(places)
    if records.empty:
        raise UserError(f"no finished runs in {' or '.join(map(str, places))}")
    names = [options.experiment] if options.experiment else table_names()
    yield from gallery({name: experiment_table(name, records) for name in names}, records)
    if options.experiment is None:
        yield from spectra(runs_with_statistics(records), options.allow)


if __name__ == "__main__":
    main(FigureOptions, make_figures, __doc__)
