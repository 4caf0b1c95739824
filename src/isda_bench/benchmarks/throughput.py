"""Images/s of the training loop: in every precision, captured, eager, compiled; several runs at once."""

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from typing import Any

import torch
from hydra.utils import instantiate

from isda_bench.benchmarks.training_step import BATCH, random_loader, training_epoch, training_module
from isda_bench.config.compose import compose_run
from isda_bench.losses import ISDA, CrossEntropy, Loss
from isda_bench.runtime.devices import set_precision
from isda_bench.training.step import TrainingModule, compile_step

CLASSES, CIFAR_IMAGES = 10, 50_000
LOOPS: list[tuple[str, int, type[Loss], str, str]] = [
    ("resnet32", 200, CrossEntropy, "bf16", "captured"),
    ("resnet32", 200, ISDA, "bf16", "captured"),
    ("wrn28_10", 60, CrossEntropy, "bf16", "captured"),
    ("wrn28_10", 60, ISDA, "bf16", "captured"),
    ("resnet110", 100, ISDA, "bf16", "captured"),
    ("resnet32", 200, CrossEntropy, "fp32", "captured"),
    ("resnet32", 200, CrossEntropy, "tf32", "captured"),
    ("wrn28_10", 60, CrossEntropy, "tf32", "captured"),
    ("resnet32", 200, CrossEntropy, "bf16", "eager"),
    ("wrn28_10", 60, CrossEntropy, "bf16", "eager"),
    ("resnet32", 200, ISDA, "bf16", "compiled"),
    ("wrn28_10", 60, ISDA, "bf16", "compiled"),
]
"""Network, batches of an epoch, loss, precision, and the step.

It is captured, as a run has it, or eager (capture=false), or compiled and captured.
"""
TOGETHER = {"cuda": (1, 2, 4, 8), "cpu": (1, 2)}
SECONDS = 10.0
SECONDS_TO_PREPARE = 120.0
_all_ready: Barrier


def throughput_rows(device: torch.device) -> list[dict[str, Any]]:
    """The second epoch of 128 CIFAR-shaped images a batch; the first one compiles and captures.

    Returns:
        Rows of network, loss, precision, step (see `LOOPS`), seconds of the first epoch, images_per_second,
        and the minutes that Table 1's schedule would take on 50,000 images, evaluation left out.
    """
    return [_row(device, *loop) for loop in LOOPS]


def together_rows(device: torch.device) -> list[dict[str, Any]]:
    """ResNet-32 with ISDA, several runs at once, each a process; on a CPU they share the threads.

    Returns:
        Rows of runs, and images_per_second of all of them together.
    """
    return [{"runs": runs, "images_per_second": _together(runs, device)} for runs in TOGETHER[device.type]]


def _row(
    device: torch.device, network: str, batches: int, loss: type[Loss], precision: str, step: str
) -> dict[str, Any]:
    schedule = compose_run([f"model={network}"]).settings.schedule
    module = _module(network, loss, precision, device)
    module.capture = module.capture and step != "eager"
    if step == "compiled":
        compile_step(module)
    epoch, _ = training_epoch(module, random_loader(batches * BATCH, device=device))
    start = time.perf_counter()
    epoch()
    first = time.perf_counter() - start
    rate = epoch()["images_per_second"]
    torch._dynamo.reset()
    return {
        "network": network,
        "loss": loss.__name__,
        "precision": precision,
        "step": step,
        "first_epoch_s": first,
        "images_per_second": rate,
        "run_of_table_1_minutes": schedule.epochs * CIFAR_IMAGES / rate / 60,
    }


def _module(network: str, loss: type[Loss], precision: str, device: torch.device) -> TrainingModule:
    set_precision(precision)
    model = instantiate(compose_run([f"model={network}"]).settings.model, num_classes=CLASSES)
    return training_module(loss(CLASSES, model.feature_dim), model, device, precision)


def _together(runs: int, device: torch.device) -> float:
    spawning = multiprocessing.get_context("spawn")
    ready = spawning.Barrier(runs, timeout=SECONDS_TO_PREPARE)  # one that fails lets no other wait for ever
    threads = max(torch.get_num_threads() // runs, 1)
    with spawning.Pool(runs, _prepare, (ready, threads)) as pool:
        rates = pool.map_async(_rate, [device] * runs, chunksize=1)
        return sum(rates.get(2 * SECONDS_TO_PREPARE))


def _prepare(ready: Barrier, threads: int) -> None:
    global _all_ready
    _all_ready = ready
    torch.set_num_threads(threads)


def _rate(device: torch.device) -> float:
    """Images/s of one of the runs, while the others run."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    precision, batches = ("bf16", 100) if device.type == "cuda" else ("fp32", 4)
    module = _module("resnet32", ISDA, precision, device)
    epoch, _ = training_epoch(module, random_loader(batches * BATCH, device=device))
    epoch()
    _all_ready.wait()
    start, images = time.perf_counter(), 0
    while time.perf_counter() < start + SECONDS:
        epoch()
        images += batches * BATCH
    return images / (time.perf_counter() - start)
