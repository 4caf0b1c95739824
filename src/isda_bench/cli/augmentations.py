"""Writes a picture for each augmentation: rows of images, the original first.

isda-bench augmentations [dataset=cifar10] [root=data] [out=results/augmentations] [seed=0]
"""

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from isda_bench.config.building import ANY_MODULE, build
from isda_bench.config.components import Augmentation, build_dataset
from isda_bench.config.compose import compose_run
from isda_bench.config.options import Options, main
from isda_bench.config.run_config import CONF
from isda_bench.data.image_grid import augmentation_grid, write_grid
from isda_bench.errors import UserError


class AugmentationOptions(Options):
    """Options of the command, given as key=value."""

    dataset: str = "cifar10"
    root: str | None = None
    out: Annotated[str, Field(min_length=1)] = "results/augmentations"
    images: PositiveInt = 10
    draws: PositiveInt = 11
    seed: NonNegativeInt = 0


def show_augmentations(options: AugmentationOptions) -> None:
    """Writes <out>/<dataset>_<augmentation>.png for each file of conf/augment."""
    chosen = [f"dataset={options.dataset}", *([f"dataset.root={options.root}"] if options.root else [])]
    training = build_dataset(compose_run(chosen).settings).load().train
    images, _ = next(training.batches([torch.arange(options.images)], options.seed))
    for name in sorted(path.stem for path in (CONF / "augment").glob("*.yaml")):
        torch.manual_seed(options.seed)
        section = compose_run([*chosen, f"augment={name}"]).settings.augment
        augmentation = build(section, Augmentation, ANY_MODULE)
        path = Path(options.out) / f"{options.dataset}_{name}.png"
        try:
            write_grid(path, augmentation_grid(images, augmentation, options.draws))
            print(path)
        except UserError as error:
            print(f"augment={name}: none: {error}")


def command() -> None:
    """Runs it with the options of the command line."""
    main(AugmentationOptions, show_augmentations, __doc__)
