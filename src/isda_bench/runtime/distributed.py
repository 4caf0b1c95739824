"""Several processes that train one network together; in a process that is alone, nothing here does anything.

The global batch is cut into one part a rank. Each rank's network sees its part; the loss is given the outputs
of all parts together, on every rank, so that whatever it sums, learns or accumulates (class statistics,
centers, ...) is that of the global batch. Only the gradient of a rank's own rows flows back into its network.

BatchNorm normalises with the statistics of a rank's own part, as with any DistributedDataParallel; its
running statistics are those of the first rank.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from isda_bench.errors import RankLost, UserError
from isda_bench.runtime import ranks

TIMEOUT = timedelta(minutes=10)  # after which a rank that does not answer is lost
Value = TypeVar("Value")
_last_group: list[Any] = []
"""Outlives the `Replica` that used it: freed by that one, with the interpreter's lock held, it could wait for
ever for a thread of its own that needs this lock."""


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Within it the processes that torchrun started work together: over NCCL on GPUs, over gloo on CPUs.

    Args:
        device: this process's own.

    Raises:
        RankLost: another process has ended or does not answer.
        UserError: GPUs, and a torch without NCCL.
    """
    if ranks.processes() == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda" and not distributed.is_nccl_available():
        raise UserError(f"device={device}: this torch has no NCCL for several GPUs; one process needs none")
    try:
        distributed.init_process_group(backend, timeout=TIMEOUT)
        yield
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise RankLost(
                f"rank {ranks.rank()}: another process of this run has ended or does not answer; "
                f"the same command resumes from the last checkpoint"
            ) from error
        raise
    finally:
        if is_distributed():
            _last_group[:] = [distributed.group.WORLD]
            distributed.destroy_process_group()


def is_distributed() -> bool:
    """Whether several processes train together."""
    return distributed.is_available() and distributed.is_initialized()


def seed_of_rank(seed: int) -> int:
    """The seed of this rank's own draws (crops, dropout); the first rank's is `seed` itself."""
    if ranks.rank() == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} {ranks.rank()}".encode()).digest()[:7])


def wrap(module: nn.Module, device: torch.device) -> Any:
    """The training module, its gradients averaged over all ranks."""
    return Replica(module, device) if is_distributed() else module


_SYNC_BUFFERS = "forward_sync_buffers"
if _SYNC_BUFFERS not in signature(DistributedDataParallel).parameters:
    _SYNC_BUFFERS = "broadcast_buffers"  # torch before 2.13


class Replica(DistributedDataParallel):
    """One rank's training module; starts with the first rank's parameters and buffers.

    Buffers are not sent at every step: the loss's are equal on all ranks, and running statistics enter only
    where a network is evaluated.

    Args:
        module: a TrainingModule, on `device`.
        device: this process's own.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        settings: dict[str, Any] = {_SYNC_BUFFERS: False}
        super().__init__(module, device_ids=[device] if device.type == "cuda" else None, **settings)
        broadcast_tensors_(*module.buffers())

    def __getattr__(self, name: str) -> Any:
        """The module's own attributes: model, loss, bf16."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def gather_rows(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The rows of all ranks, in their order, for tensors (N, ...) of equally many rows here.

    The ranks' N may differ. The gradient of this rank's rows is scaled by the number of ranks: after the
    average over ranks, the gradient of a mean over all rows is then exactly that of one process.
    """
    if not is_distributed():
        return tensors
    sizes = [int(size) for size in _gather(torch.tensor([len(tensors[0])], device=_talk_device(tensors[0])))]
    return tuple(_GatherRows.apply(tensor, sizes) for tensor in tensors)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        return torch.cat([part[:size] for part, size in zip(_gather(padded), sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():  # create_graph=True; the other ranks' part of it would be missing
            raise RuntimeError(
                "several processes: the gradient of gathered rows cannot be differentiated again "
                "(create_graph=True); compute gradients of gradients in one process"
            )
        return len(ctx.sizes) * grad.split(ctx.sizes)[distributed.get_rank()], None


def _gather(values: Tensor) -> list[Tensor]:
    """`values` of every rank, of one shape everywhere."""
    parts = [torch.empty_like(values) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, values)
    return parts


def _talk_device(values: Tensor) -> torch.device:
    """The device of small exchanges: the CPU, which avoids synchronisation, if the group can use it."""
    return torch.device("cpu") if "cpu:" in distributed.get_backend_config() else values.device


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of every rank's `values`, in place."""
    if is_distributed():
        distributed.all_reduce(values)
    return values


def local_shard(rows: Tensor) -> Tensor:
    """This rank's part of the rows of a global batch; in the ranks' order the parts are the whole."""
    if not is_distributed():
        return rows
    return rows.tensor_split(distributed.get_world_size())[distributed.get_rank()]


def broadcast_object(value: Value) -> Value:
    """The first rank's value, on every rank."""
    if not is_distributed():
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]


def all_gather_objects(value: Value) -> list[Value]:
    """The values of all ranks, in order, on every rank."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def broadcast_tensors_(*tensors: Tensor) -> None:
    """Overwrites the tensors with the first rank's, in place."""
    if is_distributed():
        for tensor in tensors:
            distributed.broadcast(tensor, 0)
