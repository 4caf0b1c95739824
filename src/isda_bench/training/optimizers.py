"""The optimizer of a run."""

from torch import Tensor
from torch.optim import Optimizer

from isda_bench.config.optimizer_choice import OptimizerChoice, parameter_groups
from isda_bench.config.settings import TrainingRecipe
from isda_bench.training.step import TrainingModule

NESTEROV = OptimizerChoice()
"""SGD with Nesterov momentum (supplement B)."""


def make_optimizer(
    module: TrainingModule, schedule: TrainingRecipe, choice: OptimizerChoice = NESTEROV
) -> Optimizer:
    """An optimizer over the model, and over the groups that the loss asks for.

    On CUDA it has torch's fused kernels where there are any; they make no update where `found_inf` is not 0
    (see `Step`).

    Args:
        module: model and loss.
        schedule: learning rate, momentum and weight decay.
        choice: the class of the optimizer, with its own settings.

    Raises:
        ValueError, TypeError: of the class, about its settings.
    """
    groups = parameter_groups(module.model, module.loss, schedule)
    optimizer = choice.build(groups, schedule, fused=next(module.parameters()).is_cuda)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Sets each group's learning rate to `factor` times its initial one."""
    for group in optimizer.param_groups:
        rate = group["initial_lr"] * factor
        if isinstance(group["lr"], Tensor):  # that captured steps read
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
