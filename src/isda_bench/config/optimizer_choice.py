"""The optimizer of a configuration: any class of torch.optim, of timm.optim or of a user's module."""

import isda_bench.runtime.torchvision_import  # noqa: F401  # isort: skip  # timm.optim imports torchvision

from collections.abc import Iterable, Mapping
from inspect import Parameter, signature
from typing import Any, NamedTuple

import torch
from torch.optim import SGD, Optimizer

from isda_bench.arguments import check_annotations
from isda_bench.config.building import (
    ANY_MODULE,
    OPTIMIZERS,
    TARGET,
    component_class,
    is_within,
    plain_problems,
)
from isda_bench.config.problems import problems_of
from isda_bench.config.run_config import SGD as SGD_PATH
from isda_bench.config.settings import Component, TrainingRecipe
from isda_bench.losses.base import Loss
from isda_bench.models.base import Classifier

TABLE_1_MOMENTUM = 0.9
"""Of every schedule of Table 1; beside an optimizer that takes no momentum it is no override."""
FROM_ELSEWHERE = {
    "params": "the network and the loss have the parameters",
    "lr": "schedule.learning_rate sets it",
    "momentum": "schedule.momentum sets it",
    "weight_decay": "schedule.weight_decay sets it",
    "fused": "the device decides it",
    "capturable": "the device decides it",
}


class OptimizerChoice(NamedTuple):
    """A class of optimizers with the settings that are its own.

    Attributes:
        kind: called with parameter groups, lr, weight_decay, and momentum where it takes one.
        settings: further keyword arguments.
    """

    kind: type[Optimizer] = SGD
    settings: Mapping[str, Any] = {"nesterov": True}

    @classmethod
    def of(cls, section: Component) -> "OptimizerChoice":
        """The choice of a section `optimizer`; a class and a Nesterov key that it lacks are the default's.

        Raises:
            ValueError: its class cannot be imported or is not an optimizer, or a value is not plain.
        """
        target = section.get(TARGET, SGD_PATH)
        arguments = {key: value for key, value in section.items() if key != TARGET}
        for problem in plain_problems(arguments):
            raise ValueError(problem)
        ours = is_within(str(target).rpartition(".")[0], OPTIMIZERS)
        kind = component_class(target, Optimizer, () if ours else ANY_MODULE)
        return cls(kind, ({"nesterov": True} if kind is SGD else {}) | arguments)

    def takes(self, name: str) -> bool:
        """Whether the class has an argument of this name."""
        return name in signature(self.kind).parameters

    def build(
        self, groups: Iterable[dict[str, Any]], recipe: TrainingRecipe, fused: bool = False
    ) -> Optimizer:
        """The optimizer over parameter groups.

        Args:
            groups: as torch.optim takes them.
            recipe: learning rate, momentum and weight decay.
            fused: whether fused kernels are wanted, where the class has them for these parameters.

        Raises:
            ValueError, TypeError: of the class, about its settings.
        """
        arguments = dict(self.settings) | {"lr": recipe.learning_rate}
        if self.takes("weight_decay"):
            arguments["weight_decay"] = recipe.weight_decay
        if self.takes("momentum"):
            arguments["momentum"] = recipe.momentum
        if issubclass(self.kind, SGD) and "nesterov" in arguments and not recipe.momentum:
            arguments["nesterov"] = False  # there is no Nesterov momentum of none
        groups = list(groups)
        make: Any = self.kind
        if fused and self.takes("fused"):
            try:
                return make(groups, **arguments, fused=True)
            except RuntimeError:  # it has none for this device
                pass
        return make(groups, **arguments)


def parameter_groups(model: Classifier, loss: Loss, recipe: TrainingRecipe) -> list[dict[str, Any]]:
    """The groups of network and loss as torch.optim takes them, with their learning rates."""
    groups = []
    for group in model.parameter_groups():
        rate = group.pop("rate", 1)
        groups.append(group if rate == 1 else group | {"lr": recipe.learning_rate * rate})
    return [*groups, *loss.parameter_groups()]


def optimizer_problems(
    section: Component, recipe: TrainingRecipe, model: Classifier | None, loss: Loss | None
) -> list[str]:
    """Problems of a section `optimizer`, by itself and beside the schedule and the loss.

    Args:
        section: of the configuration.
        recipe: the schedule.
        model: the built network, on any device; None where it has problems.
        loss: the built loss; None where it has problems.
    """
    found: list[OptimizerChoice] = []
    problems = problems_of(lambda: found.append(OptimizerChoice.of(section)), "optimizer.")
    if problems:
        return problems
    (choice,) = found
    problems = _setting_problems(choice) + _recipe_problems(choice, recipe)
    problems += problems_of(lambda: check_annotations(choice.kind, choice.settings), "optimizer.")
    if loss is not None and loss.plain_descent and not issubclass(choice.kind, SGD):
        problems.append(
            f"optimizer: the loss {type(loss).__name__} needs plain gradient descent for its own parameters, "
            f"which {choice.kind.__name__} has not; leave optimizer=sgd"
        )
    if not problems and model is not None and loss is not None:
        groups = parameter_groups(model, loss, recipe)
        problems += problems_of(lambda: _rehearse(choice, groups, recipe), "optimizer.")
    return problems


def _rehearse(choice: OptimizerChoice, groups: list[dict[str, Any]], recipe: TrainingRecipe) -> None:
    """Makes the optimizer, and a step with dense gradients, after a backward pass as a training step has it.

    Raises:
        ValueError: one of them fails, as its class, a user's own perhaps, reports it.
    """
    name = choice.kind.__name__
    try:
        choice.build(groups, recipe)
    except (ValueError, TypeError):
        raise
    except Exception as error:  # torch's Adam reads betas=[0.9] beyond its end
        raise ValueError(f"{name} cannot be made: {type(error).__name__}: {error}") from error
    weights = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = choice.build([{"params": [weights]}], recipe)
    weights.sum().backward()
    try:
        optimizer.step()
    except Exception as error:
        keys = ("learning_rate", "momentum", "weight_decay")
        rates = ", ".join(f"schedule.{key}={getattr(recipe, key)}" for key in keys)
        raise ValueError(f"{name} makes no step: {str(error).splitlines()[0]} ({rates})") from error


def _setting_problems(choice: OptimizerChoice) -> list[str]:
    arguments = signature(choice.kind).parameters
    any_key = any(argument.kind is Parameter.VAR_KEYWORD for argument in arguments.values())
    problems = []
    for key in choice.settings:
        if key in FROM_ELSEWHERE:
            problems.append(f"optimizer.{key}: {FROM_ELSEWHERE[key]}")
        elif key not in arguments and (key.startswith("_") or not any_key):
            problems.append(f"optimizer.{key}: no such key")
    closure = signature(choice.kind.step).parameters.get("closure")
    if closure is not None and closure.default is Parameter.empty:
        problems.append(f"optimizer: {choice.kind.__name__} needs a closure, which a training step has not")
    return problems


def _recipe_problems(choice: OptimizerChoice, recipe: TrainingRecipe) -> list[str]:
    name = choice.kind.__name__
    problems = [] if recipe.momentum == TABLE_1_MOMENTUM else _unused_momentum(choice, recipe)
    if not choice.takes("weight_decay") and recipe.weight_decay:
        problems.append(f"schedule.weight_decay={recipe.weight_decay}: {name} takes none; set it to 0")
    return problems


def momentum_problems(section: Component, recipe: TrainingRecipe) -> list[str]:
    """Problems of a momentum that the user asks for: the optimizer may take none.

    Args:
        section: of the optimizer, in the configuration.
        recipe: the schedule, with the momentum.
    """
    try:
        return _unused_momentum(OptimizerChoice.of(section), recipe)
    except ValueError:  # which `optimizer_problems` reports
        return []


def _unused_momentum(choice: OptimizerChoice, recipe: TrainingRecipe) -> list[str]:
    if choice.takes("momentum") or not recipe.momentum:
        return []
    name = choice.kind.__name__
    return [f"schedule.momentum={recipe.momentum}: {name} takes no momentum; leave it out or set it to 0"]
