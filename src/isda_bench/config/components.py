"""Builds the parts of a run from its configuration."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from isda_bench.config.building import ANY_MODULE, TARGET, build, component_class
from isda_bench.config.metric_functions import metric_problems
from isda_bench.config.mixing_problems import mixing_problems
from isda_bench.config.optimizer_choice import optimizer_problems
from isda_bench.config.problems import problems_of
from isda_bench.config.settings import Settings
from isda_bench.config.several_choices import sections
from isda_bench.config.stored_components import MOST_LAYERS, at_most
from isda_bench.data.base import DataSet
from isda_bench.data.generated import GeneratedShare
from isda_bench.data.loader import MixedBatch
from isda_bench.errors import UserError
from isda_bench.losses.base import Loss
from isda_bench.models.base import Classifier
from isda_bench.runtime.devices import choose_device
from isda_bench.runtime.pretrained_weights import without_pretrained_weights
from isda_bench.runtime.ranks import processes

REHEARSED_IMAGES = 64  # enough that a crop that can leave the image does so among them


@runtime_checkable
class Augmentation(Protocol):
    """Maps images (N, C, H, W), uint8, to augmented ones."""

    def __call__(self, images: Tensor) -> Tensor:
        """The images, augmented."""


@runtime_checkable
class MixingComponent(Protocol):
    """Mixes images (N, C, H, W), float32, and their classes (N,), with one another."""

    def __call__(self, images: Tensor, targets: Tensor) -> MixedBatch:
        """The images, mixed with one another."""


class BuiltComponent(NamedTuple):
    """A component, None where it has problems, and those problems."""

    built: Any
    problems: list[str]


NOTHING = BuiltComponent(None, [])
"""Of an empty section."""


def component_problems(settings: Settings) -> list[str]:
    """Problems of the components: each is built, on no device and without its data."""
    with torch.device("meta"), at_most(MOST_LAYERS):
        dataset = build_component("dataset", DataSet, settings.dataset)
        sizes = dataset.built or _dataset_class(settings)
        given = {"num_classes": _num_classes(sizes)}
        in_channels = getattr(sizes, "in_channels", 3)
        model = build_component("model", Classifier, settings.model, **given, in_channels=in_channels)
        feature_dim = model.built.feature_dim if model.built else 1
        loss = build_component("loss", Loss, settings.loss, **given, feature_dim=feature_dim)
        augment = build_component("augment", Augmentation, settings.augment)
        loggers = [build_component(*part) for part in logger_parts(settings.logger)]
        mix = build_component("mix", MixingComponent, settings.mix) if settings.mix else NOTHING
        parts = [dataset, model, loss, augment, mix, *loggers]
        if settings.generator:
            parts.append(build_component("generator", GeneratedShare, settings.generator))
    problems = [line for part in parts for line in part.problems]
    if settings.evaluate.metrics:
        problems += metric_problems(settings.evaluate.metrics, given["num_classes"])
    problems += optimizer_problems(settings.optimizer, settings.schedule, model.built, loss.built)
    problems += problems_of(lambda: choose_device(settings.device), "")
    if settings.capture is True:
        problems += _capture_problems(settings.device, loss.built)
    if mix.built is not None:
        problems += mixing_problems(mix.built, bool(settings.generator), loss.built, dataset.built)
    if settings.compile:
        problems += _compile_problems(loss.built)
    if settings.generator and dataset.built is not None and dataset.built.train_images is None:
        problems.append("generator: needs a dataset of images kept in memory (digits, cifar10, cifar100)")
    if dataset.built is not None:
        share = parts[-1].built if settings.generator else None
        count = dataset.built.train_count
        wrong_batches = batch_problems(count, settings.schedule.batch_size, share)
        problems += wrong_batches
        if model.built is not None and count is not None and not wrong_batches:
            problems += _single_image_problems(settings, dataset.built, model.built, count, share)
        problems += _rehearsal_problems(dataset.built, model.built, augment.built)
    return problems


def build_dataset(settings: Settings) -> DataSet:
    """The data set of the command line's configuration, not read yet."""
    dataset: DataSet = build(settings.dataset, DataSet, ANY_MODULE)
    return dataset.with_seed(settings.seed)


def build_classifier_and_loss(settings: Settings, dataset: DataSet) -> tuple[Classifier, Loss]:
    """The network and the loss of the command line's configuration."""
    sizes = {"num_classes": dataset.num_classes, "in_channels": dataset.in_channels}
    model: Classifier = build(settings.model, Classifier, ANY_MODULE, **sizes)
    sizes = {"num_classes": dataset.num_classes, "feature_dim": model.feature_dim}
    loss: Loss = build(settings.loss, Loss, ANY_MODULE, **sizes)
    return model, loss


def batch_problems(
    train_count: int | None, batch_size: int, share: GeneratedShare | None = None
) -> list[str]:
    """Problems of the batch size for a training set whose size is known."""
    generated = 0 if share is None else share.images(batch_size)
    if share is not None and not 0 < generated < batch_size:
        return [
            f"generator.fraction={share.fraction}: {generated} generated images "
            f"in a batch of {batch_size}; should leave one of each kind"
        ]
    if share is not None and processes() > 1:
        return [f"generator: no generated images with {processes()} processes; leave generator=none"]
    if train_count is None:
        return []
    if batch_size - generated > train_count:
        return [f"schedule.batch_size={batch_size}: larger than the training set of {train_count} images"]
    smallest = train_count % batch_size or batch_size
    if smallest < processes():
        return [
            f"schedule.batch_size={batch_size}: leaves a last batch of {smallest} images for {processes()} "
            f"processes; another batch size or dataset.train_size avoids that"
        ]
    return []


def training_set_problems(
    settings: Settings, dataset: DataSet, train_count: int, share: GeneratedShare | None = None
) -> list[str]:
    """Problems of the batches of a training set whose size was unknown before it was read."""
    problems = batch_problems(train_count, settings.schedule.batch_size, share)
    if problems or _smallest_part(train_count, settings.schedule.batch_size, share) != 1:
        return problems
    given = {"num_classes": dataset.num_classes, "in_channels": dataset.in_channels}
    with torch.device("meta"):
        model = build_component("model", Classifier, settings.model, **given)
    return _single_image_problems(settings, dataset, model.built, train_count, share) if model.built else []


def _smallest_part(train_count: int, batch_size: int, share: GeneratedShare | None) -> int:
    """Images that a rank gets of the smallest batch of an epoch, with the generated ones."""
    generated = 0 if share is None else share.images(batch_size)
    real = batch_size - generated
    rest = train_count % real or real
    return (rest + round(rest * generated / real)) // processes()


def _single_image_problems(
    settings: Settings,
    dataset: DataSet,
    model: Classifier,
    train_count: int,
    share: GeneratedShare | None,
) -> list[str]:
    """The problem of a last batch of one image: BatchNorm needs two values of each channel."""
    batch_size = settings.schedule.batch_size
    side = dataset.image_size
    if side is None or _smallest_part(train_count, batch_size, share) != 1:
        return []
    try:
        model.train()(torch.zeros(1, dataset.in_channels, side, side, device="meta"))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            return []
        where = f" for one of the {processes()} processes" if processes() > 1 else ""
        return [
            f"schedule.batch_size={batch_size}: the last batch of {train_count} training images has a single "
            f"one{where}, and this network's BatchNorm cannot be trained on that; another batch size or "
            f"dataset.train_size avoids that"
        ]
    except Exception:
        return []  # `_rehearsal_problems` reports it
    return []


def logger_parts(node: dict[str, Any]) -> list[tuple[str, type, dict[str, Any]]]:
    """Section, contract and content of each logger, be it one or several, for `build_component`."""
    return [(section, object, part) for section, part in sections(node).items()]


def build_component(section: str, contract: type, node: dict[str, Any], **given: Any) -> BuiltComponent:
    """The component of a section of the command line's configuration, or its problems.

    Args:
        section: its dotted key.
        contract: the class that it should be of.
        node: the section.
        given: arguments that the run adds.
    """
    if TARGET not in node:
        return BuiltComponent(None, [f"{section}.{TARGET}: not given"])
    built: list[Any] = []
    problems = problems_of(lambda: built.append(_on_meta_or_cpu(node, contract, given)), f"{section}.")
    return BuiltComponent(None if problems else built[0], problems)


def _on_meta_or_cpu(node: dict[str, Any], contract: type, given: dict[str, Any]) -> Any:
    """The component without memory for its weights; with it where the constructor reads a tensor's value.

    Raises:
        ValueError: it cannot be built.
    """
    try:
        return build(node, contract, ANY_MODULE, **given)
    except RuntimeError:
        pass
    except MemoryError as error:
        raise ValueError(f"cannot be built: {error}") from error
    try:
        with torch.device("cpu"), torch.random.fork_rng(devices=[]), without_pretrained_weights():
            built = build(node, contract, ANY_MODULE, **given)
    except (RuntimeError, MemoryError) as error:
        raise ValueError(f"cannot be built: {str(error).partition(chr(10))[0]}") from error
    return built.to("meta") if isinstance(built, nn.Module) else built


def _dataset_class(settings: Settings) -> Any:
    """The data set's class, which knows its number of classes; None if it cannot be found."""
    try:
        return component_class(settings.dataset.get(TARGET), DataSet, ANY_MODULE)
    except ValueError:
        return None


def _num_classes(dataset: Any) -> int:
    """The data set's number of classes; any number if it cannot be found, or is counted in its files."""
    try:
        number = getattr(dataset, "num_classes", 10)
    except UserError:  # the folder is not there, which `load` reports
        return 10
    return number if isinstance(number, int) else 10


def _compile_problems(loss: Loss | None) -> list[str]:
    problems = []
    if loss is not None and not loss.capturable:
        problems.append("compile=true: the shapes of this loss depend on its values; leave compile=false")
    if processes() > 1:
        problems.append(f"compile=true: not with {processes()} processes; leave compile=false")
    return problems


def _capture_problems(device: str, loss: Loss | None) -> list[str]:
    """Reasons against capture=true, in one line."""
    reasons = []
    if loss is not None and not loss.capturable:
        reasons.append("the shapes of this loss depend on its values")
    if processes() > 1:
        reasons.append(f"not with {processes()} processes")
    try:
        on_cpu = choose_device(device).type == "cpu"
    except ValueError:
        on_cpu = False  # reported already
    if on_cpu:
        reasons.append(f"CUDA graphs need a GPU, and device={device} is the CPU")
    return [f"capture=true: {'; '.join(reasons)}; leave capture=auto"] if reasons else []


def _rehearsal_problems(dataset: DataSet, model: Classifier | None, augment: Any) -> list[str]:
    """Components that fail on images of the data set's shape, tried with black ones."""
    if dataset.image_size is None:
        return []
    shape = (REHEARSED_IMAGES, dataset.in_channels, dataset.image_size, dataset.image_size)
    problems = []
    if augment is not None:
        with torch.random.fork_rng(devices=[]):
            problems += _fit_problems("augment", lambda: augment(torch.zeros(shape, dtype=torch.uint8)))
    if model is not None:
        problems += _fit_problems("model", lambda: model(torch.zeros(shape, device="meta")))
    return problems


def _fit_problems(section: str, use: Callable[[], Any]) -> list[str]:
    try:
        use()
    except UserError as error:
        return [str(error)]
    except NotImplementedError:
        return []  # an operation that cannot be tried without values
    except (RuntimeError, IndexError, ValueError, TypeError, AssertionError) as error:
        return [f"{section}: does not fit the images of the data set: {str(error).splitlines()[0]}"]
    return []
