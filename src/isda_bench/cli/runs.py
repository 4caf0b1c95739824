"""Lists the run directories, and removes checkpoints or whole runs.

isda-bench runs                                     every run and generator: state, epochs, error, size
isda-bench runs dataset=cifar10 state=unfinished    some of them; also by model, loss, seed, experiment
isda-bench runs older_than=30 prune=checkpoints     what would be removed: weights of finished runs (days) ...
isda-bench runs state=unfinished prune=runs         ... or whole directories
isda-bench runs state=unfinished prune=runs dry_run=false    removes them
"""

import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from isda_bench.config.options import Options, main
from isda_bench.config.table_parts import table_runs
from isda_bench.errors import ConfigError, UserError
from isda_bench.runtime.terminal import printable
from isda_bench.storage.listing import (
    RunSummary,
    State,
    checkpoint_bytes,
    listing,
    remove_checkpoints,
    remove_run,
    size,
    summaries,
)
from isda_bench.storage.run_lock import RunLocked

DAY = 24 * 3600.0


class RunsOptions(Options):
    """Options of the command, given as key=value."""

    runs_dir: str = "runs"
    dataset: str | None = None
    model: str | None = None
    loss: str | None = None
    seed: NonNegativeInt | None = None
    state: State | None = None
    experiment: str | None = None
    older_than: Annotated[float, Field(ge=0, strict=False)] | None = None  # days since the last change
    prune: Literal["checkpoints", "runs"] | None = None
    dry_run: bool = True


def runs(options: RunsOptions) -> None:
    """Lists the matching runs; with `prune` lists removals or performs them."""
    found = _matching(options)
    if options.prune is None:
        width = shutil.get_terminal_size((0, 0)).columns or None  # a pipe has none: a line for each run
        print(listing(found, width) if found else f"no runs in {options.runs_dir}")
    else:
        _prune(found, options)


def _matching(options: RunsOptions) -> list[RunSummary]:
    root = Path(options.runs_dir).expanduser()
    if not root.is_dir():
        raise UserError(f"runs_dir={options.runs_dir}: is not a folder")
    wanted = {name: getattr(options, name) for name in ("dataset", "model", "loss")}
    ids = [c.run_id for c in table_runs([f"experiment={options.experiment}"])] if options.experiment else None
    return [
        run
        for run in summaries(root)
        if all(value in (None, run.names.get(name)) for name, value in wanted.items())
        and options.seed in (None, run.seed)
        and options.state in (None, run.state)
        and (ids is None or run.path.name in ids)
        and (options.older_than is None or time.time() - run.changed > options.older_than * DAY)
    ]


def _prune(found: list[RunSummary], options: RunsOptions) -> None:
    if options.prune == "runs" and not set(options.model_fields_set) - {"runs_dir", "prune", "dry_run"}:
        raise ConfigError(["prune=runs: say which, as in state=unfinished or dataset=digits"])
    foreign = [run for run in found if run.state in ("foreign", "newer format")]
    for run in foreign:
        print(printable(f"skipped: {run.path}: {run.state}"), file=sys.stderr)
    found = [run for run in found if run not in foreign]
    if options.prune == "checkpoints":
        found = [run for run in found if run.state == "finished"]
    total, failed = 0, 0
    for run in (run for run in found if run.state != "running"):
        try:
            total += _remove(run, options)
        except RunLocked as error:
            print(printable(f"skipped: {error}"), file=sys.stderr)
        except (UserError, OSError) as error:  # the others are pruned all the same
            failed += 1
            print(printable(f"error: {error}"), file=sys.stderr)
    verb = "would be freed; dry_run=false removes them" if options.dry_run else "freed"
    print(f"{size(total)} {verb}")
    if failed:
        raise UserError(f"{failed} of {len(found)} could not be pruned")


def _remove(run: RunSummary, options: RunsOptions) -> int:
    removed = run.size if options.prune == "runs" else checkpoint_bytes(run)
    if removed == 0:
        return 0
    if not options.dry_run:
        (remove_run if options.prune == "runs" else remove_checkpoints)(run)
    verb = "would remove" if options.dry_run else "removed"
    print(printable(f"{verb} {options.prune} {run.path} ({size(removed)})"))
    return removed


def command() -> None:
    """Runs it with the options of the command line."""
    main(RunsOptions, runs, __doc__)
