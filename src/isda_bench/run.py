"""One run: builds the parts in order and calls fit."""

import gc
import sys
from functools import partial
from typing import Any

import torch
from hydra.utils import instantiate

from isda_bench.build import build_dataset, choose_device
from isda_bench.checkpoint import checkpoints
from isda_bench.config import RunConfig, check
from isda_bench.data.augment_grid import sample_grid
from isda_bench.data.base import DataSet, ImageData
from isda_bench.data.loader import Loader, Normalise, evaluation_loader
from isda_bench.display import Display
from isda_bench.loop import fit
from isda_bench.provenance import peak_memory, provenance, reset_peak_memory
from isda_bench.record import Metrics, RunDirectory, errors_of, now
from isda_bench.schedules import unreached_milestones
from isda_bench.training_module import TrainingModule


def run(config: RunConfig) -> dict[str, Any]:
    """Trains what `config` describes, or goes on with it; a finished run is only told again.

    Returns:
        The run's record.

    Raises:
        ConfigError: listing all that is wrong with the configuration; nothing is written then.
        UserError: the data cannot be had, something cannot be written, the loss is not finite, ...
    """
    check(config.config)
    directory = RunDirectory(config)
    record = directory.finished()
    if record is not None:
        print(f"{summary(record)} (finished already)")
        return record
    _warn(config)
    try:
        record = _train(config, directory)
    finally:
        _free_memory()
    print(summary(record))
    return record


def summary(record: dict[str, Any]) -> str:
    """The result of a run in a line."""
    error = record["error"]
    return (
        f"{record['run_id']}: {record['split']} error {error['last_10']:.2f}% "
        f"(mean of the last epochs; final {error['final']:.2f}%, best {error['best']:.2f}%)"
    )


def _warn(config: RunConfig) -> None:
    """Says what is legal and perhaps not meant."""
    schedule = config.settings.schedule
    unreached = unreached_milestones(schedule)
    if unreached:
        print(
            f"{config.run_id}: schedule.milestones={unreached} lie after the last epoch, {schedule.epochs}: "
            f"the learning rate does not drop there",
            file=sys.stderr,
        )


def _train(config: RunConfig, directory: RunDirectory) -> dict[str, Any]:
    settings = config.settings
    device = choose_device(settings.device)
    dataset = build_dataset(settings)
    data = dataset.load()
    with directory.locked():
        record = directory.finished()  # another process may just have ended it
        if record is not None:
            return record
        if device.type == "cuda":
            torch.cuda.set_device(device)  # whose random state the checkpoints keep
        reset_peak_memory(device)
        torch.manual_seed(settings.seed)
        _set_precision(settings.precision)
        module = _build_module(config, dataset, device)
        batches, evaluation = _loaders(config, dataset, data, device)
        logger = instantiate(settings.logger)
        display = Display(config.run_id, settings.schedule.epochs, len(batches))
        with logger.open(config), display:
            if not checkpoints(directory.path):  # a run that goes on has shown it
                logger.show(partial(sample_grid, batches, dataset.mean, dataset.std, device))
            metrics = fit(
                module,
                settings.schedule,
                batches,
                evaluation,
                data.split,
                directory,
                display,
                logger,
                evaluate_every=settings.evaluate.every,
                checkpoint_every=settings.checkpoint.every,
            )
            record = _record(config, directory, module, data, metrics, device)
            logger.finish(record)
        directory.finish(record, metrics)
    return record


def _build_module(config: RunConfig, dataset: DataSet, device: torch.device) -> TrainingModule:
    settings = config.settings
    model = instantiate(settings.model, num_classes=dataset.num_classes, in_channels=dataset.in_channels)
    loss = instantiate(settings.loss, num_classes=dataset.num_classes, feature_dim=model.feature_dim)
    module = TrainingModule(model, loss, bf16=settings.precision == "bf16").to(device)
    module.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the faster layout
    return module


def _loaders(
    config: RunConfig, dataset: DataSet, data: ImageData, device: torch.device
) -> tuple[Loader, Loader]:
    settings = config.settings
    transforms = [instantiate(settings.augment), Normalise(dataset.mean, dataset.std, device)]
    training = Loader(data.train, settings.schedule.batch_size, device, transforms, shuffle=True)
    return training, evaluation_loader(data.evaluation, dataset, device)


def _set_precision(precision: str) -> None:
    """TF32 is for the convolutions alone: statistics and loss are taken in float32."""
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = False


def _record(
    config: RunConfig,
    directory: RunDirectory,
    module: TrainingModule,
    data: ImageData,
    metrics: list[Metrics],
    device: torch.device,
) -> dict[str, Any]:
    seconds = sum(row["seconds"] for row in metrics)
    samples = len(data.train.targets) * len(metrics)
    return config.as_dict() | {
        "split": data.split,
        "error": errors_of(metrics, data.split),
        "epochs": len(metrics),
        "parameters": sum(parameter.numel() for parameter in module.model.parameters()),
        "train_images": len(data.train.targets),
        "data_sha256": data.checksum,
        **directory.beginning(),
        "ended": now(),
        "seconds": round(seconds, 3),
        "images_per_second": round(samples / seconds, 1),
        "peak_memory_bytes": peak_memory(device),
        **provenance(device),
    }


def _free_memory() -> None:
    """Jobs of a grid share a process."""
    gc.collect()
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
