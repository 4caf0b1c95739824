"""Builds the data set, the network and the loss of a stored configuration, which can come from anywhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch.nn.modules.module import register_module_module_registration_hook

from isda_bench.config.building import build_stored
from isda_bench.config.run_config import settings_of
from isda_bench.data.base import DataSet
from isda_bench.losses.base import Loss
from isda_bench.models.base import Classifier
from isda_bench.runtime.pretrained_weights import without_pretrained_weights

MOST_LAYERS = 10_000  # of a network and a loss; the deepest of the paper's has some 2,000


class StoredComponents(NamedTuple):
    """The components of a stored configuration."""

    dataset: DataSet
    model: Classifier
    loss: Loss


def build_stored_components(
    source: Path, config: dict[str, Any], allow: tuple[str, ...] = ()
) -> StoredComponents:
    """Data set, network and loss of a stored configuration; the data are not read.

    Args:
        source: the file in which the configuration stands.
        config: the configuration, of the right types.
        allow: modules beside isda_bench whose classes may be built.

    Raises:
        UserError: one of them cannot be built; names file and key.
    """
    settings = settings_of(config)  # with the functions that older components had
    dataset = build_stored(source, "dataset", settings.dataset, DataSet, allow).with_seed(settings.seed)
    sizes = {"num_classes": dataset.num_classes, "in_channels": dataset.in_channels}
    with at_most(MOST_LAYERS), without_pretrained_weights():
        model = build_stored(source, "model", settings.model, Classifier, allow, **sizes)
        sizes = {"num_classes": dataset.num_classes, "feature_dim": model.feature_dim}
        loss = build_stored(source, "loss", settings.loss, Loss, allow, **sizes)
    return StoredComponents(dataset, model, loss)


@contextmanager
def at_most(layers: int) -> Iterator[None]:
    """Stops a network of absurd depth, which would be built for hours.

    Raises:
        ValueError: more layers are made.
    """
    made = 0

    def count(*_: Any) -> None:
        nonlocal made
        made += 1
        if made > layers:
            raise ValueError(f"more than {layers:,} layers; choose a smaller depth")

    hook = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
