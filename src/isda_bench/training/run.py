"""One run: builds the parts in order and calls fit."""

import sys
from functools import partial
from typing import Any, NamedTuple

import torch

from isda_bench.config.building import ANY_MODULE, build
from isda_bench.config.components import (
    Augmentation,
    MixingComponent,
    build_classifier_and_loss,
    build_dataset,
    component_problems,
    training_set_problems,
)
from isda_bench.config.optimizer_choice import OptimizerChoice
from isda_bench.config.run_config import RunConfig
from isda_bench.config.settings import Settings, TrainingRecipe
from isda_bench.data.base import DataSet, ImageData
from isda_bench.data.image_grid import sample_grid
from isda_bench.data.loader import Loader, Mix, Normalise, evaluation_loader
from isda_bench.errors import ConfigError
from isda_bench.gan.generator_choice import FoundGenerator, find_generator
from isda_bench.monitoring.grid_position import GridPosition
from isda_bench.monitoring.logger_list import build_loggers
from isda_bench.monitoring.loggers import Logger
from isda_bench.monitoring.progress import Display
from isda_bench.runtime.devices import (
    choose_device,
    describe,
    image_layout,
    peak_memory,
    precision_warning,
    prepare_device,
)
from isda_bench.runtime.distributed import (
    all_gather_objects,
    broadcast_object,
    process_group,
    seed_of_rank,
    wrap,
)
from isda_bench.runtime.library_faults import on_device
from isda_bench.runtime.ranks import processes, rank
from isda_bench.storage.confusion import confusion_entry, discard_confusion
from isda_bench.storage.data_check import as_used
from isda_bench.storage.execution import recorded_execution
from isda_bench.storage.provenance import provenance
from isda_bench.storage.record_files import FEW_EPOCHS
from isda_bench.storage.run_directory import RunDirectory, now
from isda_bench.storage.run_once import run_once
from isda_bench.storage.run_results import Metrics, errors_of, means_of
from isda_bench.training.debug import STEPS, discard_debug_run, shortened
from isda_bench.training.evaluate import EvaluationPlan
from isda_bench.training.loop import fit
from isda_bench.training.metrics import Metric, with_further_metrics
from isda_bench.training.schedules import unreached_milestones
from isda_bench.training.step import TrainingModule, can_be_captured, compile_step, planned_execution


def run(config: RunConfig, position: GridPosition | None = None) -> dict[str, Any]:
    """Trains what `config` describes, or resumes it; a finished run is only reported.

    Args:
        config: of the run.
        position: its place in a grid, for the display.

    Returns:
        The run's record.

    Raises:
        ConfigError: listing all that is wrong with the configuration; nothing is written then.
        UserError: the data are missing, a file cannot be written, the loss is not finite, ...
    """
    if not config.setting_problems() and config.settings.debug:
        discard_debug_run(config)
    return run_once(config, component_problems, partial(_train, position=position), summary)


def summary(record: dict[str, Any]) -> str:
    """The result of a run in a line: of a short one the last epoch's error leads, of others the paper's."""
    error = record["error"]
    if record["epochs"] < FEW_EPOCHS:
        numbers = f"{error['final']:.2f}% (last epoch; mean of the last epochs {error['last_10']:.2f}%"
    else:
        numbers = f"{error['last_10']:.2f}% (mean of the last epochs; final {error['final']:.2f}%"
    debug = f"debug run of {STEPS} steps, " if record["config"].get("debug") else ""
    images = f"; images of {record['generator']['run']}" if record.get("generator") else ""
    return f"{record['run_id']}: {debug}{record['split']} error {numbers}, best {error['best']:.2f}%){images}"


def _train(
    config: RunConfig, directory: RunDirectory, position: GridPosition | None = None
) -> dict[str, Any]:
    """Reads the data, then trains under the directory's lock; returns the run's record."""
    settings = config.settings
    device = choose_device(settings.device)
    dataset = build_dataset(settings)
    _announce(config, dataset, device)
    measures = with_further_metrics(settings.evaluate.metrics)
    generator = find_generator(config, dataset, directory)
    data = _load(settings, dataset, generator)
    used = generator.provenance_of_generator(data) if generator else {}
    with process_group(device), directory.locked(used | as_used(data)):
        record = broadcast_object(directory.finished())  # another process may just have finished it
        if record is None:
            prepare_device(device, seed_of_rank(settings.seed), settings.precision)
            parts = _build(config, dataset, data, generator, measures, device)
            record = _fit(config, directory, dataset, parts, position, used)
    return record


class _Parts(NamedTuple):
    """Everything that a training needs, on its device."""

    module: TrainingModule
    recipe: TrainingRecipe
    data: ImageData
    batches: Loader
    evaluation: EvaluationPlan


def _build(
    config: RunConfig,
    dataset: DataSet,
    data: ImageData,
    generator: FoundGenerator | None,
    measures: dict[str, Metric],
    device: torch.device,
) -> _Parts:
    settings, recipe = config.settings, config.settings.schedule
    if settings.debug:
        recipe, data = shortened(recipe, data, generator.share if generator else None)
    module = _build_module(config, dataset, device)
    mix = generator.mix(settings, dataset, device) if generator else None
    batches = _training_loader(settings, dataset, data, device, mix)
    evaluated = evaluation_loader(data.evaluation, dataset, device)
    evaluation = EvaluationPlan(evaluated, data.split, measures, settings.evaluate.every)
    return _Parts(module, recipe, data, batches, evaluation)


def _fit(
    config: RunConfig,
    directory: RunDirectory,
    dataset: DataSet,
    parts: _Parts,
    position: GridPosition | None,
    used: dict[str, Any],
) -> dict[str, Any]:
    """Trains, logs, and writes the record."""
    settings = config.settings
    module, recipe, _, batches, evaluation = parts
    logger: Logger = build_loggers(settings.logger) if rank() == 0 else Logger()
    display = Display(config.run_id, recipe.epochs, len(batches), position)
    choice = OptimizerChoice.of(settings.optimizer)
    with logger.open(config), display:
        if processes() == 1:
            logger.show(partial(sample_grid, batches, dataset, batches.device))
        metrics = fit(
            module, recipe, batches, evaluation, directory, display, logger, settings.checkpoint, choice
        )
        record = _record(config, directory, parts, metrics) | used | _counted_classes(dataset)
        record |= confusion_entry(directory)
        logger.finish(record)
    directory.finish(record, metrics)
    discard_confusion(directory, record)
    return record


def _announce(config: RunConfig, dataset: DataSet, device: torch.device) -> None:
    """Prints the run's device, precision and mode, and warns of settings that may be a mistake."""
    settings, schedule = config.settings, config.settings.schedule
    execution = "compiled" if settings.compile else "eager"
    if device.type == "cuda":
        with torch.device("meta"):
            _, loss = build_classifier_and_loss(settings, dataset)
        execution = planned_execution(device, loss, settings.capture, settings.compile)
    print(f"{config.run_id}: {describe(device, settings.device, settings.precision, execution)}", flush=True)
    warning = precision_warning(device, settings.precision)
    if warning:
        print(f"{config.run_id}: {warning}", file=sys.stderr)
    unreached = unreached_milestones(schedule)
    if unreached:
        print(
            f"{config.run_id}: schedule.milestones={unreached} lie after the last epoch, {schedule.epochs}: "
            f"the learning rate does not drop there",
            file=sys.stderr,
        )


def _load(settings: Settings, dataset: DataSet, generator: FoundGenerator | None) -> ImageData:
    """The data set's images; raises ConfigError where batches cannot be made of them."""
    data = dataset.load()
    share = generator.share if generator else None
    problems = training_set_problems(settings, dataset, len(data.train.targets), share)
    if problems:
        raise ConfigError(problems)
    return data


def _build_module(config: RunConfig, dataset: DataSet, device: torch.device) -> TrainingModule:
    settings = config.settings
    model, loss = build_classifier_and_loss(settings, dataset)
    module = on_device(TrainingModule(model, loss, bf16=settings.precision == "bf16"), device)
    layout = image_layout(device, settings.precision)
    module.model.to(memory_format=layout)  # type: ignore[call-overload]
    module.capture = can_be_captured(module) and settings.capture
    if settings.compile:
        compile_step(module)
    return wrap(module, device)


def _training_loader(
    settings: Settings, dataset: DataSet, data: ImageData, device: torch.device, mix: Mix | None
) -> Loader:
    transforms = [
        build(settings.augment, Augmentation, ANY_MODULE),
        Normalise(dataset.mean, dataset.std, device),
    ]
    mixing = build(settings.mix, MixingComponent, ANY_MODULE) if settings.mix else None
    batch_size = settings.schedule.batch_size
    return Loader(data.train, batch_size, device, transforms, shuffle=True, mix=mix, mixing=mixing)


def _record(
    config: RunConfig,
    directory: RunDirectory,
    parts: _Parts,
    metrics: list[Metrics],
) -> dict[str, Any]:
    model, data, device = parts.module.model, parts.data, parts.batches.device
    seconds = sum(row["seconds"] for row in metrics)
    return config.as_dict() | {
        "split": data.split,
        "error": errors_of(metrics, data.split),
        "metrics": means_of(metrics, data.split),
        **_more(metrics, data),
        **({"pretrained": started_from} if (started_from := model.pretraining()) else {}),
        "epochs": len(metrics),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "train_images": len(data.train.targets),
        "data_sha256": data.checksum,
        **directory.beginning(),
        **recorded_execution(directory),
        "ended": now(),
        "seconds": round(seconds, 3),
        "images_per_second": round(parts.batches.samples * len(metrics) / seconds, 1),
        "peak_memory_bytes": peak_memory(device),
        **provenance(device),
    }


def _counted_classes(dataset: DataSet) -> dict[str, Any]:
    """Names of classes that are counted in a folder: whoever loads the run may not have the folder."""
    if dataset.train_images is not None or not dataset.classes:
        return {}
    return {"classes": list(dataset.classes)}


def _more(metrics: list[Metrics], data: ImageData) -> dict[str, Any]:
    """Keys of some records: top-5 errors, unreadable training images, processes that trained together."""
    more: dict[str, Any] = {}
    if f"{data.split}_top5_error" in metrics[-1]:
        more["top5_error"] = errors_of(metrics, f"{data.split}_top5")
    unreadable = {name for names in all_gather_objects(list(data.train.unreadable)) for name in names}
    if unreadable:
        more["unreadable_images"] = len(unreadable)
    return more | ({"processes": processes()} if processes() > 1 else {})
