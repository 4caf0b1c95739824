"""The wandb workspace of a table: curves by method with bands over the seeds, errors, cost and samples."""

from collections.abc import Sequence
from typing import Any

from isda_bench.errors import UserError

MOST_SETTINGS = 3
"""Settings in a curve's name, at most; where more differ, curves are named by their cell."""


def workspace(entity: str, project: str, table: str | None, settings: Sequence[str] | None = None) -> Any:
    """The workspace, not saved yet.

    Args:
        entity: wandb's user or team.
        project: wandb's project.
        table: whose runs are shown, by their tag; None: all.
        settings: dotted keys in which runs of one method, network and data set differ; each of their values
            is a curve. None: each cell (runs that differ in the seed alone) is one.

    Raises:
        UserError: wandb-workspaces is not installed.
    """
    ws, wr, expr = _libraries()
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"ISDA: {table or 'all runs'}",
        sections=[
            ws.Section(name=name, panels=panels, is_open=True) for name, panels in _sections(wr).items()
        ],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=[expr.Tags().isin([table])] if table else [],
            groupby=_groups(expr, settings),
            order=[expr.Ordering(expr.Summary("last_10_error"), ascending=True)],
            pinned_columns=["summary:last_10_error", "summary:final_error", "summary:best_error"],
        ),
    )


def outline(workspace: Any) -> str:
    """The contents of the workspace, in lines."""
    runs = workspace.runset_settings
    filters = runs.filters if isinstance(runs.filters, str) else " and ".join(map(str, runs.filters))
    lines = [
        f"workspace '{workspace.name}' in {workspace.entity}/{workspace.project}",
        f"  runs: {filters or 'all'}; grouped by {', '.join(metric.name for metric in runs.groupby)}",
    ]
    for section in workspace.sections:
        lines.append(f"  {section.name}")
        lines += [f"    {type(panel).__name__}: {panel.title}" for panel in section.panels]
    return "\n".join(lines)


def _groups(expr: Any, settings: Sequence[str] | None) -> list[Any]:
    """The grouping of runs to curves: network and data set, then method, then what else differs."""
    by_method = [expr.Config("setting"), expr.Config("method")]
    if settings is None or len(settings) > MOST_SETTINGS:
        return [*by_method, expr.Metric("Group")]
    return [*by_method, *map(expr.Config, settings)]


def _sections(wr: Any) -> dict[str, list[Any]]:
    """Name of each section and its panels."""
    return {
        "Error": [
            _curve(wr, "Test error in % (median and range over seeds)", "test_error", log_y=True),
            _curve(wr, "Validation error in % (median and range over seeds)", "validation_error", log_y=True),
            _curve(wr, "Training error in % (median and range over seeds)", "train_error"),
        ],
        "Results": [
            _bars(wr, "Mean error of the last 10 epochs in %", "last_10_error"),
            _bars(wr, "Error of the last epoch in %", "final_error"),
            _bars(wr, "Best error in %", "best_error"),
        ],
        "Training": [
            _curve(wr, "Training loss", "train_loss", log_y=True),
            _curve(wr, "Test loss", "test_loss"),
            _curve(wr, "Learning rate", "learning_rate"),
        ],
        "Cost": [
            _curve(wr, "Images a second", "images_per_second"),
            _curve(wr, "Seconds an epoch", "seconds"),
        ],
        "Samples": [wr.MediaBrowser(title="Samples as the network sees them", media_keys=["samples"])],
    }


def _curve(wr: Any, title: str, metric: str, log_y: bool = False) -> Any:
    return wr.LinePlot(
        title=title,
        x="epoch",
        y=[metric],
        log_y=log_y,
        groupby_aggfunc="median",
        groupby_rangefunc="minmax",
        max_runs_to_show=100,
    )


def _bars(wr: Any, title: str, metric: str) -> Any:
    return wr.BarPlot(
        title=title,
        metrics=[wr.SummaryMetric(metric)],
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        max_runs_to_show=100,
    )


def _libraries() -> tuple[Any, Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
        from wandb_workspaces import expr
    except ImportError as error:
        message = f"{error}; pip install 'isda_bench[dashboard]' brings wandb-workspaces"
        raise UserError(message) from error
    return ws, wr, expr
