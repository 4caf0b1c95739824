"""Training steps on fake CUDA tensors: a case returns {finding: times}."""

import contextlib
import io
from unittest import mock

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch._subclasses.fake_tensor import FakeTensorMode

from helpers.rehearsal.fake_steps import CLASSES, D, N, Watch, batch, built, on_fake_cuda, stepped
from isda_bench.config.compose import compose_run
from isda_bench.config.optimizer_choice import OptimizerChoice
from isda_bench.config.run_config import CONF
from isda_bench.losses.cross_entropy import CrossEntropy
from isda_bench.models.resnet import ResNet
from isda_bench.training import capture, cuda_graphs
from isda_bench.training.capture import CapturedStep
from isda_bench.training.optimizers import make_optimizer
from isda_bench.training.step import TrainingModule
from isda_bench.training.step_state import StepState

DROPOUT = "model.dropout=0.3"


def mixed_batch():
    """A batch with second classes and their weight, as mixup and cutmix make it."""
    images, targets, progress = batch()
    return images, targets, progress, targets.clone(), torch.full((), 0.7, device=D)


def mixed_training(*overrides):
    return lambda: stepped(*built("model=resnet8", *overrides), make_batch=mixed_batch)


def mixing(name):
    """Mixing on the device; the share and the box are drawn on the CPU, once a batch."""

    def case():
        mix = instantiate(compose_run(["dataset=cifar10", "logger=none", f"mix={name}"]).settings.mix)
        drawn = {"_share": lambda _: None, "_same_on_all_ranks": lambda *draws: [0.5] * (2 * len(draws) - 1)}
        draws = mock.patch.multiple("isda_bench.data.mixup", **drawn)
        with FakeTensorMode(), draws, Watch() as watch:
            images, targets, _ = batch()
            made = mix(images, targets)
            assert made.weight.is_cuda and made.second.is_cuda
        return {key: n for key, n in watch.found.items() if not key.startswith("random number of the CPU")}

    return case


def training(*overrides, side=32):
    return lambda: stepped(*built(*overrides), side=side)


def failing():
    """A capture that fails, on the run's device; torch is mended with another stream and pool.

    What the step changes is copied to the host before: class statistics can fill half of a GPU's memory.
    """
    calls = []

    def capture_graph(step, stream, pool=None):
        calls.append((stream, pool))
        step()
        if len(calls) == 1:
            raise RuntimeError("operation not permitted when stream is capturing")
        return step, ()

    places = mock.patch.object(StepState, "addresses", lambda self: {k: id(v) for k, v in self.tensors()})
    stand_ins = {"warm_up": lambda step, stream: step(), "capture_graph": capture_graph}
    module, recipe = built("model=resnet8", "loss=isda")
    with FakeTensorMode() as mode, contextlib.ExitStack() as stack:
        for patch in (
            places,
            mock.patch.multiple(capture, **stand_ins),
            mock.patch.object(cuda_graphs, "capture_graph", capture_graph),
            contextlib.redirect_stderr(io.StringIO()),
            Watch(),  # which stands in for the fused kernel
        ):
            stack.enter_context(patch)
        module = on_fake_cuda(module, mode).train()
        optimizer = make_optimizer(module, recipe)
        step = CapturedStep(module, optimizer, {N}, required=False)
        step(*batch())
        tensors = len(list(step.state.tensors()))
        with Watch() as watch:
            step.state.snapshot()
        for group in optimizer.param_groups:
            group["lr"] = 0.1  # eager steps have it on the host, where a fake tensor cannot go
        step(*batch())
    (failed, pool), (mended, mended_pool) = calls
    copied = sum(n for key, n in watch.found.items() if key.startswith("copy between devices"))
    wrong = {
        f"{copied} of {tensors} tensors copied to the host": copied != tensors,
        f"streams on {failed.device} and {mended.device}": {str(failed.device), str(mended.device)} != {D},
        "mended with the stream or the pool that failed": mended is failed or mended_pool is pool,
        f"{step.mode} steps after it": step.mode != "eager",
    }
    return {finding: 1 for finding, found in wrong.items() if found}


def imagenet(name):
    """A step of an ImageNet network, with one layer in each of its blocks."""

    def case():
        layers = {"RESNET_LAYERS": {50: (1,) * 4}, "DENSENET_LAYERS": {121: (1,) * 4}}
        with mock.patch.multiple("isda_bench.models.imagenet", **layers):
            parts = built(f"model={name}", DROPOUT, "loss=isda", "loss.covariance=diagonal", "precision=bf16")
        return stepped(*parts, side=64)

    return case


def optimizing(make):
    return lambda: stepped(*built("model=resnet8"), optimizer=make)


def shipped(name):
    """A step of an optimizer of the configuration, with the kernels that it has on CUDA."""

    def case():
        section = OmegaConf.to_container(OmegaConf.load(CONF / "optimizer" / f"{name}.yaml"))
        return stepped(*built("model=resnet8", "loss=isda"), choice=OptimizerChoice.of(section))

    return case


def compiling(*overrides):
    """Dynamo makes one graph of loss and network, as `compile_step` demands."""

    def case():
        torch._dynamo.reset()
        module, _ = built("model=resnet8", *overrides)
        with FakeTensorMode() as mode:
            module = on_fake_cuda(module, mode).train()
            inputs = batch()
        graphs = []

        def backend(graph, _):
            def call(*arguments):
                with mode:
                    return graph(*arguments)

            graphs.append(graph)
            return call

        compiled = torch.compile(module, backend=backend, fullgraph=True, dynamic=False)
        loss, _ = compiled(*inputs)  # Dynamo compiles nothing within the mode
        return (
            {} if loss.is_cuda and len(graphs) == 1 else {f"{len(graphs)} graphs, loss on {loss.device}": 1}
        )

    return case


def planted(fault):
    """A step whose loss has a fault."""

    class Faulty(CrossEntropy):
        def compute(self, outputs, targets, progress):
            return fault(super().compute(outputs, targets, progress), outputs, targets)

    def case():
        _, recipe = built("model=resnet8")
        return stepped(TrainingModule(ResNet(CLASSES, 8), Faulty(CLASSES, 64)), recipe)

    return case
