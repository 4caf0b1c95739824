"""`plan=true`: the runs of a command line, which of them are done, the time for the rest. Starts nothing."""

from dataclasses import dataclass
from pathlib import Path

from isda_bench.config.building import ANY_MODULE
from isda_bench.config.components import build_dataset
from isda_bench.config.run_config import RunConfig
from isda_bench.experiments.coordinates import coordinates, images_text
from isda_bench.reporting.cost import Rate, Rates, read_benchmarks, training_flops
from isda_bench.reporting.escape import markdown_rows
from isda_bench.storage.record_files import epochs_done, readable_records

RESULTS = Path("results")
"""Where records and benchmarks are committed."""
IMAGE_SIDE = 224  # of a data set that does not tell


@dataclass(frozen=True)
class PlannedRun:
    """A run, its progress, and the work that remains.

    Attributes:
        config: what it is.
        state: 'done', 'unfinished' or 'missing'.
        epochs: behind it.
        rate: at which it trains.
        images: still to go through the network.
    """

    config: RunConfig
    state: str
    epochs: int
    rate: Rate
    images: float

    @property
    def hours(self) -> float:
        """Still to go, on one GPU."""
        return self.images / self.rate.images_per_second / 3600


def plan(jobs: list[RunConfig]) -> str:
    """The plan of a command line with these jobs, as text; a run counts once.

    Raises:
        UserError: a record or a benchmark is damaged.
    """
    configs = {config.run_id: config for config in jobs}
    roots = {Path(config.settings.runs_dir).expanduser(): None for config in jobs}
    records = [record for root in [*roots, RESULTS / "records"] for _, record in readable_records(root)]
    rates = Rates(records, read_benchmarks(RESULTS / "benchmarks"))
    return plan_text([planned_run(config, rates) for config in configs.values()])


def planned_run(config: RunConfig, rates: Rates) -> PlannedRun:
    """The progress of a run, from its directory, where training looks too."""
    settings = config.settings
    state, epochs = _state(config.directory)
    dataset = build_dataset(settings)
    side = dataset.image_size or IMAGE_SIDE
    flops = training_flops(settings.model, dataset.num_classes, dataset.in_channels, side, ANY_MODULE)
    rate = rates.of(config.names["model"], config.names["dataset"], settings.precision, flops)
    left = 0 if state == "done" else max(settings.schedule.epochs - epochs, 0)
    real = 1 - settings.generator.get("fraction", 0)  # of a batch; the others are generated
    return PlannedRun(config, state, epochs, rate, left * dataset.expected_count / real)


def plan_text(runs: list[PlannedRun]) -> str:
    """A line a cell, the sum, and what the hours rest on."""
    header = ["data set", "network", "augmentation", "training images", "method"]
    header += ["done", "unfinished", "missing", "GPU hours to go", "rate from"]
    by_cell: dict[str, list[PlannedRun]] = {}
    for run in runs:
        by_cell.setdefault(run.config.cell, []).append(run)
    lines = [markdown_rows([header, *(_row(cell) for cell in by_cell.values())])]
    states = [run.state for run in runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("done", "unfinished", "missing"))
    hours = sum(run.hours for run in runs)
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    lines.append(f"{count}: {counts}; {_hours(hours)} GPU hours to go. Nothing was started.")
    lines += _assumptions(runs)
    return "\n\n".join(lines)


def _state(directory: Path) -> tuple[str, int]:
    if (directory / "record.json").exists():
        return "done", 0
    if not (directory / "run.json").exists():
        return "missing", 0
    return "unfinished", epochs_done(directory)


def _row(cell: list[PlannedRun]) -> list[str]:
    at = coordinates(cell[0].config.names, cell[0].config.config)
    place = [at.dataset, at.model, at.augment, images_text(at.train_size), at.method]
    states = [
        ", ".join(_seed(run) for run in cell if run.state == s) for s in ("done", "unfinished", "missing")
    ]
    return [*place, *states, _hours(sum(run.hours for run in cell)), cell[0].rate.source]


def _seed(run: PlannedRun) -> str:
    """'s0', 's1 (epoch 80 of 160)'."""
    seed = f"s{run.config.config['seed']}"
    if run.state != "unfinished":
        return seed
    return f"{seed} (epoch {run.epochs} of {run.config.settings.schedule.epochs})"


def _assumptions(runs: list[PlannedRun]) -> list[str]:
    sources: dict[str, set[str]] = {}
    for run in runs:
        if run.images:
            sources.setdefault(run.rate.source, set()).add(run.rate.device)
    explanations = {
        "records": "records: median images a second of finished runs of that network and data set on a GPU",
        "benchmark": "benchmark: images a second of that network on CIFAR-10, measured on a GPU",
        "bare step": "bare step: a captured training step of that network, taken on a GPU; a run is slower",
        "FLOPs": "FLOPs: of forward and backward pass; no record or benchmark has a rate measured on a GPU",
    }
    lines = [
        f"- {explanations[source]} ({'; '.join(sorted(sources[source]))})."
        for source in explanations
        if source in sources
    ]
    return ["\n".join(lines)] if lines else []


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2f}" if hours else "0"
