"""Parts of the package on fake CUDA tensors; imported after `watch.load_shim`.

A case returns {finding: times}, empty where nothing waits for the device and a graph would freeze nothing.
"""

import contextlib
import io
import traceback
from pathlib import Path
from unittest import mock

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch._subclasses.fake_tensor import FakeTensorMode

from helpers.rehearsal.watch import PACKAGE, watch_class
from isda_bench.config.compose import compose_run
from isda_bench.config.optimizer_choice import OptimizerChoice
from isda_bench.config.run_config import CONF
from isda_bench.data.augment import NoAugmentation
from isda_bench.data.base import ImageSet
from isda_bench.data.digits import Digits
from isda_bench.data.loader import Loader, Normalise
from isda_bench.gan.ema import ExponentialMovingAverage
from isda_bench.gan.networks import NOISE, Generator
from isda_bench.gan.objectives import ACGAN, CGAN, WGAN, InfoGAN
from isda_bench.inversion.descent import STEPS, FixedClasses, Search, iteration_of
from isda_bench.inversion.fuse_batchnorm import fused
from isda_bench.losses.cross_entropy import CrossEntropy
from isda_bench.models.resnet import ResNet
from isda_bench.runtime.devices import set_precision
from isda_bench.training import capture, cuda_graphs
from isda_bench.training.capture import CapturedStep
from isda_bench.training.evaluate import evaluate
from isda_bench.training.optimizers import NESTEROV, make_optimizer, set_learning_rate
from isda_bench.training.state import EpochProgress, RunState
from isda_bench.training.step import Step, TrainingModule
from isda_bench.training.step_state import StepState

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
    model.to(memory_format=torch.channels_last)
    return TrainingModule(model, loss, bf16=settings.precision == "bf16"), settings.schedule


def batch(n=N, side=32):
    images = torch.empty(n, 3, side, side, device=D).to(memory_format=torch.channels_last)
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


def augmenting(name):
    def case():
        settings = compose_run(["dataset=cifar10", "logger=none", f"augment={name}"]).settings
        if name in ("autoaugment", "randaugment") and settings.augment.get("operations") != "pillow":
            return {"older function": 1}
        augment = instantiate(settings.augment)
        with FakeTensorMode():
            images = torch.zeros(N, 3, 32, 32, dtype=torch.uint8, device=D)
            for first in (True, False):  # tables are made for the first batch
                with Watch() as watch:
                    augment(images)
                if first:
                    continue
        return watch.found | ({"copies to the device": watch.copied} if watch.copied > 1 else {})

    return case


def loading():
    """Order, gather and normalisation of an epoch's batches."""
    with FakeTensorMode():
        images = ImageSet(torch.zeros(20, 3, 32, 32, dtype=torch.uint8), torch.zeros(20, dtype=torch.int64))
        normalise = Normalise((127.0,) * 3, (60.0,) * 3, torch.device(D))
        loader = Loader(images, N, torch.device(D), [NoAugmentation(), normalise], shuffle=True)
        with Watch() as watch:
            order = torch.randperm(20, device=D)
        loader.restore_position({"order": order, "seed": 0, "step": 0})
        with watch:
            for _ in loader:
                pass
    return watch.found


def evaluating(precision):
    """An evaluation waits once, for its sums."""

    def case():
        module, _ = built("model=resnet8")
        with FakeTensorMode() as mode:
            module = on_fake_cuda(module, mode)
            images = ImageSet(torch.zeros(8, 3, 32, 32, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64))
            loader = Loader(images, N, torch.device(D), [_as_float], shuffle=False)
            with Watch() as watch:
                try:
                    evaluate(module.model, loader, bf16=precision == "bf16")
                except Exception as error:  # tolist of the sums
                    if type(error).__name__ != "DataDependentOutputException":
                        raise
        waits = [key for key in watch.found if "_local_scalar_dense" in key]
        return {k: n for k, n in watch.found.items() if k not in waits} | (
            {} if len(waits) == 1 else {f"waits: {waits}": len(waits)}
        )

    return case


def _as_float(images):
    return images.float()


def generating(name):
    """A step of critic and generator, each with its optimizer."""

    def case():
        gan = GENERATORS[name](CLASSES, 3, 32, width=8)
        average = ExponentialMovingAverage(gan.generator, 0.9)
        with FakeTensorMode() as mode:
            on_fake_cuda(average.generator, mode)
            gan = on_fake_cuda(gan, mode).train()
            of_critic, of_generator = gan.optimizers()
            groups = gan.generator.groups
            real = torch.zeros(N, groups, 3, 32, 32, device=D)
            labels = torch.zeros(N, dtype=torch.int64, device=D)
            with Watch() as watch:
                for _ in range(2):
                    for optimizer, loss in (
                        (of_critic, lambda: gan.critic_loss(real, labels)),
                        (of_generator, lambda: gan.generator_loss(N)),
                    ):
                        optimizer.zero_grad()
                        loss().sum().backward()
                        optimizer.step()
                    gan.after_critic_step()
                    average.update(gan.generator)
        return _not_captured(watch.found)

    return case


def _not_captured(found):
    """The findings of work that no graph holds: optimizers may count their steps on the host."""
    return {key: n for key, n in found.items() if not key.startswith("on the CPU: ")}


def inverting(per_class):
    """An iteration of the inversion."""

    def case():
        network = ResNet(CLASSES, 8, in_channels=1).eval().requires_grad_(False)
        classifier = fused(network, torch.randn(2, 1, 8, 8))
        generator = Generator(CLASSES, 1, 8, width=8, per_class=per_class, conditional=not per_class)
        labels = torch.arange(CLASSES)
        images = FixedClasses(generator.eval().requires_grad_(False), labels, torch.empty(CLASSES, 0))
        wanted = torch.zeros(CLASSES, classifier.feature_dim), torch.zeros(CLASSES, 1, 8, 8)
        search = Search(classifier, images, Digits(), *wanted, eta=1.0)
        with FakeTensorMode() as mode:
            search = on_fake_cuda(search, mode)
            iteration = iteration_of(search, STEPS[0])
            z = torch.empty(CLASSES, NOISE, device=D)
            rate = torch.full((), 0.1, device=D)
            with Watch() as watch:
                iteration(z, torch.zeros_like(z), rate)
        return watch.found

    return case


class Kept:
    """Stands in for a run's directory: keeps the newest state, on the host."""

    def __init__(self):
        self.state = None

    def newest_state(self):
        return self.state

    def save(self, state, epoch, step=None):
        self.state = torch.utils._pytree.tree_map(
            lambda leaf: leaf.cpu() if isinstance(leaf, torch.Tensor) else leaf, state
        )
        for group in self.state["optimizer"]["param_groups"]:
            group["lr"] = 0.1  # torch copies the groups deeply, which no fake tensor survives

    def rewrite(self, metrics):
        pass


def resuming(optimizer=None):
    """The state of a run goes to the host and back; a captured step after it is clean."""

    def case():
        directory = Kept()
        found = {}
        modules = [built("model=resnet8", "loss=isda") for _ in range(2)]
        with FakeTensorMode() as mode:
            for module, recipe in modules:
                module = on_fake_cuda(module, mode).train()
                made = optimizer(module.parameters()) if optimizer else make_optimizer(module, recipe)
                for group in made.param_groups:
                    group.setdefault("initial_lr", group["lr"])
                images = ImageSet(torch.zeros(20, 3, 32, 32, dtype=torch.uint8), torch.zeros(20).long())
                batches = Loader(images, N, torch.device(D), [_as_float], shuffle=True)
                state = RunState(module, made, batches, directory, minutes=1.0)
                state.resume()
                step = CapturedStep(module, made, {N}, required=True)
                if directory.state is None:
                    batches.restore_position({"order": torch.arange(20), "seed": 0, "step": 0})
                epoch = iter(batches)  # which forgets its place when it is collected
                next(epoch)
                with Watch() as watch:
                    Step.__call__(step, *batch())
                found |= watch.found
                sums = state.pop_epoch_progress().sums
                if directory.state is None:
                    state.save_within(EpochProgress(sums, 1.0))
                assert sums.device.type == "cuda"
        return found

    return case


def _timm(name):
    def make(parameters):
        from isda_bench.runtime import torchvision_import  # noqa: F401  # timm imports torchvision

        from timm.optim import create_optimizer_v2  # isort: skip

        return create_optimizer_v2(list(parameters), opt=name, lr=0.01)

    return make


GENERATORS = {"wgan": WGAN, "cgan": CGAN, "acgan": ACGAN, "infogan": InfoGAN}
SMALL = {
    "resnet": ["model=resnet8"],
    "se_resnet": ["model=se_resnet110", "model.depth=8"],
    "wide_resnet": ["model=wrn28_10", "model.depth=10", "model.width=1"],
    "densenet": ["model=densenet_bc_100_12", "model.depth=10"],
    "densenet with checkpointing": ["model=densenet_bc_100_12", "model.depth=10", "model.checkpointing=true"],
    "resnext": ["model=resnext29_8x64d", "model.depth=11", "model.cardinality=2", "model.width=8"],
    "shake_shake": ["model=shake_shake_26_2x32d", "model.depth=8", "model.width=8"],
    "pyramidnet": ["model=pyramidnet110_a48", "model.depth=14", "model.shake_drop=0.5"],
    "timm": ["model=timm", "model.name=test_resnet"],
    "timm, head alone": ["model=timm", "model.name=test_resnet", "model.freeze=true"],
    "timm, rates of layers": ["model=timm", "model.name=test_resnet", "model.layer_decay=0.5"],
    "timm, transformer": ["model=timm", "model.name=test_vit", "model.image_size=32"],
}
"""A small network of each family."""
SHIPPED = sorted(path.stem for path in CONF.glob("optimizer/*.yaml"))
IMAGENET = ["resnet50", "resnext50_32x4d", "densenet121"]
DROPOUT = "model.dropout=0.3"
LOSSES = sorted(path.stem for path in CONF.glob("loss/*.yaml"))
MIXABLE = [name for name in LOSSES if name not in ("center", "disturb_label")]  # which refuse mixed batches
COVARIANCES = ["diagonal", "shared", "identity"]
PRECISIONS = ["fp32", "tf32", "bf16"]
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01),
    "timm lion": _timm("lion"),
}
NOT_CAPTURABLE = {
    "timm lamb, which counts on the host": _timm("lamb"),
    "RMSprop, which reads its rate": lambda p: torch.optim.RMSprop(p, 0.01),
}
"""Optimizers whose steps cannot be replayed: a capture has to find it out, and falls back."""
FAULTS = {
    "a random number of the CPU": lambda loss, outputs, targets: loss * torch.rand(()),
    "a tensor of a list": lambda loss, o, t: loss * torch.tensor([1.0, 2.0], device=t.device).sum(),
    "float() of a result": lambda loss, outputs, targets: loss * float(outputs.logits.sum()),
    "a mask": lambda loss, outputs, targets: loss + outputs.logits[outputs.logits > 0].sum(),
    "arange on the CPU": lambda loss, outputs, targets: loss + (outputs.logits + torch.arange(CLASSES)).sum(),
}
CASES = (
    {
        f"loss {loss} {precision}": training("model=resnet8", f"loss={loss}", f"precision={precision}")
        for loss in LOSSES
        for precision in PRECISIONS
    }
    | {
        f"covariance {covariance} {precision}": training(
            "model=resnet8", "loss=isda", f"loss.covariance={covariance}", f"precision={precision}"
        )
        for covariance in COVARIANCES
        for precision in PRECISIONS
    }
    | {
        f"network {name} {precision}": training(*lines, DROPOUT, "loss=isda", f"precision={precision}")
        for name, lines in SMALL.items()
        for precision in PRECISIONS
    }
    | {f"network {name} bf16": training(f"model={name}", "precision=bf16", side=64) for name in IMAGENET}
    | {f"small network {name} bf16": imagenet(name) for name in IMAGENET}
    | {
        f"compiled {loss} {precision}": compiling(f"loss={loss}", f"precision={precision}")
        for loss in LOSSES
        for precision in ("fp32", "bf16")
    }
    | {
        f"compiled covariance {covariance}": compiling("loss=isda", f"loss.covariance={covariance}")
        for covariance in COVARIANCES
    }
    | {f"augment {name}": augmenting(name) for name in ("none", "standard", "cutout")}
    | {f"augment {name}": augmenting(name) for name in ("autoaugment", "randaugment")}
    | {f"mix {name}": mixing(name) for name in ("mixup", "cutmix")}
    | {
        f"mixed batches, {loss} {precision}": mixed_training(f"loss={loss}", f"precision={precision}")
        for loss in MIXABLE
        for precision in ("fp32", "bf16")
    }
    | {"loading": loading, "a capture that fails": failing}
    | {f"evaluation {precision}": evaluating(precision) for precision in ("fp32", "bf16")}
    | {f"generator {name}": generating(name) for name in ("wgan", "cgan", "acgan", "infogan")}
    | {"inversion per class": inverting(True), "inversion": inverting(False)}
    | {f"optimizer {name}": optimizing(make) for name, make in OPTIMIZERS.items()}
    | {f"optimizer={name}": shipped(name) for name in SHIPPED}
    | {"resume": resuming(), "resume adamw": resuming(OPTIMIZERS["adamw"])}
    | {f"fault {name}": optimizing(make) for name, make in NOT_CAPTURABLE.items()}
    | {f"fault {name}": planted(fault) for name, fault in FAULTS.items()}
)


def outcome(case):
    """The findings of a case; an exception of torch or the package is one, too."""
    try:
        return case()
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        places = [f for f in frames if PACKAGE in f.filename][-1:] + frames[-1:]
        where = ", ".join(f"{Path(f.filename).name}:{f.lineno}" for f in places)
        return {f"{type(error).__name__} at {where}: {str(error).partition(chr(10))[0][:200]}": 1}
