"""Checks of the other parts that run on a GPU: generators, inversion, augmentations."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from hydra.utils import instantiate

from isda_bench.benchmarks.gpu_check.outcome import CheckFailed
from isda_bench.benchmarks.gpu_check.step_trials import CLASSES, IMAGES
from isda_bench.config.compose import compose_run
from isda_bench.data.digits import Digits
from isda_bench.gan.base import Gan
from isda_bench.gan.networks import NOISE, Generator
from isda_bench.gan.objectives import ACGAN, CGAN, WGAN, InfoGAN
from isda_bench.inversion.descent import STEPS, FixedClasses, Search, iteration_of
from isda_bench.inversion.fuse_batchnorm import fused
from isda_bench.models.resnet import ResNet

GENERATORS: dict[str, type[Gan]] = {"wgan": WGAN, "cgan": CGAN, "acgan": ACGAN, "infogan": InfoGAN}


@contextmanager
def no_wait(device: torch.device) -> Iterator[None]:
    """Makes CUDA raise where the host waits for it; the first call of a kernel may wait, a second may not."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _without_wait(device: torch.device) -> str:
    return ", and the host does not wait" if device.type == "cuda" else ""


def generator_steps(device: torch.device, name: str) -> str:
    """Two steps of critic and generator, the second without a wait."""
    torch.manual_seed(0)
    gan = GENERATORS[name](CLASSES, 3, 32, width=8).to(device).train()  # type: ignore[call-arg]
    images = 2 * torch.rand(IMAGES, gan.generator.groups, 3, 32, 32, device=device) - 1
    labels = torch.randint(CLASSES, (IMAGES,), device=device)
    optimizers = gan.optimizers()
    _generator_step(gan, optimizers, images, labels)
    try:
        with no_wait(device):
            losses = _generator_step(gan, optimizers, images, labels)
    except RuntimeError as error:
        raise CheckFailed(f"{name}: {error}") from error
    if not losses.isfinite().all():
        raise CheckFailed(f"{name}: the losses of a step are {losses.tolist()}")
    return f"{name}: a step of critic and generator has finite losses{_without_wait(device)}"


def _generator_step(
    gan: Gan,
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    images: torch.Tensor,
    labels: torch.Tensor,
) -> torch.Tensor:
    losses = []
    for optimizer, loss in zip(
        optimizers, (lambda: gan.critic_loss(images, labels), lambda: gan.generator_loss(IMAGES)), strict=True
    ):
        value = loss().sum()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.detach())
    gan.after_critic_step()
    return torch.stack(losses)


def inversion_iteration(device: torch.device) -> str:
    """An iteration of the inversion gives the CPU's numbers."""
    results = [_iteration(place) for place in (device, torch.device("cpu"))]
    if not torch.allclose(results[0], results[1], rtol=1e-2, atol=1e-3):
        off = (results[0] - results[1]).abs().max().item()
        raise CheckFailed(f"an iteration of the inversion differs from the CPU's by up to {off:.3g}")
    return "an iteration of the inversion gives the CPU's numbers"


def _iteration(device: torch.device) -> torch.Tensor:
    torch.manual_seed(0)
    network = ResNet(CLASSES, 8, in_channels=1).eval().requires_grad_(False)
    classifier = fused(network, torch.randn(2, 1, 8, 8))
    generator = Generator(CLASSES, 1, 8, width=8, per_class=True).eval().requires_grad_(False)
    labels = torch.arange(CLASSES)
    images = FixedClasses(generator, labels, torch.empty(CLASSES, 0))
    wanted = torch.zeros(CLASSES, classifier.feature_dim), torch.zeros(CLASSES, 1, 8, 8)
    search = Search(classifier, images, Digits(), *wanted, eta=1.0).to(device)
    z = torch.randn(CLASSES, NOISE).to(device)
    z, *_ = iteration_of(search, STEPS[0])(z, torch.zeros_like(z), torch.tensor(0.01, device=device))
    return z.cpu()


def augments(device: torch.device, name: str) -> str:
    """A batch is augmented on the device; the host does not wait for the second one."""
    settings = compose_run(["dataset=cifar10", "logger=none", f"augment={name}"]).settings
    augment = instantiate(settings.augment)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=generator).to(device)
    augment(images)
    try:
        with no_wait(device):
            made = augment(images)
    except RuntimeError as error:
        raise CheckFailed(f"augment={name}: {error}") from error
    if (made.shape, made.dtype, made.device) != (images.shape, images.dtype, images.device):
        raise CheckFailed(f"augment={name}: makes {made.dtype} images of shape {tuple(made.shape)}")
    return f"augment={name} makes images of the same shape on the device{_without_wait(device)}"


def driver(device: torch.device) -> str:
    """The driver serves torch's CUDA: a product of matrices of whole numbers is exact."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(-8, 9, (256, 256), generator=generator).float() for _ in range(2))
    if not torch.equal((a.to(device) @ b.to(device)).cpu(), a @ b):
        raise CheckFailed("a product of matrices of whole numbers is wrong")
    version = Path("/proc/driver/nvidia/version")
    words = version.read_text().splitlines()[0].split() if version.exists() else []
    number = next((word for word in words if word[:1].isdigit() and "." in word), "unknown")
    major, minor = torch.cuda.get_device_capability(device)
    return (
        f"{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}, driver {number}, "
        f"torch {torch.__version__} with CUDA {torch.version.cuda}: a product of matrices is right"
    )
