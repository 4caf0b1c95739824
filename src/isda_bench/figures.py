"""Pictures of records."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "isda_bench"  # the same records give the same file
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from isda_bench.results import read_metrics


def error_curves(records: pd.DataFrame, path: Path) -> list[Path]:
    """Error over epochs: a panel for each data set and network, a line for each loss (median, range over seeds).

    Writes `path` with the endings .svg and .png and returns both.
    """
    panels = list(records.groupby(["dataset", "model"], sort=False))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(6 * len(panels), 4), squeeze=False, layout="constrained"
    )
    for axis, ((dataset, model), runs) in zip(axes[0], panels, strict=True):
        _draw_panel(axis, runs)
        axis.set_title(f"{model} on {dataset}")
    written = [path.with_suffix(ending) for ending in (".svg", ".png")]
    for file in written:
        figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
    plt.close(figure)
    return written


def _draw_panel(axis: Axes, runs: pd.DataFrame) -> None:
    for (_, loss), cell in runs.groupby(["cell", "loss"], sort=False):
        split = cell["split"].iloc[0]
        curves = pd.concat(
            [read_metrics(path).set_index("epoch")[f"{split}_error"] for path in cell["path"]], axis=1
        ).dropna()
        (line,) = axis.plot(curves.index, curves.median(axis=1), label=f"{loss} (n = {len(cell)})")
        axis.fill_between(
            curves.index,
            curves.min(axis=1),
            curves.max(axis=1),
            alpha=0.2,
            color=line.get_color(),
            linewidth=0,
        )
        axis.set_ylabel(f"{split} error in %")
    axis.set_xlabel("epoch")
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axis.yaxis.set_minor_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axis.grid(alpha=0.3, which="both")
    axis.legend()
