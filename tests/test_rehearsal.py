"""What runs on a GPU, on fake CUDA tensors: nothing waits for the device, no graph freezes a value.

The cases run in one process, which the first of these tests starts; it loads a small library of C++ before
torch. `helpers/rehearsal/cases.py` says what each case is.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from helpers.rehearsal.watch import build_shim, compiler
from isda_bench.config.run_config import CONF

TESTS = Path(__file__).parent
LOSSES = sorted(path.stem for path in CONF.glob("loss/*.yaml"))
COVARIANCES = ["diagonal", "shared", "identity"]
SHIPPED = sorted(path.stem for path in CONF.glob("optimizer/*.yaml"))
PRECISIONS = ["fp32", "tf32", "bf16"]
FAMILIES = [
    *("resnet", "se_resnet", "wide_resnet", "densenet", "densenet with checkpointing", "resnext"),
    *("shake_shake", "pyramidnet", "timm", "timm, head alone", "timm, rates of layers", "timm, transformer"),
]
IMAGENET = ["resnet50", "resnext50_32x4d", "densenet121"]
MIXED = [("isda", "fp32"), ("isda", "bf16"), ("cross_entropy", "fp32"), ("label_smoothing", "fp32")]
FAST = [
    *(f"loss {loss} {precision}" for loss in LOSSES for precision in PRECISIONS),
    *(f"covariance {covariance} {precision}" for covariance in COVARIANCES for precision in PRECISIONS),
    *(f"network {family} bf16" for family in FAMILIES),
    *(f"small network {name} bf16" for name in IMAGENET),
    *(f"augment {name}" for name in ("none", "standard", "cutout", "autoaugment", "randaugment")),
    *(f"mixed batches, {loss} {p}" for loss, p in MIXED),
    *("mix mixup", "mix cutmix"),
    *("loading", "evaluation fp32", "evaluation bf16", "inversion", "inversion per class"),
    *(f"generator {name}" for name in ("wgan", "cgan", "acgan", "infogan")),
    *(f"optimizer={name}" for name in SHIPPED),
    *("optimizer sgd", "optimizer adamw", "optimizer timm lion", "resume", "resume adamw"),
    "a capture that fails",
    *(f"compiled {loss} bf16" for loss in LOSSES),
    *(f"compiled covariance {covariance}" for covariance in COVARIANCES),
]
FAULTS = {
    "a random number of the CPU": "random number of the CPU: aten.rand",
    "a tensor of a list": "copy between devices",
    "float() of a result": "_local_scalar_dense",
    "a mask": "nonzero",
    "arange on the CPU": "same device",
    "timm lamb, which counts on the host": "on the host: the optimizer's step of group 0",
    "RMSprop, which reads its rate": "_local_scalar_dense",
}
DRAW_FAULTS = {
    "item": "_local_scalar_dense",
    "tolist": "_local_scalar_dense",
    "random number of the CPU": "random number of the CPU: aten.randint",
    "list as index": "copy between devices: aten._to_copy",
    "copy of pageable memory": "copy from memory that is not pinned: aten._to_copy",
    "a copy for each draw": "copies to the device",
}
PARTS = ("autoaugment", "randaugment", "infogan")
FAULTS |= {f"{fault} in {PARTS[i % 3]}": found for i, (fault, found) in enumerate(DRAW_FAULTS.items())}
SLOW_FAULTS = {
    f"{fault} in {part}": found
    for part in PARTS
    for fault, found in DRAW_FAULTS.items()
    if f"{fault} in {part}" not in FAULTS
}
SLOW = [
    *(f"mixed batches, {loss} bf16" for loss in LOSSES if loss not in ("center", "disturb_label", "isda")),
    *(f"network {family} {precision}" for family in FAMILIES for precision in ("fp32", "tf32")),
    *(f"network {name} bf16" for name in IMAGENET),
    *(f"compiled {loss} fp32" for loss in LOSSES),
]

pytestmark = [
    pytest.mark.skipif(compiler() is None, reason="no g++ to build the library that pretends a GPU"),
    pytest.mark.skipif(torch.version.cuda is not None, reason="this torch has CUDA: tests/test_cuda.py"),
]


def findings(cases, folder):
    """What the watch found in each case, from one process for all tests and workers."""
    answers = folder / f"rehearsal-{len(cases)}.json"
    with FileLock(f"{answers}.lock"):
        if not answers.exists():
            library = build_shim(folder / "shim")
            command = [sys.executable, "-m", "helpers.rehearsal.rehearse", str(library), *cases]
            done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=900)
            assert done.returncode == 0, done.stderr
            answers.write_text(json.dumps([json.loads(line) for line in done.stdout.splitlines()]))
    return dict(json.loads(answers.read_text()))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if base.name.startswith("popen-") else base


@pytest.fixture(scope="session")
def fast(folder):
    return findings([*FAST, *(f"fault {name}" for name in FAULTS)], folder)


@pytest.fixture(scope="session")
def slow(folder):
    return findings([*SLOW, *(f"fault {name}" for name in SLOW_FAULTS)], folder)


@pytest.mark.parametrize("case", FAST)
def test_nothing_waits_and_nothing_is_frozen(fast, case):
    if fast[case] == {"older function": 1}:
        pytest.skip("the older function of this augmentation waits")
    assert fast[case] == {}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(fast, name):
    found = fast[f"fault {name}"]
    assert any(FAULTS[name] in finding for finding in found), found


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_FAULTS)
def test_each_planted_fault_is_found_in_each_part(slow, name):
    found = slow[f"fault {name}"]
    assert any(SLOW_FAULTS[name] in finding for finding in found), found


@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW)
def test_in_the_other_precisions_and_compiled(slow, case):
    assert slow[case] == {}
