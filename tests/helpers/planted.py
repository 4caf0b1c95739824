"""Stored runs with changed content under a right checksum, and the commands that read them."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from isda_bench.config.generator_config import FOLDER, GeneratorConfig
from isda_bench.config.run_config import RunConfig
from isda_bench.gan.generator_file import FILE, save_generator
from isda_bench.gan.networks import Generator
from isda_bench.storage.checksummed_json import CHECKSUM_KEYS, write_checksummed


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any], consistent: bool = False) -> None:
    """Changes a record.json or run.json and gives it a right checksum.

    Args:
        path: the file.
        change: changes the content in place, or returns another one.
        consistent: whether the ids then are those of the changed configuration.
    """
    content = {key: value for key, value in json.loads(path.read_text()).items() if key not in CHECKSUM_KEYS}
    changed = change(content)
    content = content if changed is None else changed
    if consistent:
        kind = RunConfig if "loss" in content["names"] else GeneratorConfig
        content |= kind(content["config"], content["names"]).as_dict()
    metrics = path.with_name("metrics.jsonl")
    beside = {"metrics.jsonl": metrics.read_bytes()} if path.name == "record.json" else {}
    write_checksummed(path, content, beside)


def rewrite_generator(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes the header of a generator's file, which keeps a right checksum."""
    file = directory / FILE
    with safe_open(file, "pt") as opened:
        metadata = {key: json.loads(value) for key, value in opened.metadata().items() if key != "sha256"}
    weights = load_file(file)
    change(metadata)

    class Held:
        arguments = metadata["arguments"]

        def state_dict(self):
            return weights

    save_generator(directory, Held(), metadata["data_sha256"], metadata["run"])


def write_generator(folder: Path, config: GeneratorConfig, data_sha256: str) -> Path:
    """A finished generator's run, untrained."""
    directory = folder / FOLDER / config.run_id
    directory.mkdir(parents=True)
    generator = Generator(10, 1, 8, width=4, conditional=True)
    run = {key: config.as_dict()[key] for key in ("run_id", "names", "config")}
    checksum = save_generator(directory, generator, data_sha256, run)
    (directory / "metrics.jsonl").write_text('{"epoch": 1, "spread": 1.0}\n')
    more = {"quality": None, "epochs": config.config["schedule"]["epochs"], "seconds": 1.0}
    more |= {"generator_sha256": checksum, "data_sha256": data_sha256, "ended": "2026-01-01T00:00:00+00:00"}
    write_checksummed(directory / "run.json", config.as_dict())
    metrics = {"metrics.jsonl": (directory / "metrics.jsonl").read_bytes()}
    write_checksummed(directory / "record.json", config.as_dict() | more, metrics)
    return directory


def hostile_nodes(marker: Path) -> dict[str, Any]:
    """Nodes that make the folder or file `marker` where they are called or resolved."""
    made = str(marker)
    return {
        "os.makedirs": {"_target_": "os.makedirs", "name": made},
        "os.system": {"_target_": "os.system", "command": f"touch {made}"},
        "open": {"_target_": "builtins.open", "file": made, "mode": "w"},
        "partial": {"_target_": "os.makedirs", "name": made, "_partial_": True},
        "args": {"_target_": "os.makedirs", "_args_": [made]},
        "spawn": {"_target_": "subprocess.Popen", "args": ["touch", made]},
        "walk": {"_target_": "isda_bench.runtime.atomic_files.os.makedirs", "name": made},
        "walk to torch": {"_target_": "isda_bench.losses.base.torch.os.makedirs", "name": made},
        "own function": {
            "_target_": "isda_bench.runtime.atomic_files.write_atomically",
            "path": {"_target_": "pathlib.Path", "_args_": [made]},
            "content": {"_target_": "builtins.bytes"},
        },
        "own class": {"_target_": "isda_bench.storage.run_lock.RunLock", "directory": made},
        "pandas.read_pickle": {"_target_": "pandas.read_pickle", "filepath_or_buffer": f"{made}.pickle"},
        "torch.load": {"_target_": "torch.load", "f": f"{made}.pickle", "weights_only": False},
        "numpy.load": {"_target_": "numpy.load", "file": f"{made}.pickle", "allow_pickle": True},
        "joblib.load": {"_target_": "joblib.load", "filename": f"{made}.pickle"},
        "a module that makes it": {"_target_": "hostile_module.Net"},
        "environment": "${oc.env:HOME}",
        "decode": "${oc.decode:${oc.env:HOME}}",
    }


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each leaf and of each subtree."""
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from leaves(value, (*path, key))


def put(node: Any, path: tuple[Any, ...], value: Any) -> None:
    """Replaces what is at the path; a value of `...` removes it."""
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = deepcopy(value)


@pytest.fixture
def hostile_module(tmp_path, monkeypatch):
    """A module of that name, which makes tmp_path/executed where it is imported."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "hostile_module.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(folder)
