"""ISDA with DistributedDataParallel: every rank has the class statistics of the global batch.

torchrun --nproc_per_node=2 examples/ddp.py [result.pt]
"""

import sys

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from isda_bench.losses import ISDA

STEPS = 20


class Network(nn.Module):
    """Returns features; its head is used by the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
        self.head = nn.Linear(32, 3)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits."""
        features = self.backbone(images)
        return features, self.head(features)


def train(network: nn.Module, head: nn.Linear, isda: ISDA, rank: int, ranks: int) -> float:
    """Some steps, each with this rank's part of the global batch; returns the last loss."""
    data = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    loss = torch.tensor(torch.nan)
    for step in range(STEPS):
        targets = torch.randint(3, (24,), generator=data)
        images = torch.randn(24, 8, generator=data) + 3 * nn.functional.one_hot(targets, 8)
        mine = slice(rank, None, ranks)
        features, logits = network(images[mine])
        loss = isda(features, targets[mine], head=head, logits=logits, progress=step / STEPS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def main(result: str | None = None) -> None:
    """Trains on all ranks; the first one saves weights, statistics and loss."""
    distributed.init_process_group("gloo")
    torch.manual_seed(0)
    network = Network()
    isda = ISDA(num_classes=3, feature_dim=32)
    wrapped = DistributedDataParallel(network)
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    loss = train(wrapped, network.head, isda, rank, ranks)
    if rank == 0:
        print(f"{ranks} ranks, loss {loss:.4f}")
        if result is not None:
            torch.save({"network": network.state_dict(), "isda": isda.state_dict()}, result)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
