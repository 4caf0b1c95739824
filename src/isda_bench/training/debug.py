"""`debug=true`: every part of a run once, in seconds."""

import shutil
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from isda_bench.config.run_config import RunConfig
from isda_bench.config.settings import TrainingRecipe
from isda_bench.data.base import ImageData, Images
from isda_bench.data.generated import GeneratedShare
from isda_bench.errors import UserError
from isda_bench.runtime.ranks import rank
from isda_bench.storage.run_lock import RunLock

STEPS = 2
EVALUATED = 64
"""Images of a debug run's evaluation."""


class SomeImages:
    """Some images of a set, spread evenly over it: a set sorted by class still gives many classes.

    Args:
        images: the whole set.
        count: images wanted; the set itself may have fewer.
    """

    def __init__(self, images: Images, count: int) -> None:
        total = len(images.targets)
        count = min(count, total)
        self.images = images
        self.indices = torch.arange(count, device=images.targets.device) * total // count

    @property
    def random(self) -> bool:
        """As the whole set says."""
        return self.images.random

    @property
    def targets(self) -> Tensor:
        """The chosen images' classes (n,), int64."""
        return self.images.targets[self.indices]

    @property
    def unreadable(self) -> Collection[str]:
        """As the whole set says."""
        return self.images.unreadable

    def to(self, device: torch.device) -> "SomeImages":
        """The chosen images, to give batches on `device`."""
        return SomeImages(self.images.to(device), len(self.indices))

    def batches(self, indices: Sequence[Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """As `Images.batches`; the indices count the chosen images."""
        return self.images.batches([self.indices.to(batch.device)[batch] for batch in indices], seed)


def shortened(
    recipe: TrainingRecipe, data: ImageData, share: GeneratedShare | None = None
) -> tuple[TrainingRecipe, ImageData]:
    """One epoch of `STEPS` steps, and `EVALUATED` images for the evaluation.

    Args:
        recipe: of the whole run.
        data: of the whole run; the checksums stay those of the whole set.
        share: of generated images in a batch.
    """
    real = recipe.batch_size - (share.images(recipe.batch_size) if share else 0)
    train, evaluation = SomeImages(data.train, STEPS * real), SomeImages(data.evaluation, EVALUATED)
    return recipe.model_copy(update={"epochs": 1}), data._replace(train=train, evaluation=evaluation)


def discard_debug_run(config: RunConfig) -> None:
    """Removes the directory of an earlier debug run of this configuration: each starts anew.

    Raises:
        RunLocked: a process trains it now.
        UserError: it cannot be removed, or is a symbolic link.
    """
    directory = config.directory
    if rank() or not directory.exists():
        return
    if directory.is_symlink():
        raise UserError(f"{directory}: is a symbolic link; a debug run removes the earlier one")
    try:
        with RunLock(directory):
            shutil.rmtree(directory)
    except OSError as error:
        raise UserError(f"{directory}: cannot be removed: {error.strerror or error}") from error
