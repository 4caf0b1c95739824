"""ISDA with FSDP (`fully_shard`): the head's weight is whole on every rank while the loss needs it.

torchrun --nproc_per_node=2 examples/fsdp.py [result.pt]
"""

import sys

import torch
from ddp import Network, train
from torch import distributed
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard

from isda_bench.losses import ISDA


def main(result: str | None = None) -> None:
    """Trains on all ranks; the first one saves weights and statistics."""
    distributed.init_process_group("gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    mesh = distributed.init_device_mesh("cpu", (ranks,))
    torch.manual_seed(0)
    network = Network()
    fully_shard(
        network.head, mesh=mesh, reshard_after_forward=False
    )  # whole from the forward to the backward pass
    fully_shard(network, mesh=mesh)
    isda = ISDA(
        num_classes=3, feature_dim=32
    )  # not sharded: no parameters, and the same buffers on every rank
    loss = train(network, network.head, isda, rank, ranks)

    weights = get_model_state_dict(network, options=StateDictOptions(full_state_dict=True))
    if rank == 0:
        print(f"{ranks} ranks, loss {loss:.4f}")
        if result is not None:
            torch.save({"network": weights, "isda": isda.state_dict()}, result)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
