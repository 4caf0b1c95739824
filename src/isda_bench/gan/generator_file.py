"""Saves a trained generator to a file and loads it."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from isda_bench.errors import UserError
from isda_bench.gan.networks import Generator
from isda_bench.runtime.atomic_files import write_atomically

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


def save_generator(directory: Path, generator: Generator, data_sha256: str, run: dict[str, Any]) -> str:
    """Writes weights and configuration to <directory>/generator.safetensors.

    Returns:
        The file's SHA-256.

    Raises:
        UserError: it cannot be written.
    """
    kept = GeneratorMetadata(generator.arguments, data_sha256, run)
    metadata = {key: json.dumps(value) for key, value in kept._asdict().items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()}
    content = save(tensors, metadata | {DIGEST: _digest(metadata, tensors)})
    write_atomically(directory / FILE, content)
    return hashlib.sha256(content).hexdigest()


def load_generator(path: str | Path) -> Generator:
    """The trained generator of the run in directory `path`: frozen, in evaluation mode, on the CPU.

    Its `generate(noise, labels)` maps (N, 100) and (N,) to images (N, channels, H, W), floats from 0 to 255,
    and is differentiable in the noise.

    Raises:
        UserError: there is none, or it is damaged.
    """
    file = generator_file(path)
    kept, weights = _read(file)
    generator = Generator(**kept.arguments)
    try:
        generator.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{file}: damaged: {str(error).splitlines()[0]}") from error
    return generator.eval().requires_grad_(False)


def read_metadata(file: Path) -> GeneratorMetadata:
    """The metadata in `file`.

    Raises:
        UserError: it is no generator's file, or damaged.
    """
    return _read(file)[0]


def _read(file: Path) -> tuple[GeneratorMetadata, dict[str, Tensor]]:
    try:
        weights = load(file.read_bytes())
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
        digest = metadata.pop(DIGEST, None)  # older files have none
        if digest is not None and digest != _digest(metadata, weights):
            raise ValueError("what is in it is not what was written")
        return GeneratorMetadata(*(json.loads(metadata[key]) for key in GeneratorMetadata._fields)), weights
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{file}: damaged, or no generator's file: {error}") from error


def _digest(metadata: dict[str, str], weights: dict[str, Tensor]) -> str:
    """SHA-256 of all that is in a file."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def checksum_of(file: Path) -> str:
    """The file's SHA-256."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def generator_file(path: str | Path) -> Path:
    """The file in a run's directory.

    Raises:
        UserError: there is none.
    """
    directory = Path(path).expanduser()
    file = directory / FILE
    if not file.is_file():
        state = "not finished" if (directory / "run.json").exists() else "no generator's run"
        raise UserError(f"{directory}: is {state} (no {FILE})")
    return file
