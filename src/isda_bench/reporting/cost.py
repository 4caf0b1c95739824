"""Images a second that a GPU trains on: measured where a record or a benchmark has it, else from FLOPs."""

import json
import statistics
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from isda_bench import models
from isda_bench.config.building import build
from isda_bench.config.composition_cache import remembered
from isda_bench.config.problems import problems_of
from isda_bench.errors import UserError
from isda_bench.models.base import Classifier
from isda_bench.reporting.gpu_sharing import alone_on_their_gpu
from isda_bench.storage.checksummed_json import read_checksummed

OWN_NETWORKS = "isda_bench.models"
ASSUMED_FLOPS = 10e12
"""A second on one GPU, where nothing was measured: what convolutions of this size sustain in single precision
on a GPU of a data centre."""


class Rate(NamedTuple):
    """Images a second, where the number comes from, and for which device it is."""

    images_per_second: float
    source: str
    device: str


class _Stored(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Rate(_Stored):
    network: str
    precision: str = "fp32"
    images_per_second: Annotated[float, Field(ge=0)]


class _BareStep(_Stored):
    network: str
    precision: str = "fp32"
    batch_size: PositiveInt
    step_ms: Annotated[float, Field(gt=0)]


class _Layouts(_Stored):
    """Images/s of a bare step with images in either layout."""

    network: str
    precision: str
    channels_last: Annotated[float, Field(gt=0)]
    contiguous: Annotated[float, Field(gt=0)]


class _Rows(_Stored):
    step: list[_Rate] = []
    throughput: list[_Rate] = []
    steps: list[_BareStep] = []
    layouts: list[_Layouts] = []


class _Device(_Stored):
    type: str
    name: str = ""


class _Benchmark(_Stored):
    """A benchmark file, as far as rates are read from it."""

    device: _Device | None = None
    rows: _Rows = _Rows()


class Rates:
    """Rates of GPUs.

    Args:
        records: records of finished runs; those that shared their GPU do not count.
        benchmarks: contents of benchmark files.
    """

    def __init__(self, records: list[dict[str, Any]], benchmarks: list[dict[str, Any]]) -> None:
        self.by_run: dict[tuple[str, str, str], list[tuple[float, str]]] = defaultdict(list)
        self.by_network: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
        self.by_bare_step: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
        for record in alone_on_their_gpu(records):
            # Older records lack the mode: their steps were captured.
            captured = record.get("execution", "captured") == "captured"
            if captured and record.get("images_per_second"):
                names = record["names"]
                key = (names["model"], names["dataset"], record["config"].get("precision", "fp32"))
                a_gpu = record["images_per_second"] / record.get("processes", 1)
                self.by_run[key].append((a_gpu, record["device"]["name"]))
        for benchmark in filter(_on_gpu, benchmarks):
            parts, name = benchmark.get("rows", {}), benchmark["device"]["name"]
            for row in parts.get("step", []) + parts.get("throughput", []):
                if row.get("step", "captured") == "captured":  # as a run has it
                    key_of = row["network"], row.get("precision", "fp32")
                    self.by_network[key_of].append((row["images_per_second"], name))
            for row in parts.get("steps", []):
                rate = 1000 * row["batch_size"] / row["step_ms"]
                self.by_bare_step[row["network"], row.get("precision", "fp32")].append((rate, name))
            for row in parts.get("layouts", []):
                rate = max(row["channels_last"], row["contiguous"])  # a run has the faster one
                self.by_bare_step[row["network"], row["precision"]].append((rate, name))

    def of(self, model: str, dataset: str, precision: str, flops: int) -> Rate:
        """The rate of a network.

        Args:
            model: its name.
            dataset: the data set's name.
            precision: of the training.
            flops: of one image's forward and backward pass.
        """
        if found := self.by_run.get((model, dataset, precision)):
            return _median(found, "records")
        if found := self.by_network.get((model, precision)):
            return _median(found, "benchmark")
        if found := self.by_bare_step.get((model, precision)):
            return _median(found, "bare step")
        assumed = f"assumed: a GPU that sustains {ASSUMED_FLOPS / 1e12:g} TFLOP/s"
        return Rate(ASSUMED_FLOPS / flops, "FLOPs", assumed)


def read_benchmarks(folder: Path) -> list[dict[str, Any]]:
    """The benchmark files in `folder`.

    Raises:
        UserError: one is damaged.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        content = read_checksummed(path)
        problems = problems_of(lambda: _Benchmark.model_validate(content), "")  # noqa: B023
        if problems:
            raise UserError(f"{path}: damaged: {problems[0]}")
        found.append(content)
    return found


def training_flops(
    model: dict[str, Any], num_classes: int, in_channels: int, side: int, allow: tuple[str, ...] = ()
) -> int:
    """FLOPs of one image's forward and backward pass, the latter counted as two forward ones.

    Args:
        model: the configuration of the network.
        num_classes: C.
        in_channels: channels of the images.
        side: their height and width.
        allow: modules beside isda_bench whose networks may be built.

    Raises:
        ValueError: it is no configuration of a network that may be built.
    """
    return _training_flops(json.dumps(model, sort_keys=True), num_classes, in_channels, side, allow)


@cache
def _training_flops(model: str, num_classes: int, in_channels: int, side: int, allow: tuple[str, ...]) -> int:
    """As `training_flops`."""
    if not str(json.loads(model).get("_target_")).startswith(f"{OWN_NETWORKS}."):
        network, batch = _on_meta(model, num_classes, in_channels, side, allow)
        return 3 * _flops(lambda: network(batch))
    below_head, feature_dim = _own_flops(model, in_channels, side)
    return 3 * (below_head + 2 * feature_dim * num_classes)


@cache
def _own_flops(model: str, in_channels: int, side: int) -> tuple[int, int]:
    """FLOPs of the features of a network of ours, forwards, and their number A; kept on disk."""

    def counted() -> list[int]:
        network, batch = _on_meta(model, 2, in_channels, side)
        return [_flops(lambda: network.features(batch)), network.feature_dim]

    libraries = [f"{name} {version(name)}" for name in ("torch", "timm")]
    asked = ["FLOPs below the head", *libraries, model, f"{in_channels} {side}"]
    flops, feature_dim = remembered(asked, Path(models.__file__).parent, counted)
    return int(flops), int(feature_dim)


def _on_meta(
    model: str, num_classes: int, in_channels: int, side: int, allow: tuple[str, ...] = ()
) -> tuple[Classifier, torch.Tensor]:
    """A network and an image for it, without values; the network without its batch norms.

    These are not counted, and take longer than all the rest on this device.
    """
    with torch.device("meta"):
        given = {"num_classes": num_classes, "in_channels": in_channels}
        network: Classifier = build(json.loads(model), Classifier, allow, **given)
        batch = torch.empty(1, in_channels, side, side)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.forward = _unchanged  # type: ignore[method-assign, assignment]
    return network, batch


def _flops(forward: Callable[[], torch.Tensor]) -> int:
    with FlopCounterMode(display=False) as counter:
        forward()
    return int(counter.get_total_flops())


def _unchanged(images: torch.Tensor) -> torch.Tensor:
    return images


def _median(found: list[tuple[float, str]], source: str) -> Rate:
    devices = ", ".join(sorted({device for _, device in found}))
    return Rate(statistics.median(rate for rate, _ in found), source, devices)


def _on_gpu(content: dict[str, Any]) -> bool:
    return (content.get("device") or {}).get("type") == "cuda"
