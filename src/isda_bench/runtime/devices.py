"""The device of a run, and how exactly it computes."""

import multiprocessing
import os
from pathlib import Path

import torch

from isda_bench.errors import ConfigError
from isda_bench.runtime.ranks import local_processes, local_rank, processes

TENSOR_CORES = (8, 0)
"""Compute capability of the first GPUs (Ampere) with units for bfloat16 and TF32."""
NO_CUDA = "this torch has no CUDA"
NVIDIA, DISPLAY = "0x10de", "0x03"
"""Vendor of a PCI device, and the beginning of its class."""
_STATUS = Path("/proc/self/status")


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one, `spread` gives the processes the GPUs in turn.

    Of several processes that train one network together each takes its own.

    Raises:
        ValueError: there is no such device, or CUDA cannot use it; the message has torch's reason.
    """
    if name == "cpu":
        return torch.device("cpu")
    problem = cuda_problem()
    gpus = 0 if problem else torch.cuda.device_count()
    if name in ("auto", "spread") and not gpus:
        return torch.device("cpu")
    if processes() > 1:
        if name not in ("auto", "cuda"):
            raise ValueError(f"device={name}: one for {processes()} processes; should be auto, cuda or cpu")
        if gpus < local_processes():
            raise ValueError(
                f"device={name}: {gpus} GPUs for the {local_processes()} processes of this machine"
                f"{_why(problem)}; start as many as there are GPUs, or give device=cpu"
            )
        return torch.device("cuda", local_rank())
    if name == "spread":
        return torch.device("cuda", _worker() % gpus)
    available = ["cpu", *(f"cuda:{i}" for i in range(gpus))]
    wanted = "cuda:0" if name in ("auto", "cuda") else name
    if wanted not in available:
        raise ValueError(
            f"device={name}: no such device here{_why(problem)}; "
            f"there are: auto, spread, {', '.join(available)}"
        )
    return torch.device(wanted)


def requested_device(name: str) -> torch.device:
    """`choose_device` of a command's option.

    Raises:
        ConfigError: there is no such device.
    """
    try:
        return choose_device(name)
    except ValueError as error:
        raise ConfigError([str(error)]) from error


def cuda_problem() -> str | None:
    """Why no GPU can be used, in torch's words; None where one can.

    It initialises CUDA: a driver that does not fit torch's CUDA still counts its devices.
    """
    try:
        torch.cuda.init()
    except AssertionError:
        return NO_CUDA
    except Exception as error:  # RuntimeError, or DeferredCudaCallError
        return " ".join(str(error).split()) or type(error).__name__
    return None if torch.cuda.device_count() else "CUDA finds no GPU"


def unusable_gpu() -> str | None:
    """Why this machine's GPU cannot be used, in torch's words; None where one can, or there is none.

    Where torch has no CUDA or finds no driver, the PCI devices show whether there is a GPU.
    """
    problem = cuda_problem()
    if problem is None or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):  # the user hides the GPUs
        return None
    no_answer = problem == NO_CUDA or "Found no NVIDIA driver" in problem
    if no_answer and not has_nvidia_gpu():
        return None
    return f"a GPU is there, and {problem}" if problem == NO_CUDA else problem


def has_nvidia_gpu(pci: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Whether there is a graphics or compute device of NVIDIA; False on systems other than Linux.

    Args:
        pci: the kernel's folder of PCI devices.
    """
    return any(
        _word(vendor) == NVIDIA and _word(vendor.with_name("class")).startswith(DISPLAY)
        for vendor in pci.glob("*/vendor")
    )


def _word(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _why(problem: str | None) -> str:
    return f" ({problem})" if problem else ""


def _worker() -> int:
    """Number of this process among those of a launcher (LokyProcess-1, LokyProcess-2, ...), from 0."""
    number = multiprocessing.current_process().name.rpartition("-")[2]
    return int(number) - 1 if number.isdigit() else 0


def describe(device: torch.device, wanted: str, precision: str, execution: str) -> str:
    """Device, precision and mode in a line; of a CPU that `auto` has chosen also the reason.

    Args:
        device: the one that was chosen.
        wanted: the name in the configuration.
        precision: fp32, tf32 or bf16.
        execution: how steps are executed: eager, captured, compiled, ...
    """
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {precision}, {execution}"
    threads = torch.get_num_threads()
    words = [f"CPU, {threads} thread{'s' * (threads > 1)}"]
    words += [word for word, usual in ((precision, "fp32"), (execution, "eager")) if word != usual]
    problem = cuda_problem() if wanted in ("auto", "spread") else None
    return ", ".join(words) + (f": {problem}" if problem else "")


def precision_warning(device: torch.device, precision: str) -> str | None:
    """A warning for a GPU that lacks units for the precision; None where it has them."""
    if device.type != "cuda" or precision == "fp32":
        return None
    capability = torch.cuda.get_device_capability(device)
    if capability >= TENSOR_CORES:
        return None
    effect = (
        "bfloat16 is emulated there, which is slower than fp32"
        if precision == "bf16"
        else "it computes in fp32"
    )
    return (
        f"warning: precision={precision}: {torch.cuda.get_device_name(device)} has compute capability "
        f"{capability[0]}.{capability[1]}, below 8.0: {effect}; precision=fp32 states that"
    )


def prepare_device(device: torch.device, seed: int, precision: str) -> None:
    """Prepares the process for a training on `device`: memory measurement, random numbers, precision.

    Args:
        device: made the current one, whose random state the checkpoints keep.
        seed: of torch's default generators.
        precision: as in `set_precision`.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.cuda.reset_peak_memory_stats(device)
    elif _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")  # runs of a grid share a process: resets VmHWM
    torch.manual_seed(seed)
    set_precision(precision)


def peak_memory(device: torch.device) -> int | None:
    """Peak bytes since `prepare_device`: of a GPU's tensors, of the process on the CPU (None: unknown)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    lines = _STATUS.read_text().splitlines() if _STATUS.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)


def image_layout(device: torch.device, precision: str) -> torch.memory_format:
    """The layout of images in memory in which networks train faster.

    Measured on an H100 with four networks for 32x32 images (results/benchmarks, layouts). A profile there
    showed cuDNN converting images around float32 convolutions of `channels_last` that sum in a fixed order.

    Args:
        device: where the network trains.
        precision: as in `set_precision`.
    """
    if device.type == "cuda" and precision == "fp32":
        return torch.contiguous_format
    return torch.channels_last


def set_precision(precision: str) -> None:
    """Sets the precision of the whole process's GPU kernels; a CPU always computes in float32.

    TF32, torch's default for convolutions, is for those of `tf32` and `bf16` alone: statistics and loss are
    taken in float32. Convolutions sum in the same order every time, so that a resumed run gives the same
    numbers.

    Args:
        precision: the configuration's: fp32, tf32 or bf16.
    """
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
