"""Draws the paper's figures from finished runs: SVG and PNG.

python scripts/make_figures.py                    of every table that has runs:
    <table>_curves    error over epochs, a panel a network and data set (figure 3: comparison's)
    small_data_gain   gain of ISDA over the number of training images
    selection         error on held-out images over the values tried
    spectrum_<run>    spectra of the class covariances: a run of each network and data set below runs_dir
python scripts/make_figures.py experiment=comparison [out=results/figures]    of one table
python scripts/make_figures.py run=runs/<run id>                              the spectrum of this run
"""

from pathlib import Path
from typing import Annotated

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field

from isda_bench import figures
from isda_bench.aggregate import experiment_table, grouped
from isda_bench.errors import UserError
from isda_bench.experiments import table_names, table_of
from isda_bench.options import Options, main
from isda_bench.results import read_records
from isda_bench.selection import EXPERIMENTS, contests


class FigureOptions(Options):
    """What can be given as key=value."""

    experiment: str | None = None
    run: str | None = None
    runs_dir: str = "runs"
    records: str = "results/records"
    out: Annotated[str, Field(min_length=1)] = "results/figures"


def make_figures(options: FigureOptions) -> None:
    """Writes what there are runs for."""
    if options.run is not None:
        _write_spectra([Path(options.run)], Path(options.out))
        return
    if options.experiment is not None:
        table_of(options.experiment)  # a wrong name is told before anything is read
    records = read_records([Path(options.runs_dir).expanduser(), Path(options.records)])
    if records.empty:
        raise UserError(f"no finished runs in {options.runs_dir} or {options.records}")
    for name in [options.experiment] if options.experiment else table_names():
        _draw_table(name, records, Path(options.out))
    if options.experiment in (None, *EXPERIMENTS):
        errors = grouped(records, "last_10")
        decided = contests({cell: group.errors for cell, group in errors.items()})
        chosen = [c for c in decided if options.experiment in (None, c.experiment)]
        _write(figures.selection(chosen, errors), Path(options.out) / "selection")
    if options.experiment is None:
        _write_spectra(_with_statistics(records), Path(options.out))


def _draw_table(name: str, records: pd.DataFrame, out: Path) -> None:
    table = experiment_table(name, records)
    runs = records[records["cell"].isin([line.cell for line in table.lines])]
    if not runs.empty:
        _write(figures.curves(runs), out / f"{name}_curves")
    if name == "small_data":
        _write(figures.gain(table), out / f"{name}_gain")


def _with_statistics(records: pd.DataFrame) -> list[Path]:
    """A run with ISDA's statistics of each network and data set."""
    runs = records[(records["loss"] == "isda") & records["path"].map(lambda path: any(path.glob("*.pt")))]
    return list(runs.groupby(["model", "dataset"], sort=False)["path"].first())


def _write_spectra(runs: list[Path], out: Path) -> None:
    if not runs:
        return
    from isda_bench.spectrum import covariance_spectrum  # imports torch

    for run in runs:
        figure = figures.spectrum(covariance_spectrum(run), run.name)
        _write(figure, out / f"spectrum_{run.name}")


def _write(figure: Figure | None, path: Path) -> None:
    if figure is not None:
        print("written:", *figures.write(figure, path))


if __name__ == "__main__":
    main(FigureOptions, make_figures, __doc__)
