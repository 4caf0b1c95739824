"""The device of a run, and how exactly it computes."""

import multiprocessing

import torch

from isda_bench.runtime.ranks import local_processes, local_rank, processes


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one, `spread` the GPU that is this process's by turns.

    Of several processes that train one network together each takes its own.

    Raises:
        ValueError: there is no such device.
    """
    gpus = torch.cuda.device_count()
    if name in ("auto", "spread") and not gpus:
        return torch.device("cpu")
    if name != "cpu" and processes() > 1:
        if name not in ("auto", "cuda"):
            raise ValueError(f"device={name}: one for {processes()} processes; should be auto, cuda or cpu")
        if gpus < local_processes():
            raise ValueError(
                f"device={name}: {gpus} GPUs for the {local_processes()} processes of this machine; start as "
                f"many as there are GPUs, or give device=cpu"
            )
        return torch.device("cuda", local_rank())
    if name == "spread":
        return torch.device("cuda", _worker() % gpus)
    available = ["cpu", *(f"cuda:{i}" for i in range(gpus))]
    wanted = "cuda:0" if name in ("auto", "cuda") else name
    if wanted not in available:
        raise ValueError(
            f"device={name}: no such device here; there are: auto, spread, {', '.join(available)}"
        )
    return torch.device(wanted)


def _worker() -> int:
    """Number of this process among those of a launcher (LokyProcess-1, LokyProcess-2, ...), from 0."""
    number = multiprocessing.current_process().name.rpartition("-")[2]
    return int(number) - 1 if number.isdigit() else 0


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
