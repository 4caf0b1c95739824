"""Loads a run from its directory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from isda_bench.config.building import build_stored
from isda_bench.config.options import module_names
from isda_bench.config.stored_components import StoredComponents, build_stored_components
from isda_bench.data.base import DataSet
from isda_bench.data.given_images import image_files, read_images
from isda_bench.data.loader import Normalise
from isda_bench.errors import ConfigError, UserError
from isda_bench.losses.base import Loss
from isda_bench.models.base import Classifier
from isda_bench.runtime.home_folder import expand_home
from isda_bench.runtime.library_faults import on_device
from isda_bench.storage import checkpoint
from isda_bench.storage.record_files import RECORD, read_finished

CPU = torch.device("cpu")
BATCH = 64  # images that are read at a time to be predicted


class Prediction(NamedTuple):
    """The likeliest classes of an image.

    Attributes:
        path: of the file.
        classes: numbers of the classes, likeliest first.
        probabilities: of each of them, softmax of the logits.
        problem: why the file cannot be read; empty where it can: then there are no classes.
    """

    path: Path
    classes: tuple[int, ...]
    probabilities: tuple[float, ...]
    problem: str = ""


class LoadedRun(NamedTuple):
    """A finished run: its configuration, its network, its record."""

    config: dict[str, Any]
    """The resolved configuration."""
    model: Classifier
    """The network with its final weights, in evaluation mode, on the CPU."""
    record: dict[str, Any]
    """The content of record.json."""

    def predict(
        self, images: str | Path, top: int = 1, root: str | None = None, allow: str | tuple[str, ...] = ()
    ) -> list[Prediction]:
        """The likeliest classes of image files, decoded and resized as the run's data set does.

        Args:
            images: a file, or a folder with its sub-folders.
            top: classes of each image.
            root: as in `load_run`.
            allow: as in `load_run`.

        Raises:
            UserError: there is no image, or the data set cannot be built.
        """
        dataset = stored_dataset(Path(self.record["run_id"]) / RECORD, self.config, root, allow)
        device = self.model.head.weight.device
        return list(predict(self.model, dataset, image_files(expand_home(images)), top, device))


def load_run(path: str | Path, allow: str | tuple[str, ...] = (), root: str | None = None) -> LoadedRun:
    """The finished run in directory `path`.

    A run is data: only classes of isda_bench are built, and of the modules that `allow` names.

    Args:
        path: the run's directory.
        allow: modules beside isda_bench in which the network, the loss and the data set may be defined; they
            are imported.
        root: where the data set is, if not where it was then; needed where its classes are counted there.

    Raises:
        UserError: it is no run's directory, not finished, its checkpoint is damaged, or its configuration
            names a class that is not allowed.
    """
    directory = expand_home(path)
    record = read_finished(directory)
    if root is not None and "root" in record["config"]["dataset"]:
        record["config"]["dataset"]["root"] = root
    model = on_device(_components(directory, record, allow).model, CPU)
    _restore(model, directory, "model", record)
    return LoadedRun(record["config"], model.eval(), record)


def load_loss(path: str | Path, allow: str | tuple[str, ...] = ()) -> Loss:
    """The loss of a finished run with its learnt or accumulated state (ISDA's statistics, ...).

    Args:
        path: as in `load_run`.
        allow: as in `load_run`.

    Raises:
        UserError: as `load_run`.
    """
    directory = expand_home(path)
    record = read_finished(directory)
    loss = on_device(_components(directory, record, allow).loss, CPU)
    _restore(loss, directory, "loss", record)
    return loss.eval()


def stored_dataset(
    source: Path, config: dict[str, Any], root: str | None = None, allow: str | tuple[str, ...] = ()
) -> DataSet:
    """The data set of a stored configuration, not read yet.

    Args:
        source: the file in which the configuration stands.
        config: the configuration; its `dataset.root` becomes `root`.
        root: where the data are, if not where they were then.
        allow: as in `load_run`.

    Raises:
        ConfigError: the data set has no root.
        UserError: it cannot be built.
    """
    section = config.get("dataset")
    seed = config.get("seed")
    if root is not None and isinstance(section, dict):
        if "root" not in section:
            raise ConfigError([f"root={root}: the data set of this run has no root"])
        section["root"] = root
    dataset: DataSet = build_stored(source, "dataset", section, DataSet, module_names(allow))
    return dataset.with_seed(seed) if isinstance(seed, int) else dataset


@torch.no_grad()
def predict(
    model: Classifier,
    dataset: DataSet,
    files: list[Path],
    top: int = 1,
    device: torch.device | None = None,
    bf16: bool = False,
) -> Iterator[Prediction]:
    """Each file's likeliest classes, in the files' order; the model runs as it does when it is evaluated.

    Args:
        model: on `device`, in evaluation mode.
        dataset: of the training: its `read_image` and normalisation make the network's input.
        files: the images.
        top: classes of each; a data set may have fewer.
        device: of the computation; null: the CPU.
        bf16: whether the network runs under bfloat16 autocast, as in its training.
    """
    device = device or CPU
    normalise = Normalise(dataset.mean, dataset.std, device)
    for start in range(0, len(files), BATCH):
        images, problems = read_images(dataset, files[start : start + BATCH])
        ranked: Iterator[tuple[list[int], list[float]]] = iter(())
        if images:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                logits = model(normalise(torch.stack(images).to(device)))
            best = logits.float().softmax(1).topk(min(top, logits.shape[1]))
            ranked = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        for path in files[start : start + BATCH]:
            if path in problems:
                yield Prediction(path, (), (), problems[path])
            else:
                classes, probabilities = next(ranked)
                yield Prediction(path, tuple(classes), tuple(probabilities))


def class_names(run: LoadedRun, dataset: DataSet) -> Sequence[str] | None:
    """Names of the classes, of the record or of the data set; None where they cannot be read."""
    names: Sequence[str] | None = run.record.get("classes")
    if names is None:
        try:
            names = dataset.classes
        except UserError:  # their folders are not on this machine
            return None
    return names if names and len(names) == run.model.head.out_features else None


def _components(directory: Path, record: dict[str, Any], allow: str | tuple[str, ...]) -> StoredComponents:
    """The run's data set, network and loss; classes that the record names need not be counted again."""
    config, names = record["config"], record.get("classes")
    if names and config["dataset"].get("num_classes", 0) is None:
        config = config | {"dataset": config["dataset"] | {"num_classes": len(names)}}
    return build_stored_components(directory / RECORD, config, module_names(allow))


def _restore(module: nn.Module, directory: Path, part: str, record: dict[str, Any]) -> None:
    """Gives the module the state that it has in the checkpoint of the last epoch.

    Raises:
        UserError: there is no such checkpoint, or it is of another module.
    """
    state = checkpoint.load_newest(directory)
    epochs = record["epochs"]
    try:
        if state is None or len(state["metrics"]) != epochs:
            raise UserError(f"{directory}: no whole checkpoint of the last epoch, {epochs}")
        module.load_state_dict(state[part])
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        line = str(error).partition("\n")[0]
        raise UserError(f"{directory}: its checkpoint is of another {part}: {line}") from error
