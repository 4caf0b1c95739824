"""Every figure that the runs give."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from isda_bench.errors import UserError
from isda_bench.experiments.selection import EXPERIMENTS, hyperparameter_selections
from isda_bench.reporting import figures
from isda_bench.reporting.build_tables import grouped
from isda_bench.reporting.table import Table

PUBLISHED_CURVES = {"figure_3": (("cifar10", "resnet110"), ("cifar100", "resnet110"))}
"""Table -> data set and network of the panels with the paper's curves."""


class Picture(NamedTuple):
    """A figure, its file's name without ending, and what it shows."""

    name: str
    caption: str
    figure: Figure


def gallery(tables: dict[str, Table], records: pd.DataFrame) -> Iterator[Picture]:
    """The pictures of some experiments.

    Args:
        tables: of the experiments, by name.
        records: as read_records gives them.
    """
    for name, table in tables.items():
        runs = records[records["cell"].isin([line.cell for line in table.lines])]
        behind = PUBLISHED_CURVES.get(name, ())
        if not runs.empty or behind:
            caption = (
                f"{table.title.rstrip('.')}: {table.split} error over epochs; median and range over n seeds."
            )
            caption += " Dotted: the paper's curves, from epoch 82 on." if behind else ""
            yield Picture(f"{name}_curves", caption, figures.curves(runs, behind))
        drawn = figures.gain(table) if name == "small_data" else None
        if drawn is not None:
            caption = (
                "Gain of ISDA over its baseline, runs of the same seed, over the number of training images."
            )
            yield Picture(f"{name}_gain", caption, drawn)
    chosen = [name for name in EXPERIMENTS if name in tables]
    if not chosen:
        return
    groups = grouped(records, "last_10")
    decided = hyperparameter_selections({cell: group.errors for cell, group in groups.items()})
    for name in chosen:
        drawn = figures.selection([c for c in decided if c.experiment == name], groups)
        if drawn is not None:
            caption = (
                "Error on the held-out images over the values tried; mean and standard deviation over seeds."
            )
            yield Picture(f"{name}_curves_of_choice", caption, drawn)


def spectra(runs: list[Path], allow: tuple[str, ...] = ()) -> Iterator[Picture]:
    """The spectrum of what each of these runs' ISDA has estimated.

    Args:
        runs: directories of finished runs, with their checkpoints.
        allow: modules beside isda_bench in which their components may be defined.

    Raises:
        UserError: one of them is not, or has estimated no covariance.
    """
    if not runs:
        return
    from isda_bench.reporting.spectrum import covariance_spectrum  # imports torch

    for run in runs:
        caption = f"Spectrum of the covariance of each class's deep features, {run.name}."
        yield Picture(
            f"spectrum_{run.name}", caption, figures.spectrum(covariance_spectrum(run, allow), run.name)
        )


def spectra_of_records(records: pd.DataFrame, allow: tuple[str, ...] = ()) -> Iterator[Picture]:
    """`spectra` of `runs_with_statistics`; a run that cannot be loaded is skipped with a line on stderr."""
    for run in runs_with_statistics(records):
        try:
            yield from spectra([run], allow)
        except UserError as error:
            print(f"skipped: {error}", file=sys.stderr)


def runs_with_statistics(records: pd.DataFrame) -> list[Path]:
    """A run with ISDA's class statistics of each network and data set whose checkpoints are here."""
    own = records["record"].map(lambda record: record["config"]["loss"].get("covariance", "identity"))
    here = records["path"].map(lambda path: any(path.glob("checkpoint-*.pt")))
    runs = records[(records["loss"] == "isda") & (own != "identity") & here]
    return list(runs.groupby(["model", "dataset"], sort=False)["path"].first())
