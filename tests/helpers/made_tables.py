"""Tables of made runs, and the cells that an experiment plans."""

from isda_bench.config.experiment_files import parts
from isda_bench.experiments.planned import planned
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.storage.records import read_records, unfinished_runs


def table_of_runs(experiment, root):
    """The experiment's table from the runs in a folder."""
    return experiment_table(experiment, read_records([root]), unfinished_runs([root]))


def cell(experiment, dataset, method, model=None, size=None):
    """The configuration of the one planned cell with these coordinates."""
    cells = [cell for part in parts(experiment) for cell in planned(part)]
    (found,) = (
        c.config
        for c in cells
        if (c.at.dataset, c.at.method) == (dataset, method)
        and model in (None, c.at.model)
        and size in (None, c.at.train_size)
    )
    return found
