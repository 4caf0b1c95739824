"""Checks the components of a generator's training before anything is written."""

from pathlib import Path

import torch

from isda_bench.config.components import build_component, logger_parts
from isda_bench.config.generator_config import GeneratorSettings
from isda_bench.config.problems import problems_of
from isda_bench.data.base import DataSet
from isda_bench.errors import UserError
from isda_bench.gan.base import Gan
from isda_bench.runtime.devices import choose_device
from isda_bench.runtime.ranks import processes
from isda_bench.storage.record_files import read_finished


def component_problems(settings: GeneratorSettings) -> list[str]:
    """The problems of the components; each is built on no device and without its data."""
    with torch.device("meta"):
        dataset = build_component("dataset", DataSet, settings.dataset)
        loggers = [build_component(*part) for part in logger_parts(settings.logger)]
        problems = dataset.problems + [line for logger in loggers for line in logger.problems]
        if dataset.built is not None:
            problems += _generator_problems(settings, dataset.built)
    problems += problems_of(lambda: choose_device(settings.device), "")
    if processes() > 1:
        problems.append("train_generator: one process; start it without torchrun")
    if settings.classifier is not None:
        problems += _classifier_problems(settings.classifier)
    return problems


def _generator_problems(settings: GeneratorSettings, dataset: DataSet) -> list[str]:
    if dataset.image_size is None:
        return ["dataset: its images are not of one size; the generators make square images of one size"]
    sizes = {"num_classes": dataset.num_classes, "in_channels": dataset.in_channels}
    return build_component(
        "generator", Gan, settings.generator, **sizes, image_size=dataset.image_size
    ).problems


def _classifier_problems(classifier: str) -> list[str]:
    try:
        read_finished(Path(classifier).expanduser())
    except UserError as error:
        return [f"classifier={classifier}: {error}"]
    return []
