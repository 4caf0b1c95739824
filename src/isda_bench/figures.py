"""Pictures of records."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

from isda_bench.results import read_metrics, with_variants


def error_curves(records: pd.DataFrame, path: Path) -> list[Path]:
    """Error over epochs: a panel for each data set and network, a line for each loss.

    The line is the median over seeds, the band their range. The same records give the same files.

    Writes `path` with the endings .svg and .png and returns both.
    """
    panels = list(with_variants(records).groupby(["dataset", "model"], sort=False))
    figure = Figure(figsize=(6 * len(panels), 4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, ((dataset, model), runs) in zip(axes, panels, strict=True):
        _draw_panel(axis, runs)
        axis.set_title(f"{model} on {dataset}")
    written = [path.with_suffix(ending) for ending in (".svg", ".png")]
    with mpl.rc_context({"svg.hashsalt": "isda_bench"}):
        for file in written:
            figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
    return written


def _draw_panel(axis: Axes, runs: pd.DataFrame) -> None:
    for (_, loss, variant), cell in runs.groupby(["cell", "loss", "variant"], sort=False):
        curves = _curves(cell)
        (line,) = axis.plot(curves.index, curves.median(axis=1), label=f"{loss} {variant} (n = {len(cell)})")
        low, high = curves.min(axis=1), curves.max(axis=1)
        axis.fill_between(curves.index, low, high, alpha=0.2, linewidth=0, color=line.get_color())
    axis.set(xlabel="epoch", ylabel=f"{' / '.join(runs['split'].unique())} error in %", yscale="log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.grid(alpha=0.3)
    axis.legend()


def _curves(cell: pd.DataFrame) -> pd.DataFrame:
    """The error of each evaluated epoch (rows), a column a run."""
    runs = [
        read_metrics(path).set_index("epoch")[f"{split}_error"]
        for path, split in zip(cell["path"], cell["split"], strict=True)
    ]
    return pd.concat(runs, axis=1).dropna()
