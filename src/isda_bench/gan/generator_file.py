"""Saves a trained generator to a file and loads it.

The file is data: the network is always our `Generator`; nothing that the header names is imported or called.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from isda_bench.config.building import plain_problems
from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.config.problems import problems_of
from isda_bench.errors import UserError
from isda_bench.gan.networks import Generator
from isda_bench.runtime.atomic_files import read_file, write_atomically
from isda_bench.runtime.home_folder import expand_home
from isda_bench.storage.checksummed_json import parse_json
from isda_bench.storage.record_model import config_problems

FILE = "generator.safetensors"
DIGEST = "sha256"


class GeneratorMetadata(NamedTuple):
    """The metadata stored beside a generator's weights."""

    arguments: dict[str, Any]
    """The network's constructor's."""
    data_sha256: str
    """Of the data set on which it was trained."""
    run: dict[str, Any]
    """Run id, names and configuration of its training."""

    @property
    def names(self) -> dict[str, str]:
        """Chosen name of each group; empty where the file lacks them."""
        names: dict[str, str] = self.run.get("names", {})
        return names

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of its training; empty where the file lacks them."""
        config: dict[str, Any] = self.run.get("config", {})
        return config


class _Arguments(BaseModel):
    """Arguments of `Generator` that a run checks; the constructor checks the others."""

    model_config = ConfigDict(strict=True)

    num_classes: int
    in_channels: int
    image_size: int
    conditional: bool = False
    per_class: bool = False
    codes: int = 0


class _Metadata(BaseModel):
    """The types in a file's header."""

    model_config = ConfigDict(strict=True)

    arguments: _Arguments
    data_sha256: str
    run: dict[str, Any]


def save_generator(directory: Path, generator: Generator, data_sha256: str, run: dict[str, Any]) -> str:
    """Writes weights and configuration to <directory>/generator.safetensors.

    Returns:
        The file's SHA-256.

    Raises:
        UserError: it cannot be written.
    """
    described = GeneratorMetadata(generator.arguments, data_sha256, run)
    metadata = {key: json.dumps(value) for key, value in described._asdict().items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()}
    content = save(tensors, metadata | {DIGEST: _digest(metadata, tensors)})
    write_atomically(directory / FILE, content)
    return hashlib.sha256(content).hexdigest()


def load_generator(path: str | Path) -> Generator:
    """The trained generator of the run in directory `path`: frozen, in evaluation mode, on the CPU.

    Its `generate(noise, labels)` maps (N, 100) and (N,) to images (N, channels, H, W), floats from 0 to 255,
    and is differentiable in the noise.

    Raises:
        UserError: the run has no generator, or its file is damaged.
    """
    file = generator_file(path)
    described, weights = _read(file)
    built: list[Generator] = []
    try:
        problems = problems_of(lambda: built.append(_built(described.arguments, weights)), "arguments.")
    except (RuntimeError, MemoryError, OverflowError) as error:
        raise UserError(f"{file}: damaged: {str(error).partition(chr(10))[0]}") from error
    if problems:
        raise UserError(f"{file}: damaged: {'; '.join(problems[:3])}")
    return built[0].eval().requires_grad_(False)


def read_metadata(file: Path) -> GeneratorMetadata:
    """The metadata in `file`.

    Raises:
        UserError: the file is not a generator's, or is damaged.
    """
    return _read(file)[0]


def checksum_of(file: Path) -> str:
    """The file's SHA-256.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return hashlib.sha256(read_file(file)).hexdigest()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from error


def generator_file(path: str | Path) -> Path:
    """The file in a run's directory.

    Raises:
        UserError: the run has no generator.
    """
    directory = expand_home(path)
    file = directory / FILE
    if not file.is_file():
        state = "not finished" if (directory / "run.json").exists() else "no generator's run"
        raise UserError(f"{directory}: is {state} (no {FILE})")
    return file


def _built(arguments: dict[str, Any], weights: dict[str, Tensor]) -> Generator:
    """The network with its weights.

    Raises:
        ValueError, TypeError, RuntimeError: the arguments are wrong, or the weights are of another network.
    """
    with torch.device("meta"):  # a header may ask for any size: memory is taken only where the weights fit
        expected = Generator(**arguments).state_dict()
    wrong = [name for name in expected if name not in weights or expected[name].shape != weights[name].shape]
    if wrong:
        raise RuntimeError(f"{wrong[0]}: not there or of another shape than the header says")
    generator = Generator(**arguments)
    generator.load_state_dict(weights)
    return generator


def _read(file: Path) -> tuple[GeneratorMetadata, dict[str, Tensor]]:
    try:
        weights = load(read_file(file))
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
        digest = metadata.pop(DIGEST, None)  # older files have none
        if digest is not None and digest != _digest(metadata, weights):
            raise ValueError("its content is not what was written")
        parsed = {key: parse_json(metadata[key]) for key in GeneratorMetadata._fields}
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{file}: damaged, or no generator's file: {error}") from error
    problems = _problems(parsed)
    if problems:
        raise UserError(f"{file}: damaged: {'; '.join(problems[:3])}")
    return GeneratorMetadata(*(parsed[key] for key in GeneratorMetadata._fields)), weights


def _problems(metadata: dict[str, Any]) -> list[str]:
    """Problems of a file's header."""
    problems = list(plain_problems(metadata.get("arguments"), "arguments"))
    problems += problems_of(lambda: _Metadata.model_validate(metadata), "")
    if not problems and "config" in metadata["run"]:
        problems += config_problems(metadata["run"], GeneratorConfig)
    return problems


def _digest(metadata: dict[str, str], weights: dict[str, Tensor]) -> str:
    """SHA-256 of a file's metadata and weights."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
