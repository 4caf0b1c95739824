"""The whole state of a run: saved after an epoch or within one, and restored."""

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
from isda_bench.storage.run_directory import RunDirectory
from isda_bench.storage.run_results import Metrics
from isda_bench.training.step import TrainingModule


class EpochProgress(NamedTuple):
    """The sums and the time of an epoch so far.

    Attributes:
        sums: of loss, errors and images, float64, on the device, of this rank.
        seconds: elapsed in the epoch.
    """

    sums: Tensor
    seconds: float


class RunState:
    """Saves and restores model, loss, optimizer, random states, metrics, and the place within an epoch.

    A resumed run has the numbers of an uninterrupted one: to the bit with one or two ranks; with more, up to
    the order in which DistributedDataParallel sums gradients, which changes after its first step. A run also
    resumes with another number of ranks; additional ranks draw from their seeds.

    Args:
        module: model and loss.
        optimizer: over their parameters.
        batches: the training set.
        directory: stores the checkpoints.
        minutes: from one checkpoint to the next within an epoch; null: none within an epoch.
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
        self.epoch_progress: EpochProgress | None = None
        self.saved = time.monotonic()

    def resume(self, epochs: int | None = None) -> list[Metrics]:
        """Restores the newest checkpoint; returns the metrics of the epochs before it.

        Args:
            epochs: of the whole run; a checkpoint that has more is refused. null: not compared.

        Raises:
            UserError: the checkpoint is of another training set, or its content is wrong.
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
        load_optimizer(self.optimizer, state["optimizer"])
        self.metrics = state["metrics"]
        own = rng_states(state)
        if rank() < len(own):
            restore_random_states(own[rank()])
        if "within" in state:
            self._resume_within(state["within"])

    def _resume_within(self, within: dict[str, Any]) -> None:
        self.batches.restore_position(within["position"])
        shares = within["sums"][rank() :: processes()]  # those of ranks that no longer exist, too
        sums = torch.stack(shares).sum(0) if shares else torch.zeros_like(within["sums"][0])
        self.epoch_progress = EpochProgress(sums.to(self.batches.device), within["seconds"])

    @property
    def seconds_before(self) -> float:
        """Seconds that the epoch had taken when it was interrupted."""
        return self.epoch_progress.seconds if self.epoch_progress else 0.0

    def pop_epoch_progress(self) -> EpochProgress:
        """The progress of a resumed epoch, once; zeros for a new epoch."""
        zeros = torch.zeros(3, dtype=torch.float64, device=self.batches.device)
        progress = self.epoch_progress or EpochProgress(zeros, 0.0)
        self.epoch_progress = None
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

    def save_within(self, progress: EpochProgress) -> None:
        """Writes a checkpoint after the newest batch of an epoch whose `progress` it stores."""
        sums = all_gather_objects(progress.sums.cpu())
        self.save({"position": self.batches.position(), "sums": sums, "seconds": progress.seconds})


def load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Loads a state from any device: kernels stay those of this device, rates become plain numbers.

    Momenta get their parameter's layout in memory: fused kernels refuse another one.
    """
    check_optimizer(optimizer, state)
    kernels = [{key: group[key] for key in KERNELS if key in group} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, kernels, strict=True):
        group |= own | {"lr": float(group["lr"])}
    for parameter, held in optimizer.state.items():
        for key, value in held.items() if isinstance(parameter, Tensor) else ():
            if isinstance(value, Tensor) and value.ndim and value.shape == parameter.shape:
                held[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
