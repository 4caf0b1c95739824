"""One training of a generator: builds the parts in order and calls fit."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from isda_bench.config.building import ANY_MODULE, build
from isda_bench.config.generator_config import GeneratorConfig, GeneratorSettings
from isda_bench.config.run_config import RunConfig
from isda_bench.data.base import DataSet, ImageData, ImageSet
from isda_bench.errors import ConfigError, UserError
from isda_bench.gan.base import Gan
from isda_bench.gan.build import component_problems
from isda_bench.gan.ema import ExponentialMovingAverage
from isda_bench.gan.generator_file import save_generator
from isda_bench.gan.quality import Quality, find_classifier, measure_quality
from isda_bench.gan.samples import Samples
from isda_bench.gan.train import COLLAPSED, RealBatches, fit
from isda_bench.monitoring.grid_position import GridPosition
from isda_bench.monitoring.logger_list import build_loggers
from isda_bench.monitoring.progress import Display
from isda_bench.runtime.devices import choose_device, describe, peak_memory, prepare_device
from isda_bench.runtime.library_faults import on_device
from isda_bench.storage.data_check import as_used
from isda_bench.storage.provenance import provenance
from isda_bench.storage.run_directory import RunDirectory, now
from isda_bench.storage.run_once import run_once
from isda_bench.storage.run_results import Metrics


def run(config: RunConfig, position: GridPosition | None = None) -> dict[str, Any]:
    """Trains the generator that `config` describes, or resumes it; a finished run is only reported.

    Args:
        config: of the run.
        position: its place in a grid, for the display.

    Returns:
        The run's record.

    Raises:
        ConfigError: listing all that is wrong with the configuration; nothing is written then.
        UserError: the data are missing, a file cannot be written, a loss is not finite, ...
    """
    return run_once(config, component_problems, partial(_train, position=position), summary)


def summary(record: dict[str, Any]) -> str:
    """The result of a run in a line."""
    quality = record["quality"]
    if quality is None:
        return f"{record['run_id']}: trained; quality not measured"
    return f"{record['run_id']}: {Quality(**quality).line()}"


class GeneratorDisplay(Display):
    """Shows a generator's training."""

    def status(self, row: dict[str, Any]) -> list[str]:
        """An epoch's losses."""
        return [
            f"critic {row['critic_loss']:.3f}",
            f"generator {row['generator_loss']:.3f}",
            f"spread {row['spread']:.2f}",
        ]


def _train(
    config: RunConfig, directory: RunDirectory, position: GridPosition | None = None
) -> dict[str, Any]:
    """Reads the data, then trains under the directory's lock; returns the run's record."""
    assert isinstance(config, GeneratorConfig)
    settings = config.settings
    device = choose_device(settings.device)
    print(f"{config.run_id}: {describe(device, settings.device, settings.precision, 'eager')}", flush=True)
    unseeded: DataSet = build(settings.dataset, DataSet, ANY_MODULE)
    dataset = unseeded.with_seed(settings.seed)
    data = dataset.load()
    if not isinstance(data.train, ImageSet):
        raise ConfigError(["dataset: its images stay in their files; generators learn those kept in memory"])
    with directory.locked(as_used(data)):
        record = directory.finished()  # another process may have finished it meanwhile
        if record is None:
            prepare_device(device, settings.seed, settings.precision)
            record = _fit(config, directory, dataset, data, device, position)
    return record


def _fit(
    config: GeneratorConfig,
    directory: RunDirectory,
    dataset: DataSet,
    data: ImageData,
    device: torch.device,
    position: GridPosition | None,
) -> dict[str, Any]:
    """Builds everything on the device, trains, logs, and writes the record."""
    settings, schedule, images = config.settings, config.settings.schedule, data.train
    assert isinstance(images, ImageSet)
    gan: Gan = on_device(build(settings.generator, Gan, ANY_MODULE, **_sizes(dataset)), device)
    average = ExponentialMovingAverage(gan.generator, schedule.average)
    batches = RealBatches(images, schedule.batch_size, gan.generator.groups, device)
    every, per_class = settings.samples.every, settings.samples.per_class
    samples = Samples(images, dataset.num_classes, every, per_class, device)
    logger = build_loggers(settings.logger)
    display = GeneratorDisplay(config.run_id, schedule.epochs, schedule.steps, position)
    with logger.open(config), display:
        metrics = fit(
            gan, average, schedule, batches, samples, directory, display, logger, settings.checkpoint.every
        )
        gan.generator = average.generator
        record = _record(config, directory, gan, dataset, data, metrics, device)
        logger.finish(record)
    directory.finish(record, metrics)
    return record


def _sizes(dataset: DataSet) -> dict[str, int | None]:
    names = ("num_classes", "in_channels", "image_size")
    return {name: getattr(dataset, name) for name in names}


def _record(
    config: GeneratorConfig,
    directory: RunDirectory,
    gan: Gan,
    dataset: DataSet,
    data: ImageData,
    metrics: list[Metrics],
    device: torch.device,
) -> dict[str, Any]:
    kept = {key: config.as_dict()[key] for key in ("run_id", "names", "config")}
    checksum = save_generator(directory.path, gan.generator, data.checksum, kept)
    seconds = sum(row["seconds"] for row in metrics)
    return config.as_dict() | {
        "quality": _quality(config.settings, gan, dataset, data, device),
        "epochs": len(metrics),
        "parameters": {
            part: sum(parameter.numel() for parameter in network.parameters())
            for part, network in (("generator", gan.generator), ("critic", gan.critic))
        },
        "collapsed": metrics[-1]["least_spread"] < COLLAPSED,
        "generator_sha256": checksum,
        "train_images": len(data.train.targets),
        "data_sha256": data.checksum,
        **directory.beginning(),
        "ended": now(),
        "seconds": round(seconds, 3),
        "peak_memory_bytes": peak_memory(device),
        **provenance(device),
    }


def _quality(
    settings: GeneratorSettings, gan: Gan, dataset: DataSet, data: ImageData, device: torch.device
) -> dict[str, Any] | None:
    """Quality in the features of a classifier; None without one, with the reason on stderr."""
    try:
        classifier = find_classifier(
            settings.classifier,
            Path(settings.runs_dir),
            dataset,
            settings.dataset,
            data.checksum,
            settings.allow,
        )
        print(f"quality is measured in the features of {classifier}", file=sys.stderr)
        return measure_quality(gan.generator, classifier, dataset, data, device, settings.allow)._asdict()
    except UserError as error:
        print(f"quality is not measured: {error}; `isda-bench measure` can do it later", file=sys.stderr)
        return None
