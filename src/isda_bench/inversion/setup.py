"""The inputs of an inversion: options, networks, images, all checked before anything is written."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import nn

from isda_bench.config.options import Options
from isda_bench.data.base import DataSet, ImageData
from isda_bench.data.loader import Loader, evaluation_loader
from isda_bench.errors import ConfigError
from isda_bench.gan.generator_file import generator_file, load_generator, read_metadata
from isda_bench.gan.networks import Generator
from isda_bench.inversion.augmented_features import Statistics
from isda_bench.loading import load_loss, load_run, stored_dataset
from isda_bench.losses.isda import ISDA
from isda_bench.models.base import Classifier
from isda_bench.runtime.devices import requested_device, set_precision
from isda_bench.runtime.library_faults import on_device
from isda_bench.storage.record_files import DATA, RECORD

STRENGTH = 0.5  # lambda for a classifier that was trained without ISDA: the paper's
IN_IDENTITY = ("iterations", "images", "augmentations", "eta", "seed", "compile")


class InversionOptions(Options):
    """The options of an inversion.

    Attributes:
        run: directory of the classifier's run.
        generator: directory of the generator's run.
        iterations: of each step; the learning rate falls after each quarter of them.
        images: in the batch, as many of one class as of another where that can be.
        augmentations: of each image; seven as in the paper's Figure 2.
        strength: lambda; null: the run's, 0.5 for one without ISDA.
        eta: weight of the pixels in Step I.
        seed: of the choice of images, the first z and the augmentations.
        nearest: training images shown for each augmented feature.
        out: directory; null: inversions/<run id>-<hash of what decides the result> beside the run.
        root: where the data set is, if not where it was when the classifier was trained.
        device: as train.py's.
        compile: whether the iteration is compiled.
    """

    run: str
    generator: str
    iterations: Annotated[int, Field(gt=0, lt=10**6)] = 10_000
    images: PositiveInt = 10
    augmentations: PositiveInt = 7
    strength: NonNegativeFloat | None = None
    eta: NonNegativeFloat = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    nearest: NonNegativeInt = 0
    out: Annotated[str, Field(min_length=1)] | None = None
    root: str | None = None
    device: str = "auto"
    compile: bool = False


class Setup(NamedTuple):
    """The inputs of an inversion."""

    options: InversionOptions
    device: torch.device
    classifier: Classifier
    """Frozen, in evaluation mode, on the device; as is the generator."""
    generator: Generator
    statistics: Statistics | None
    """ISDA's; None for a classifier that was trained without."""
    strength: float
    """lambda."""
    dataset: DataSet
    data: ImageData
    identity: dict[str, Any]
    """All that decides the result."""

    def training_images(self) -> Loader:
        """All of them, in order, normalised."""
        return evaluation_loader(self.data.train, self.dataset, self.device)


def prepare(options: InversionOptions) -> Setup:
    """Loads and checks everything; writes nothing. The process then computes in single precision.

    Raises:
        ConfigError: options that are wrong or do not fit one another.
        UserError: a run is not there, not finished or damaged; the data set cannot be had.
    """
    device = requested_device(options.device)
    set_precision("fp32")
    config, classifier, record = load_run(options.run, options.allow)
    source = Path(options.run).expanduser() / RECORD
    dataset = stored_dataset(source, config, options.root, options.allow)
    loss, generator = load_loss(options.run, options.allow), load_generator(options.generator)
    kept = read_metadata(generator_file(options.generator))
    if generator.shape != (dataset.in_channels, dataset.image_size, dataset.image_size):
        raise ConfigError(
            [f"generator={options.generator}: makes images of another size than the data set's"]
        )
    data = dataset.load()
    _check(options, data, record.get(DATA), kept.data_sha256)
    own = loss.strength if isinstance(loss, ISDA) else STRENGTH
    strength = own if options.strength is None else options.strength
    identity = {
        "classifier": record["run_id"],
        "classifier_sha256": weights_sha256(classifier),
        "generator": kept.run["run_id"],
        "generator_sha256": weights_sha256(generator),
        "data_sha256": data.checksum,
        "strength": strength,
        "device": device.type,
        **{key: getattr(options, key) for key in IN_IDENTITY},
    }
    statistics = loss.statistics if isinstance(loss, ISDA) else None
    classifier = on_device(classifier.requires_grad_(False), device)
    generator = on_device(generator, device)
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the faster layout
    return Setup(options, device, classifier, generator, statistics, strength, dataset, data, identity)


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _check(options: InversionOptions, data: ImageData, classifiers: str | None, generators: str) -> None:
    """Raises ConfigError if what was trained on other data, or more images are wanted than there are."""
    problems = [
        f"{key}={getattr(options, key)}: was trained on other data: their SHA-256 is {checksum}, "
        f"here it is {data.checksum}; root=... says where they are"
        for key, checksum in (("run", classifiers), ("generator", generators))
        if checksum is not None and checksum != data.checksum
    ]
    count = len(data.train.targets)
    problems += [
        f"{key}={getattr(options, key)}: should be less than the {count} training images"
        for key in ("images", "nearest")
        if getattr(options, key) >= count
    ]
    if problems:
        raise ConfigError(problems)
