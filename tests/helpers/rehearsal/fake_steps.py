"""A captured training step on fake CUDA tensors; imported after `watch.load_shim`."""

import torch
from hydra.utils import instantiate
from torch._subclasses.fake_tensor import FakeTensorMode

from helpers.rehearsal.watch import watch_class
from isda_bench.config.compose import compose_run
from isda_bench.runtime.devices import image_layout, set_precision
from isda_bench.training.capture import CapturedStep
from isda_bench.training.optimizers import NESTEROV, make_optimizer, set_learning_rate
from isda_bench.training.step import Step, TrainingModule

N, CLASSES = 8, 10

Watch = watch_class()

D = "cuda:0"


def on_fake_cuda(module, mode):
    """Moves parameters and buffers as `.to` does; a tensor that is neither stays on the CPU, and shows."""
    for part in module.modules():
        for name, value in part.named_parameters(recurse=False):
            moved = mode.from_tensor(value).detach().to(D)
            setattr(part, name, torch.nn.Parameter(moved, value.requires_grad))
        for name, value in part.named_buffers(recurse=False):
            setattr(part, name, mode.from_tensor(value).to(D))
    return module


def built(*overrides):
    """The training module and the recipe of a configuration, on the CPU."""
    settings = compose_run(["dataset=cifar10", "logger=none", *overrides]).settings
    set_precision(settings.precision)
    model = instantiate(settings.model, num_classes=CLASSES, in_channels=3)
    loss = instantiate(settings.loss, num_classes=CLASSES, feature_dim=model.feature_dim)
    model.to(memory_format=image_layout(torch.device("cuda"), settings.precision))
    return TrainingModule(model, loss, bf16=settings.precision == "bf16"), settings.schedule


def batch(n=N, side=32):
    images = torch.empty(n, 3, side, side, device=D)
    progress = torch.full((), 0.5, dtype=torch.float64, device=D)
    return images, torch.zeros(n, dtype=torch.int64, device=D), progress


def stepped(module, recipe, optimizer=None, side=32, make_batch=None, choice=NESTEROV):
    """The findings of a captured step, after the eager one that creates the optimizer's state."""
    with FakeTensorMode() as mode:
        module = on_fake_cuda(module, mode).train()
        made = optimizer(module.parameters()) if optimizer else make_optimizer(module, recipe, choice)
        for group in made.param_groups:
            group.setdefault("initial_lr", group["lr"])
        step = CapturedStep(module, made, {N}, required=True)
        set_learning_rate(made, 0.5)
        with Watch() as watch:
            first, second = (make_batch() if make_batch else batch(side=side) for _ in range(2))
            Step.__call__(step, *first)
            before, values = dict(step.state.tensors()), step.state.host_values()
            Step.__call__(step, *second)
        replaced = {f"replaced: {k}": 1 for k, v in step.state.tensors() if v is not before.get(k)}
        changed = {f"on the host: {k}": 1 for k, v in step.state.host_values().items() if v != values.get(k)}
    return watch.found | replaced | changed
