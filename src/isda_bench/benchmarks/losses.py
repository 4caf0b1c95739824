"""The cost of the losses: ISDA beside its naive tensor form, every loss beside the cross-entropy."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from isda_bench.benchmarks.timing import medians
from isda_bench.benchmarks.training_step import training_step
from isda_bench.config.run_config import CONF
from isda_bench.losses import ISDA, CrossEntropy, Loss, Outputs
from isda_bench.losses.class_statistics import ClassStatistics
from isda_bench.losses.isda import Covariance
from isda_bench.losses.low_rank_covariance import LowRankCovariance
from isda_bench.models.resnet import ResNet
from isda_bench.training.cuda_graphs import capture

SIZES = ((100, 640, 128), (10, 640, 128), (100, 342, 64), (10, 64, 128))
"""C, A, N: Wide-ResNet-28-10 on CIFAR-100 and -10, DenseNet-BC-100-12 on CIFAR-100, a ResNet on CIFAR-10."""
VARIANTS: tuple[Covariance, ...] = ("diagonal", "shared", "identity", "lowrank")
FORMS: list[tuple[Covariance, tuple[int, int, int]]] = [
    *(("full", size) for size in SIZES),
    *((variant, size) for variant in VARIANTS for size in (SIZES[0], SIZES[-1])),
]

Call = Callable[[], Any]


def isda_rows(device: torch.device, repeats: int = 9) -> list[dict[str, Any]]:
    """ISDA's statistics, forward and backward beside the naive form: the covariances and sizes of `FORMS`.

    The low-rank covariance stands for the full one, and so is beside the naive form of that.

    Args:
        device: where.
        repeats: of which the median is taken, the two forms in turn.

    Returns:
        Rows of covariance, num_classes, feature_dim, batch_size, milliseconds and peak extra MiB of both, and
        speedup.
    """
    rows = []
    for covariance, (num_classes, feature_dim, n) in FORMS:
        features = torch.randn(n, feature_dim, device=device)
        targets = torch.randint(num_classes, (n,), device=device)
        losses = {
            "isda": ISDA(num_classes, feature_dim, covariance=covariance),
            "naive": NaiveISDA(num_classes, feature_dim, "full" if covariance == "lowrank" else covariance),
        }
        steps = {name: head_pass(loss.to(device), features, targets) for name, loss in losses.items()}
        seconds = medians(steps, repeats)
        row: dict[str, Any] = {"covariance": covariance, "num_classes": num_classes}
        row |= {"feature_dim": feature_dim, "batch_size": n}
        row |= {f"{name}_ms": 1000 * s for name, s in seconds.items()}
        row |= {f"{name}_peak_mib": peak_bytes(step, device) / 2**20 for name, step in steps.items()}
        rows.append(row | {"speedup": seconds["naive"] / seconds["isda"]})
    return rows


def loss_rows(device: torch.device, num_classes: int = 10, repeats: int = 101) -> list[dict[str, Any]]:
    """The step of ResNet-32 with each loss, beside that with the cross-entropy, in batches of 128.

    What differs between losses is measured on its own, from the features on: the noise of a whole step is
    larger than the differences. On CUDA it is captured, but for the low-rank covariance, which cannot be.

    Args:
        device: where.
        num_classes: C.
        repeats: of which the median is taken, the losses in turn.

    Returns:
        Rows of loss, num_classes, milliseconds from the features on, and step_ratio, the whole step's time
        with this loss over that with the cross-entropy.
    """
    features = torch.randn(128, 64, device=device)
    targets = torch.randint(num_classes, (128,), device=device)
    losses = _losses(num_classes, 64)
    heads = {}
    for name, loss in losses.items():
        head = head_pass(loss.to(device), features, targets)
        heads[name] = as_captured(head, device) if loss.capturable else head
    seconds = medians(heads, repeats)
    step = training_step(CrossEntropy(num_classes, 64), ResNet(num_classes, 32), device)
    whole = medians({"step": step}, max(repeats // 10, 5))
    plain = seconds["cross_entropy"]
    return [
        {
            "loss": name,
            "num_classes": num_classes,
            "ms": 1000 * s,
            "step_ratio": 1 + (s - plain) / whole["step"],
        }
        for name, s in seconds.items()
    ]


class NaiveISDA(Loss):
    """ISDA as tensors: N x C x A differences, a covariance a sample, every class's statistics updated."""

    capturable = False
    count: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, num_classes: int, feature_dim: int, covariance: Covariance = "full") -> None:
        super().__init__(num_classes, feature_dim)
        self.covariance = covariance
        groups = 1 if covariance == "shared" else num_classes
        self.register_buffer("count", torch.zeros(groups))
        self.register_buffer("mean", torch.zeros(groups, feature_dim))
        shape = (feature_dim,) if covariance == "diagonal" else (feature_dim, feature_dim)
        self.register_buffer("spread", torch.zeros(groups, *shape))

    def compute(self, outputs: Outputs, targets: Tensor, progress: float | Tensor) -> Tensor:
        """The same loss as `ISDA`."""
        features, logits, head = outputs
        groups = torch.zeros_like(targets) if self.covariance == "shared" else targets
        if self.covariance != "identity":
            self._update(features.detach(), groups)
        differences = head.weight - head.weight[targets][:, None]
        if self.covariance == "identity":
            form = differences.square().sum(2)
        elif self.covariance == "diagonal":
            form = (differences.square() * self.spread[groups][:, None]).sum(2)
        else:
            form = ((differences @ self.spread[groups]) * differences).sum(2)
        return F.cross_entropy(logits + 0.5 * progress / 2 * form, targets)

    def _update(self, features: Tensor, groups: Tensor) -> None:
        member = F.one_hot(groups, len(self.count)).to(features.dtype)
        new = member.sum(0)
        mean = (member[:, :, None] * features[:, None]).sum(0) / new.clamp(min=1)[:, None]
        deviations = (member[:, :, None] * (features[:, None] - mean)).transpose(0, 1)
        weight = (new / (self.count + new).clamp(min=1))[:, None]
        w = weight if self.covariance == "diagonal" else weight[:, :, None]
        shift = self._squared((self.mean - mean)[:, None])
        spread = self._squared(deviations) / new.clamp(min=1).view(-1, *w.shape[1:])
        self.spread = (1 - w) * self.spread + w * spread + w * (1 - w) * shift
        self.mean = (1 - weight) * self.mean + weight * mean
        self.count = self.count + new

    def _squared(self, rows: Tensor) -> Tensor:
        """Sums of rows' outer products with themselves, or of the diagonals of these."""
        return rows.square().sum(1) if self.covariance == "diagonal" else rows.mT @ rows


def peak_bytes(call: Call, device: torch.device) -> int:
    """The most memory a call holds at once beyond what was there before; on a CPU, by torch's profiler."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        trace.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e["name"] == "[memory]")
    held = torch.tensor([0, *(size for _, size in changes)]).cumsum(0)
    return int(held.max())


def _losses(num_classes: int, feature_dim: int) -> dict[str, Loss]:
    """Every loss of conf/loss with its defaults, and ISDA's variants."""
    losses = {
        path.stem: instantiate(OmegaConf.load(path), num_classes=num_classes, feature_dim=feature_dim)
        for path in sorted((CONF / "loss").glob("*.yaml"))
    }
    variants = {f"isda, {name}": ISDA(num_classes, feature_dim, covariance=name) for name in VARIANTS}
    return losses | variants


def as_captured(call: Call, device: torch.device) -> Call:
    """On CUDA `call` as a captured step has it: the GPU's own time, without the launches of its kernels."""
    if device.type != "cuda":
        return call
    replay, _ = capture(call)

    def again(kept: Call = call) -> object:  # keeps the tensors that the graph reads
        return replay()

    return again


def head_pass(loss: Loss, features: Tensor, targets: Tensor) -> Call:
    """Forward and backward from the features on, and a step of the loss's own parameters."""
    head = nn.Linear(loss.feature_dim, loss.num_classes, device=features.device)
    optimizers = [torch.optim.SGD(loss.parameter_groups())] if loss.parameter_groups() else []

    def call() -> None:
        leaf = features.detach().requires_grad_()
        head.zero_grad()
        loss.zero_grad()
        loss(Outputs(leaf, head(leaf), head), targets, 0.5).backward()
        for optimizer in optimizers:
            optimizer.step()

    return call


def low_rank_rows(device: torch.device, repeats: int = 9) -> list[dict[str, Any]]:
    """The low-rank covariance: its error beside the full one's on CIFAR-sized features, its cost, its memory.

    The features' spread falls by a factor e every 8 directions. At ImageNet's size the full one does not fit.

    Returns:
        Rows of num_classes, feature_dim, rank, error and bound (spectral norm, mean over classes, in parts of
        the full covariance's), error_of_diagonal, state_mib, full_mib, and milliseconds of a pass of both.
    """
    torch.manual_seed(0)
    cifar = [(10, 64, 128, rank) for rank in (4, 8, 16, 32)] + [(100, 640, 128, 16)]
    rows = [_row(*size, device, repeats, compare=True) for size in cifar]
    return [*rows, _row(1000, 2048, 256, 16, device, repeats, compare=False)]


def _row(
    num_classes: int, feature_dim: int, n: int, rank: int, device: torch.device, repeats: int, compare: bool
) -> dict[str, Any]:
    spread = torch.exp(-torch.arange(feature_dim, device=device) / 8)
    rotation = torch.linalg.qr(torch.randn(feature_dim, feature_dim, device=device))[0]
    low = ISDA(num_classes, feature_dim, covariance="lowrank", rank=rank).to(device)
    full = ISDA(num_classes, feature_dim).to(device) if compare else None
    errors: dict[str, float | None] = dict.fromkeys(("error", "bound", "error_of_diagonal"))
    for _ in range(20 * num_classes * repeats // n if compare else 1):
        targets = torch.randint(num_classes, (n,), device=device)
        features = (torch.randn(n, feature_dim, device=device) * spread) @ rotation
        for loss in (low, full) if full else (low,):
            loss.statistics.update(features, targets)
    losses = {"lowrank": low} | ({"full": full} if full else {})
    if full:
        errors = _errors(low.statistics, full.statistics)
    seconds = medians(
        {name: head_pass(loss, features, targets) for name, loss in losses.items()}, repeats, warmup=2
    )
    return {
        "num_classes": num_classes,
        "feature_dim": feature_dim,
        "batch_size": n,
        "rank": rank,
        **errors,
        "state_mib": sum(b.nbytes for b in low.statistics.buffers()) / 2**20,
        "full_mib": 4 * num_classes * feature_dim**2 / 2**20,
        "lowrank_ms": 1000 * seconds["lowrank"],
        "full_ms": 1000 * seconds["full"] if full else None,
    }


def _errors(low: LowRankCovariance, full: ClassStatistics) -> dict[str, float | None]:
    wanted = full.covariance
    size = _norm(wanted)
    diagonal = torch.diag_embed(wanted.diagonal(dim1=1, dim2=2))
    got = low.directions.mT @ low.directions + torch.diag_embed(low.variances)
    return {
        "error": float((_norm(got - wanted) / size).mean()),
        "bound": float((low.bound / size).mean()),
        "error_of_diagonal": float((_norm(diagonal - wanted) / size).mean()),
    }


def _norm(matrices: torch.Tensor) -> torch.Tensor:
    """Spectral norm of symmetric matrices."""
    return torch.linalg.eigvalsh(matrices).abs().amax(-1)
