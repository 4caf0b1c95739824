"""Makes a wandb workspace: curves, errors, cost and samples of a project's runs, by cell.

isda-bench dashboard --dry-run                               prints its content; contacts no server
isda-bench dashboard entity=me [experiment=journal_table_2]  makes it (needs a wandb account)
"""

import sys

from isda_bench.config.experiment_files import table_of
from isda_bench.config.options import Options, main
from isda_bench.errors import UserError
from isda_bench.monitoring.dashboard import outline, workspace


class DashboardOptions(Options):
    """Options of the command, given as key=value."""

    entity: str | None = None  # wandb's user or team; null: the default one
    project: str = "isda_bench"
    experiment: str | None = None
    dry_run: bool = False


def make_dashboard(options: DashboardOptions) -> None:
    """Saves the workspace and prints its address, or prints its content."""
    table = None if options.experiment is None else table_of(options.experiment)
    entity = options.entity or ("<default entity>" if options.dry_run else _default_entity())
    made = workspace(entity, options.project, table)
    if options.dry_run:
        print(outline(made))
        return
    try:
        print(made.save().url)
    except Exception as error:  # of whatever kind wandb's are
        raise UserError(f"wandb: {error}") from error


def _default_entity() -> str:
    import wandb

    try:
        entity = wandb.Api().default_entity
    except Exception as error:
        raise UserError(f"wandb: {error}") from error
    if not entity:
        raise UserError("wandb knows no default entity; give entity=...")
    return str(entity)


def command() -> None:
    """Runs it with the options of the command line; --dry-run stands for dry_run=true."""
    sys.argv[1:] = ["dry_run=true" if argument == "--dry-run" else argument for argument in sys.argv[1:]]
    main(DashboardOptions, make_dashboard, __doc__)
