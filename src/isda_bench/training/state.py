"""The whole state of a run: saved after an epoch or within one, and put back."""

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from isda_bench.data.loader import Loader
from isda_bench.errors import UserError
from isda_bench.runtime.distributed import all_gather_objects, broadcast_object
from isda_bench.runtime.ranks import processes, rank
from isda_bench.storage.checkpoint import random_states, restore_random_states, rng_states
from isda_bench.storage.checkpoint_content import (
    KERNELS,
    check_optimizer,
    check_same_tensors,
    wrong_content,
)
from isda_bench.storage.run_directory import Metrics, RunDirectory
from isda_bench.training.step import TrainingModule


class EpochProgress(NamedTuple):
    """What an epoch has measured so far.

    Attributes:
        sums: of loss, errors and images, float64, on the device, of this rank.
        seconds: that it has taken.
    """

    sums: Tensor
    seconds: float


class RunState:
    """Saves and puts back model, loss, optimizer, random states, metrics, and the place within an epoch.

    A run that goes on is the run that was never interrupted: to the bit with one or two ranks, with more of
    them up to the order in which DistributedDataParallel sums gradients: after its first step it is another.
    With another number of ranks it goes on too; those that are new draw from their seeds.

    Args:
        module: model and loss.
        optimizer: over their parameters.
        batches: the training set.
        directory: where it is saved.
        minutes: from one time to the next within an epoch; null: never.
    """

    def __init__(
        self,
        module: TrainingModule,
        optimizer: Optimizer,
        batches: Loader,
        directory: RunDirectory,
        minutes: float | None,
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.batches = batches
        self.directory = directory
        self.minutes = minutes
        self.metrics: list[Metrics] = []
        self.begun: EpochProgress | None = None
        self.saved = time.monotonic()

    def resume(self, epochs: int | None = None) -> list[Metrics]:
        """Puts everything back as the newest checkpoint has it; returns the metrics of the epochs before.

        Args:
            epochs: of the whole run; a checkpoint that has more is refused. null: not compared.

        Raises:
            UserError: it is of another training set, or its content is wrong.
        """
        state = broadcast_object(self.directory.newest_state())
        if state is not None:
            try:
                if epochs is not None and len(state["metrics"]) > epochs:
                    raise ValueError(f"{len(state['metrics'])} epochs, the run has {epochs}")
                self._restore(state)
            except UserError:
                raise
            except Exception as error:  # what wrong content makes of torch has no common class
                raise wrong_content(self.directory.path, error) from error
        self.directory.rewrite(self.metrics)
        return self.metrics

    def _restore(self, state: dict[str, Any]) -> None:
        """Raises an error of any class where the content is wrong."""
        for name, part in (("model", self.module.model), ("loss", self.module.loss)):
            check_same_tensors(part.state_dict(), state[name], name)
            part.load_state_dict(state[name])
        _load_optimizer(self.optimizer, state["optimizer"])
        self.metrics = state["metrics"]
        own = rng_states(state)
        if rank() < len(own):
            restore_random_states(own[rank()])
        if "within" in state:
            self._resume_within(state["within"])

    def _resume_within(self, within: dict[str, Any]) -> None:
        self.batches.restore_position(within["position"])
        shares = within["sums"][rank() :: processes()]  # of ranks that there no longer are too
        sums = torch.stack(shares).sum(0) if shares else torch.zeros_like(within["sums"][0])
        self.begun = EpochProgress(sums.to(self.batches.device), within["seconds"])

    @property
    def seconds_before(self) -> float:
        """That the epoch has taken, before it was interrupted."""
        return self.begun.seconds if self.begun else 0.0

    def pop_epoch_progress(self) -> EpochProgress:
        """What the epoch that goes on has measured; zeros for a new one."""
        zeros = torch.zeros(3, dtype=torch.float64, device=self.batches.device)
        progress, self.begun = self.begun or EpochProgress(zeros, 0.0), None
        return progress

    def save(self, within: dict[str, Any] | None = None) -> None:
        """Writes a checkpoint: of the end of the newest epoch, or of a place `within` the one after it.

        Raises:
            UserError: it cannot be written.
        """
        first, *others = all_gather_objects(random_states())
        state = {
            "model": self.module.model.state_dict(),
            "loss": self.module.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng_states": first,
            "metrics": self.metrics,
        }
        if others:
            state["rng_states_of_ranks"] = others
        if within is not None:
            state["within"] = within
        self.directory.save(state, len(self.metrics), within["position"]["step"] if within else None)
        self.saved = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save within the epoch, by the first rank's clock."""
        if self.minutes is None:
            return False
        return broadcast_object(time.monotonic() - self.saved >= 60 * self.minutes)

    def save_within(self, begun: EpochProgress) -> None:
        """Writes a checkpoint after the newest batch of an epoch that has measured `begun`."""
        sums = all_gather_objects(begun.sums.cpu())
        self.save({"position": self.batches.position(), "sums": sums, "seconds": begun.seconds})


def _load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Its kernels stay those of this device, on whatever the state was saved; rates are plain numbers."""
    check_optimizer(optimizer, state)
    kernels = [{key: group[key] for key in KERNELS if key in group} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, kernels, strict=True):
        group |= own | {"lr": float(group["lr"])}
