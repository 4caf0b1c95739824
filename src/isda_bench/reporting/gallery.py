"""Every figure that the runs give."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from isda_bench.errors import UserError
from isda_bench.experiments.selection import EXPERIMENTS, hyperparameter_selections
from isda_bench.reporting.figures.class_spectrum import class_spectrum
from isda_bench.reporting.figures.error_curves import error_curves
from isda_bench.reporting.figures.figure_3 import figure_3
from isda_bench.reporting.figures.gain import gain, sizes_of
from isda_bench.reporting.figures.panels import Panel, methods_of, panels
from isda_bench.reporting.figures.tried_settings import tried_settings
from isda_bench.reporting.groups import grouped
from isda_bench.reporting.table import Table

TRAINING_SIZES = ("evidence_sizes", "small_data")
"""Experiments about the number of training images; the README's picture shows the first one with runs."""


class Picture(NamedTuple):
    """A figure, its file's name without ending, and what it shows."""

    name: str
    caption: str
    figure: Figure


def gallery(tables: dict[str, Table], records: pd.DataFrame, deviations: bool = False) -> Iterator[Picture]:
    """The pictures of some experiments, each panel once: not where a larger one shows all of its cells.

    Args:
        tables: of the experiments, by name.
        records: as read_records gives them.
        deviations: whether runs that deviate from an experiment are drawn among its own.
    """
    shown = {name: table if deviations else table.without_deviations for name, table in tables.items()}
    known = methods_of(records)
    all_panels = {
        name: panels(_runs_of(table, records), table.protocol, table.method_labels, table.labels)
        for name, table in shown.items()
    }
    for name, own in _each_once(all_panels).items():
        table = shown[name]
        if name == "figure_3":
            yield Picture("figure_3_curves", _about_figure_3(table), figure_3(own, table.protocol, known))
        elif own:
            yield Picture(f"{name}_curves", _about_curves(table), error_curves(own, table.protocol, known))
        drawn = gain(table) if name in TRAINING_SIZES else None
        if drawn is not None:
            yield Picture(f"{name}_gain", _about_gain(table), drawn)
    yield from _selections({name: tables[name] for name in EXPERIMENTS if name in tables}, records)


def gain_picture(tables: dict[str, Table]) -> Iterator[Picture]:
    """The README's picture: the gain in the first experiment about training sizes that has two sizes.

    Runs that deviate from an experiment are shown where its own have not come so far; the legend then says in
    what they deviate.
    """
    known = [tables[name] for name in TRAINING_SIZES if name in tables]
    candidates = [*(table.without_deviations for table in known), *known]
    for least in (2, 1):
        for table in candidates:
            drawn = gain(table) if sizes_of(table) >= least else None
            if drawn is not None:
                yield Picture("gain_over_training_size", _about_gain(table), drawn)
                return


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
        figure = class_spectrum(covariance_spectrum(run, allow), run.name)
        yield Picture(f"spectrum_{run.name}", caption, figure)


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


def _runs_of(table: Table, records: pd.DataFrame) -> pd.DataFrame:
    return records[records["cell"].isin([row.cell for row in table.lines])]


def _each_once(all_panels: dict[str, list[Panel]]) -> dict[str, list[Panel]]:
    """Without the panels whose cells another panel shows too; of equal ones the first stays.

    Figure 3 keeps its own: it has the paper's curves.
    """
    everywhere = [panel for name, own in all_panels.items() if name != "figure_3" for panel in own]
    kept: dict[str, list[Panel]] = {}
    drawn: set[frozenset[str]] = set()
    for name, own in all_panels.items():
        kept[name] = []
        for panel in own:
            part_of_another = any(panel.cells < other.cells for other in everywhere)
            if name == "figure_3" or not (part_of_another or panel.cells in drawn):
                kept[name].append(panel)
                drawn |= {panel.cells} if name != "figure_3" else set()
    return kept


def _selections(tables: dict[str, Table], records: pd.DataFrame) -> Iterator[Picture]:
    if not tables:
        return
    groups = grouped(records, "last_10")
    decided = hyperparameter_selections({cell: group.errors for cell, group in groups.items()})
    for name, table in tables.items():
        own = [each for each in decided if each.experiment == name]
        drawn = tried_settings(own, groups, table.labels)
        if drawn is not None:
            caption = (
                "Error on the held-out images over the values tried: mean and 95% t interval over seeds."
            )
            yield Picture(f"{name}_curves_of_choice", caption, drawn)


def _about_curves(table: Table) -> str:
    return (
        f"{table.title.rstrip('.')}: {table.split} error over epochs, median and range over n seeds; right, "
        "the mean of each method's final errors with its 95% t interval."
    )


def _about_figure_3(table: Table) -> str:
    paper = "Thin lines: the paper's curves, one run each, from epoch 82 on."
    return f"{_about_curves(table)} {paper}" if table.has_runs else f"{table.title.rstrip('.')}. {paper}"


def _about_gain(table: Table) -> str:
    baseline = next(row.paired.baseline for row in table.lines if row.paired is not None)
    return (
        f"Gain of ISDA over {baseline}, runs of the same seed, over the number of training images: mean with "
        "95% t interval, and each seed; above zero, ISDA is better."
    )
