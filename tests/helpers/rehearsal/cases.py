"""Parts of the package on fake CUDA tensors; imported after `watch.load_shim`.

A case returns {finding: times}, empty where nothing waits for the device and a graph would freeze nothing.
"""

import traceback
from pathlib import Path

import torch

from helpers.rehearsal.fake_steps import CLASSES
from helpers.rehearsal.part_cases import augmenting, evaluating, generating, inverting, loading, resuming
from helpers.rehearsal.step_cases import (
    DROPOUT,
    compiling,
    failing,
    imagenet,
    mixed_training,
    mixing,
    optimizing,
    planted,
    shipped,
    training,
)
from helpers.rehearsal.watch import PACKAGE
from isda_bench.config.run_config import CONF


def _timm(name):
    def make(parameters):
        from isda_bench.runtime import torchvision_import  # noqa: F401  # timm imports torchvision

        from timm.optim import create_optimizer_v2  # isort: skip

        return create_optimizer_v2(list(parameters), opt=name, lr=0.01)

    return make


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


def _zero():
    return torch.zeros((), dtype=torch.int64)


DRAW_FAULTS = {
    "item": lambda drawn: drawn + int(drawn.sum().item()),
    "tolist": lambda drawn: torch.tensor(drawn.tolist(), device=drawn.device),
    "random number of the CPU": lambda drawn: drawn + torch.randint(2, ()).to(drawn.device),
    "list as index": lambda drawn: drawn[[*range(len(drawn))]],
    "copy of pageable memory": lambda drawn: drawn + _zero().to(drawn.device, non_blocking=True),
    "a copy for each draw": lambda drawn: drawn + _zero().pin_memory().to(drawn.device, non_blocking=True),
}
"""In augmentations and generators, done to what is drawn for a batch."""
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
    | {
        f"fault {fault} in {name}": make(name, change)
        for name, make in (("autoaugment", augmenting), ("randaugment", augmenting), ("infogan", generating))
        for fault, change in DRAW_FAULTS.items()
    }
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
