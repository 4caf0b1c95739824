"""The optimizer of a run."""

from torch import Tensor
from torch.optim import SGD, Optimizer

from isda_bench.config.settings import TrainingRecipe
from isda_bench.training.step import TrainingModule


def make_optimizer(module: TrainingModule, schedule: TrainingRecipe, nesterov: bool = True) -> SGD:
    """SGD with momentum over the model, and the groups that the loss asks for.

    On CUDA it is torch's fused kernel, which makes no update where `found_inf` is not 0 (see `Step`).

    Args:
        module: model and loss.
        schedule: learning rate, momentum and weight decay.
        nesterov: whether the momentum is Nesterov's.
    """
    optimizer = SGD(
        [{"params": list(module.model.parameters())}, *module.loss.parameter_groups()],
        lr=schedule.learning_rate,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
        nesterov=nesterov and schedule.momentum > 0,
        fused=True if next(module.parameters()).is_cuda else None,
    )
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Makes it `factor` times what each group began with."""
    for group in optimizer.param_groups:
        rate = group["initial_lr"] * factor
        if isinstance(group["lr"], Tensor):  # that captured steps read
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
