"""Finds the trained generator of a classifier's run, and refuses one that does not fit."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch

from isda_bench.config.building import ANY_MODULE, build
from isda_bench.config.generator_config import FOLDER, GeneratorConfig
from isda_bench.config.problems import did_you_mean
from isda_bench.config.run_config import RunConfig
from isda_bench.config.settings import Settings
from isda_bench.data.base import DataSet, ImageData
from isda_bench.data.generated import GeneratedShare
from isda_bench.data.loader import Normalise
from isda_bench.errors import ConfigError, UserError
from isda_bench.gan.generated_images import Generated
from isda_bench.gan.generator_file import FILE, GeneratorMetadata, checksum_of, load_generator, read_metadata
from isda_bench.storage.record_files import readable_records
from isda_bench.storage.run_directory import RunDirectory


class FoundGenerator(NamedTuple):
    """A trained generator that fits a run."""

    directory: Path
    metadata: GeneratorMetadata
    share: GeneratedShare

    def provenance_of_generator(self, data: ImageData) -> dict[str, Any]:
        """The entry of the generator in a run's run.json and record.

        Raises:
            UserError: it was trained on other images than `data`.
        """
        if self.metadata.data_sha256 != data.checksum:
            raise UserError(
                f"generator.run: {self.directory} was trained on other images than these: their SHA-256 is "
                f"{self.metadata.data_sha256}, here it is {data.checksum}; generator.run=... names "
                f"another one, dataset.root=... other data"
            )
        return {"generator": {"run": self.directory.name, "sha256": checksum_of(self.directory / FILE)}}

    def mix(self, settings: Settings, dataset: DataSet, device: torch.device) -> Generated:
        """The generated images that complete a run's batches, on the device."""
        generator = load_generator(self.directory).to(device)
        batch_size = settings.schedule.batch_size
        normalise = Normalise(dataset.mean, dataset.std, device)
        count = self.share.images(batch_size)
        bf16 = settings.precision == "bf16"
        return Generated(generator, dataset.num_classes, batch_size, count, normalise, bf16)


def find_generator(config: RunConfig, dataset: DataSet, directory: RunDirectory) -> FoundGenerator | None:
    """The generator that the run started with, else the requested one, else the newest that fits.

    The choice is reported on stderr.

    Returns:
        None for a run without generated images.

    Raises:
        ConfigError: no generator fits, or the requested one does not.
        UserError: the generator that the run started with no longer exists.
    """
    section = config.settings.generator
    if not section:
        return None
    share: GeneratedShare = build(section, GeneratedShare, ANY_MODULE)
    folder = Path(config.settings.runs_dir).expanduser() / FOLDER
    used = directory.run_json().get("generator")
    if used is not None:
        found, why = _used_before(folder, used, share), "the run started with it"
    elif share.run is not None:
        found, why = _requested(folder, share.run), "as requested"
        problems = _misfits(found, config, dataset, share.kind)
        if problems:
            raise ConfigError([f"generator.run={share.run}: {problem}" for problem in problems])
    else:
        fitting = [path for path in _newest_first(folder) if _fits(path, config, dataset, share.kind)]
        if not fitting:
            raise ConfigError([_none_found(folder, config, share.kind)])
        found, why = fitting[0], "the only one" if len(fitting) == 1 else f"the newest of {len(fitting)}"
    metadata = read_metadata(found / FILE)
    if _saw_held_out_images(metadata.config.get("dataset", {}), dataset):
        why += "; it was trained on images that this run leaves out"
    print(f"{config.run_id}: generated images come from {found} ({why})", file=sys.stderr)
    return FoundGenerator(found, metadata, share)


def _newest_first(folder: Path) -> list[Path]:
    """Directories of the finished runs; those that cannot be read are skipped with a line on stderr."""
    times = {
        path.parent: (record.get("ended") or "", path.stat().st_mtime_ns)
        for path, record in readable_records(folder, GeneratorConfig)
        if (path.parent / FILE).is_file()
    }
    return sorted(times, key=lambda path: times[path], reverse=True)


def _requested(folder: Path, run: str) -> Path:
    """The directory `run`, or the one of this name in `folder`."""
    for path in (Path(run).expanduser(), folder / run):
        if (path / FILE).is_file() and (path / "record.json").is_file():
            return path if path.name else path.resolve()
        if (path / "run.json").is_file():
            raise ConfigError([f"generator.run={run}: its training is not finished"])
    names = sorted(path.name for path in _newest_first(folder))
    hint = did_you_mean(run, names) if names else f"; there is none in {folder}"
    raise ConfigError([f"generator.run={run}: no generator's run{hint}"])


def _used_before(folder: Path, used: dict[str, Any], share: GeneratedShare) -> Path:
    """The directory of the generator that the run has used so far."""
    name = used["run"]
    for path in (folder / name, Path(share.run or "").expanduser()):
        if path.name == name and (path / FILE).is_file():
            if checksum_of(path / FILE) == used["sha256"]:
                return path
            raise UserError(
                f"{path}: is not the generator that this run started with, though it has its name"
            )
    raise UserError(f"generator {name} of this run's start is no longer in {folder}")


def _fits(found: Path, config: RunConfig, dataset: DataSet, kind: str) -> bool:
    """Whether the generator in `found` fits the run; one that cannot be read is skipped."""
    try:
        return not _misfits(found, config, dataset, kind)
    except UserError as error:
        print(f"skipped: {error}", file=sys.stderr)
        return False


def _misfits(found: Path, config: RunConfig, dataset: DataSet, kind: str) -> list[str]:
    """Reasons why the generator in `found` does not fit the run."""
    metadata = read_metadata(found / FILE)
    made, trained_on = metadata.names.get("generator"), metadata.config.get("dataset", {})
    problems = []
    if made != kind:
        problems.append(f"is a generator of another kind, {made}, not {kind}")
    if trained_on.get("_target_") != config.settings.dataset["_target_"]:
        problems.append(f"was trained on another data set, {metadata.names.get('dataset')}")
    arguments = metadata.arguments
    if arguments["num_classes"] != dataset.num_classes:
        problems.append(f"has {arguments['num_classes']} classes, the data set {dataset.num_classes}")
    shape = (arguments["in_channels"], arguments["image_size"])
    if shape != (dataset.in_channels, dataset.image_size):
        problems.append(f"makes images of {shape[0]}x{shape[1]}x{shape[1]}")
    if not (arguments.get("conditional") or arguments.get("per_class")):
        problems.append("was trained with generator.per_class=false: its images have no class")
    if not problems and _drawn_otherwise(metadata.run["config"], dataset):
        problems.append(
            "was trained on another draw of the training images (dataset.resample with split_seed and seed, "
            "dataset.imbalance)"
        )
    if not problems and dataset.val_size and _saw_held_out_images(trained_on, dataset):
        problems.append("was trained on images that this run holds out for its evaluation (dataset.val_size)")
    return problems


def _drawn_otherwise(generators: dict[str, Any], dataset: DataSet) -> bool:
    """Whether the generator's training images come from another long tail, or from another seed's draw.

    Args:
        generators: configuration of the generator's run.
        dataset: of the classifier's run.
    """
    trained_on = generators["dataset"]
    if (trained_on.get("imbalance"), trained_on.get("resample", False)) != (
        dataset.imbalance,
        dataset.resample,
    ):
        return True
    drawn = trained_on.get("split_seed"), generators["seed"]
    return dataset.resample and drawn != (dataset.split_seed, dataset.seed)


def _saw_held_out_images(trained_on: dict[str, Any], dataset: DataSet) -> bool:
    """Whether the generator saw images that the run does not train on.

    Of two subsets of one split the smaller lies in the larger.
    """
    whole = dataset.train_images or 0
    size = whole - dataset.val_size if dataset.train_size is None else dataset.train_size
    if size == whole:
        return False
    images = trained_on.get("train_size") or whole - trained_on.get("val_size", 0)
    return images > size or trained_on.get("split_seed") != dataset.split_seed


def _none_found(folder: Path, config: RunConfig, kind: str) -> str:
    return (
        f"generator={kind}: no generator in {folder} is trained on these images; "
        f"make one: {_command(config, kind)}"
    )


def _command(config: RunConfig, kind: str) -> str:
    """The command that trains the generator that the run lacks."""
    words = ["isda-bench generator", f"generator={kind}", f"dataset={config.names['dataset']}"]
    usual = {"train_size": None, "val_size": 0, "split_seed": 0, "root": "data"}
    usual |= {"resample": False, "imbalance": None}
    chosen = config.settings.dataset
    words += [f"dataset.{key}={chosen[key]}" for key in usual if key in chosen and chosen[key] != usual[key]]
    if chosen.get("resample"):
        words.append(f"seed={config.settings.seed}")
    if config.settings.runs_dir != "runs":
        words.append(f"runs_dir={config.settings.runs_dir}")
    return " ".join(words)
