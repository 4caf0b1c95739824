"""The list of checks, in the order in which they are made."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from isda_bench.benchmarks.gpu_check import captures, parts, speed, step_trials, whole_runs
from isda_bench.benchmarks.gpu_check.outcome import Outcome
from isda_bench.config.run_config import CONF

PRECISIONS = ("fp32", "tf32", "bf16")
COVARIANCES = ("diagonal", "shared", "identity")
COMPILED = ("compiled", "compiled and captured")
DROPOUT = "model.dropout=0.1"
NETWORKS = {
    "resnet": ["model=resnet8", DROPOUT],
    "se_resnet": ["model=se_resnet110", "model.depth=8", DROPOUT],
    "wide_resnet": ["model=wrn28_10", "model.depth=10", "model.width=1", DROPOUT],
    "densenet": ["model=densenet_bc_100_12", "model.depth=10", DROPOUT],
    "resnext": ["model=resnext29_8x64d", "model.depth=11", "model.cardinality=2", "model.width=8", DROPOUT],
    "shake_shake": ["model=shake_shake_26_2x32d", "model.depth=8", "model.width=8", DROPOUT],
    "pyramidnet": ["model=pyramidnet110_a48", "model.depth=14", "model.shake_drop=0.5", DROPOUT],
    "imagenet_resnet": ["model=resnet50", DROPOUT],
    "imagenet_densenet": ["model=densenet121", DROPOUT],
    "timm": ["model=timm", "model.name=test_resnet", DROPOUT],
    "timm_transformer": ["model=timm", "model.name=test_vit", "model.image_size=32", DROPOUT],
}


class Check(NamedTuple):
    """A check.

    Attributes:
        make: device -> the sentence of what passed, or the outcome; raises CheckFailed or CheckSkipped.
        needs_gpu: whether a CPU cannot make it.
        seconds: its time limit.
        alone: whether it measures speed, so that no other check may run beside it.
    """

    make: Callable[[torch.device], str | Outcome]
    needs_gpu: bool = True
    seconds: int = 120
    alone: bool = False


def all_checks() -> dict[str, Check]:
    """Name -> check."""
    losses = sorted(path.stem for path in CONF.glob("loss/*.yaml"))
    small = ["model=resnet8", DROPOUT]
    pairs = {f"captured loss {name}": [*small, f"loss={name}"] for name in losses}
    pairs |= {f"captured covariance {c}": [*small, "loss=isda", f"loss.covariance={c}"] for c in COVARIANCES}
    pairs |= {f"captured network {name}": overrides for name, overrides in NETWORKS.items()}
    optimizers = sorted(path.stem for path in CONF.glob("optimizer/*.yaml"))
    pairs |= {f"captured optimizer {name}": [*small, f"optimizer={name}"] for name in optimizers}
    equal = step_trials.captured_equals_eager
    checks = {"driver": Check(parts.driver)}
    checks |= {name: Check(partial(equal, overrides=overrides)) for name, overrides in pairs.items()}
    checks |= {
        "replays draw": Check(captures.replays_draw),
        "random offsets": Check(captures.random_offsets),
        "planted NaN, eager": Check(partial(captures.no_update_after_nan, modes=("eager",)), needs_gpu=False),
        "planted NaN, captured": Check(partial(captures.no_update_after_nan, modes=("captured",))),
        "planted NaN, compiled": Check(partial(captures.no_update_after_nan, modes=COMPILED), seconds=300),
        "failed capture": Check(captures.failed_capture),
        "memory": Check(captures.memory_comes_back, seconds=300),
        "resume after an epoch": Check(partial(whole_runs.resumes, within=False), needs_gpu=False),
        "resume within an epoch": Check(partial(whole_runs.resumes, within=True), needs_gpu=False),
    }
    checks |= {
        f"trains in {precision}": Check(partial(whole_runs.trains, precision=precision), False, 300)
        for precision in PRECISIONS
    }
    checks |= {
        f"generator {name}": Check(partial(parts.generator_steps, name=name), needs_gpu=False)
        for name in parts.GENERATORS
    }
    checks["inversion"] = Check(parts.inversion_iteration, needs_gpu=False)
    checks |= {
        f"augment {name}": Check(partial(parts.augments, name=name), needs_gpu=False)
        for name in ("autoaugment", "randaugment")
    }
    checks["two GPUs"] = Check(whole_runs.two_gpus, seconds=300)
    checks["ISDA's extra time"] = Check(speed.isda_memory_floor, seconds=180, alone=True)
    return checks | {
        f"speed {network} {precision}": Check(
            partial(speed.rates, network=network, precision=precision), seconds=300, alone=True
        )
        for network in ("resnet32", "wrn28_10")
        for precision in PRECISIONS
    }
