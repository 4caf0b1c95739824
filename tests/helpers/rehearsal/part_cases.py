"""Other parts on fake CUDA tensors: a case returns {finding: times}."""

import torch
from hydra.utils import instantiate
from torch._subclasses.fake_tensor import FakeTensorMode

from helpers.rehearsal.fake_steps import CLASSES, D, N, Watch, batch, built, on_fake_cuda
from isda_bench.config.compose import compose_run
from isda_bench.data.augment import NoAugmentation
from isda_bench.data.base import ImageSet
from isda_bench.data.digits import Digits
from isda_bench.data.loader import Loader, Normalise
from isda_bench.gan.ema import ExponentialMovingAverage
from isda_bench.gan.networks import NOISE, Generator
from isda_bench.gan.objectives import ACGAN, CGAN, WGAN, InfoGAN
from isda_bench.inversion.descent import STEPS, FixedClasses, Search, iteration_of
from isda_bench.inversion.fuse_batchnorm import fused
from isda_bench.models.resnet import ResNet
from isda_bench.training.capture import CapturedStep
from isda_bench.training.evaluate import evaluate
from isda_bench.training.optimizers import make_optimizer
from isda_bench.training.state import EpochProgress, RunState
from isda_bench.training.step import Step

GENERATORS = {"wgan": WGAN, "cgan": CGAN, "acgan": ACGAN, "infogan": InfoGAN}
STEPS_OF_GENERATORS = 2


def augmenting(name, fault=None):
    """A batch, for which at most one copy goes to the device.

    Args:
        name: of the augmentation.
        fault: what is done to each of its draws.
    """

    def case():
        settings = compose_run(["dataset=cifar10", "logger=none", f"augment={name}"]).settings
        if name in ("autoaugment", "randaugment") and settings.augment.get("operations") != "pillow":
            return {"older function": 1}
        augment = instantiate(settings.augment)
        if fault:
            draw = augment.drawn.draw
            augment.drawn.draw = lambda n, device: map(fault, draw(n, device))
        with FakeTensorMode():
            images = torch.zeros(N, 3, 32, 32, dtype=torch.uint8, device=D)
            for first in (True, False):  # tables are made for the first batch
                with Watch() as watch:
                    augment(images)
                if first:
                    continue
        return watch.found | _too_many(watch.copied, 1)

    return case


def _too_many(copied, batches):
    return {"copies to the device": copied} if copied > batches else {}


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


def generating(name, fault=None):
    """Two steps of critic and generator, each with its optimizer; at most one copy a step goes to the device.

    Args:
        name: of the generator.
        fault: what is done to each noise.
    """

    def case():
        gan = GENERATORS[name](CLASSES, 3, 32, width=8)
        average = ExponentialMovingAverage(gan.generator, 0.9)
        if fault:
            noise = gan.noise
            gan.noise = lambda n: fault(noise(n))
        with FakeTensorMode() as mode:
            on_fake_cuda(average.generator, mode)
            gan = on_fake_cuda(gan, mode).train()
            of_critic, of_generator = gan.optimizers()
            groups = gan.generator.groups
            real = torch.zeros(N, groups, 3, 32, 32, device=D)
            labels = torch.zeros(N, dtype=torch.int64, device=D)
            with Watch() as watch:
                for _ in range(STEPS_OF_GENERATORS):
                    for optimizer, loss in (
                        (of_critic, lambda: gan.critic_loss(real, labels)),
                        (of_generator, lambda: gan.generator_loss(N)),
                    ):
                        optimizer.zero_grad()
                        loss().sum().backward()
                        optimizer.step()
                    gan.after_critic_step()
                    average.update(gan.generator)
        return _not_captured(watch.found) | _too_many(watch.copied, STEPS_OF_GENERATORS)

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
