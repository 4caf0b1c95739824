"""Makes a wandb workspace: curves, errors, cost and samples of a project's runs, by cell.

isda-bench dashboard --dry-run                               prints its content; contacts no server
isda-bench dashboard entity=me [experiment=journal_table_2]  makes it (needs a wandb account)
"""

import sys
from collections import defaultdict

from isda_bench.config.experiment_files import parts, table_of
from isda_bench.config.options import Options, main
from isda_bench.config.run_config import RunConfig, flat, identity
from isda_bench.errors import UserError
from isda_bench.experiments.planned import planned
from isda_bench.monitoring.dashboard import outline, workspace
from isda_bench.monitoring.loggers import labels_of


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
    made = workspace(entity, options.project, table, None if table is None else differing_settings(table))
    if options.dry_run:
        print(outline(made))
        return
    try:
        print(made.save().url)
    except Exception as error:  # of whatever kind wandb's are
        raise UserError(f"wandb: {error}") from error


def differing_settings(table: str) -> list[str]:
    """The settings in which runs of one method, network and data set of a table differ, the seed excepted.

    Where a section stands for a choice, as an augmentation does, it is that choice.

    Raises:
        ConfigError: the experiment does not compose.
    """
    curves: dict[tuple[str, ...], list[RunConfig]] = defaultdict(list)
    for cell in (cell for part in parts(table) for cell in planned(part)):
        curves[tuple(labels_of(cell.config.names).values())].append(cell.config)
    found = dict.fromkeys(key for runs in curves.values() for key in _differing(runs))
    return list(found)


def _differing(runs: list[RunConfig]) -> list[str]:
    settings = [flat(identity(run.config)) for run in runs]
    keys = dict.fromkeys(key for each in settings for key in each if key != "seed")
    names = {section for section in runs[0].names if len({run.names.get(section) for run in runs}) > 1}
    sections = {key: key.partition(".")[0] for key in keys}
    return [
        f"chosen.{sections[key]}" if sections[key] in names else key
        for key in keys
        if len({str(each.get(key)) for each in settings}) > 1
    ]


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
