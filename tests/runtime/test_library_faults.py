"""The guard against oneDNN's strided 1x1 convolutions: gradients, and what stays as it was."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close

from helpers import onednn_gradients
from helpers.onednn_gradients import FAMILIES, Standardised
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import CONF
from isda_bench.loading import load_run
from isda_bench.models.base import Classifier
from isda_bench.runtime import library_faults
from isda_bench.runtime.library_faults import RIGHT_FROM, conv2d, on_device
from isda_bench.training.run import run

CPU = torch.device("cpu")
SCRIPT = Path(onednn_gradients.__file__)
TOLERANCE = 1e-4
SECONDS = 600  # a hanging process is stopped; a right one takes some seconds, on a busy machine some more
FAST = [name for name in FAMILIES if name.endswith("narrow") or name in ("resnet", "se_resnet")]


def compared(*arguments, kernels, seconds=SECONDS):
    """How a process that compares gradients ended, a sentence, and the errors that it printed."""
    command = [sys.executable, "-W", "ignore", str(SCRIPT), *arguments]
    env = os.environ | {"ONEDNN_MAX_CPU_ISA": kernels, "GOMP_SPINCOUNT": "0"}  # waiting threads sleep
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        return "hangs", errors((error.stdout or b"").decode())
    if done.returncode > 0:
        pytest.fail(done.stderr)  # an exception of Python's: no kernel's fault
    ended = "finished" if done.returncode == 0 else f"died of signal {-done.returncode}: {done.stderr}"
    return ended, errors(done.stdout)


def errors(output):
    lines = [line.rpartition(": ") for line in output.splitlines() if ": " in line]
    return {name: float(value) for name, _, value in lines}


# AVX2's kernels are the wrong ones that can be had on every machine; ALL: those that a user gets on this one
@pytest.mark.parametrize("kernels", ["AVX2", pytest.param("ALL", marks=pytest.mark.slow)])
def test_gradients_of_strided_1x1_convolutions_are_right(kernels):
    """One layer and small networks of them, of 1 to 16 channels, with 1 and 2 threads."""
    ended, found = compared("convolutions", "guarded", kernels=kernels)
    assert ended == "finished", found
    assert len(found) == 16 * 3 * 2  # channels, modules, threads
    assert max(found.values()) < TOLERANCE, found


def test_the_comparison_finds_the_fault_without_the_guard():
    ended, found = compared("convolutions", "unguarded", kernels="AVX2", seconds=60)
    if ended == "finished" and max(found.values()) < TOLERANCE:
        pytest.skip("the kernels of this machine and this torch are right")


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(FAST, id="narrow", marks=pytest.mark.slow),
        pytest.param([name for name in FAMILIES if name not in FAST], id="wide", marks=pytest.mark.slow),
    ],
)
def test_a_training_step_of_each_family_has_the_gradients_of_torchs_own_kernels(names):
    ended, found = compared("families", "guarded", *names, kernels="AVX2")
    assert ended == "finished", found
    assert len(found) == len(names)
    assert max(found.values()) < TOLERANCE, found


class Seen(TorchFunctionMode):
    """Keeps the strides of the 1x1 convolutions of few channels that reach torch."""

    def __init__(self):
        super().__init__()
        self.strides = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is F.conv2d and args and not args[0].is_meta and _is_narrow_1x1(args[1]):
            stride = args[3] if len(args) > 3 else kwargs.get("stride", 1)
            self.strides.append(max(stride) if isinstance(stride, tuple) else stride)
        return function(*args, **kwargs)


def _is_narrow_1x1(weight):
    return weight.shape[2:] == (1, 1) and weight.shape[1] < RIGHT_FROM


class KeywordConvolution(nn.Conv2d):
    def forward(self, input):
        return F.conv2d(input=input, weight=self.weight, bias=self.bias, stride=self.stride) + input.mean()


CONVOLUTIONS = {
    "plain": lambda: nn.Conv2d(3, 8, 1, stride=2),
    "no bias": lambda: nn.Conv2d(3, 8, 1, stride=2, bias=False),
    "rows only": lambda: nn.Conv2d(3, 8, 1, stride=(2, 1)),
    "columns only": lambda: nn.Conv2d(3, 8, 1, stride=(1, 3)),
    "one number as a tuple": lambda: nn.Conv2d(3, 8, (1, 1), stride=(2,)),
    "dilation": lambda: nn.Conv2d(3, 8, 1, stride=2, dilation=3),
    "groups": lambda: nn.Conv2d(6, 8, 1, stride=2, groups=2),
    "few channels in each of many groups": lambda: nn.Conv2d(48, 8, 1, stride=2, groups=8),
    "depthwise": lambda: nn.Conv2d(6, 6, 1, stride=2, groups=6),
    "padding": lambda: nn.Conv2d(3, 8, 1, stride=2, padding=(1, 2)),
    "padding that no pixel is taken of": lambda: nn.Conv2d(3, 8, 1, stride=4, padding=3),
    "padding=valid": lambda: nn.Conv2d(3, 8, 1, stride=2, padding="valid"),
    "reflected": lambda: nn.Conv2d(3, 8, 1, stride=2, padding=1, padding_mode="reflect"),
    "circular": lambda: nn.Conv2d(3, 8, 1, stride=(3, 2), padding=(2, 1), padding_mode="circular"),
    "subclass": lambda: Standardised(3, 8, 1, stride=2, padding=1),
    "keywords": lambda: KeywordConvolution(3, 8, 1, stride=2),
    "parametrised": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 1, stride=2)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("shape", [(4, 9, 7), (2, 8, 8)], ids=["9x7", "8x8"])
def test_the_same_function_without_the_kernel(name, shape):
    torch.manual_seed(0)
    batch, *size = shape
    convolution = CONVOLUTIONS[name]()
    exact = copy.deepcopy(convolution).double()
    before = convolution.state_dict().keys(), str(convolution), type(convolution).__name__
    assert on_device(convolution, CPU) is convolution
    assert before == (convolution.state_dict().keys(), str(convolution), type(convolution).__name__)
    images = torch.randn(batch, convolution.in_channels, *size).contiguous(memory_format=torch.channels_last)
    images.requires_grad_()
    doubles = images.detach().double().requires_grad_()
    with Seen() as seen:
        ours = convolution(images)
    assert seen.strides == [1]
    theirs = exact(doubles)
    weight = torch.randn_like(theirs)
    (ours * weight.float()).sum().backward()
    (theirs * weight).sum().backward()
    assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
    assert_close(images.grad.double(), doubles.grad, rtol=1e-5, atol=1e-5)
    for parameter, reference in zip(convolution.parameters(), exact.parameters(), strict=True):
        assert_close(parameter.grad.double(), reference.grad, rtol=1e-4, atol=1e-4)


def test_one_image_without_a_batch_axis():
    convolution = nn.Conv2d(3, 8, 1, stride=2, padding=1)
    image = torch.randn(3, 9, 7)
    expected = convolution(image)
    assert_close(on_device(convolution, CPU)(image), expected)


def test_no_network_of_the_zoo_is_touched():
    """As they ship: their committed records were computed by the kernels that they still have."""
    for path in sorted(CONF.glob("model/*.yaml")):
        config = OmegaConf.load(path)
        config.pop("defaults", None)
        with torch.device("meta"):
            model = instantiate(config, num_classes=10)
        convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
        assert convolutions
        for part in convolutions:
            if part.kernel_size == (1, 1) and max(part.stride) > 1:
                assert part.in_channels // part.groups >= RIGHT_FROM, path.stem


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(16, 8, 1, stride=2),
        nn.Conv2d(64, 8, 1, stride=2, groups=4),
        nn.Conv2d(3, 8, 1),
        nn.Conv2d(3, 8, 3, stride=2),
        nn.Conv2d(3, 8, (1, 3), stride=2),
        nn.Conv1d(3, 8, 1, stride=2),
        nn.ConvTranspose2d(3, 8, 1, stride=2),
    ],
    ids=str,
)
def test_other_layers_are_untouched(layer):
    before = type(layer), dict(vars(layer))
    on_device(layer, CPU)
    assert (type(layer), dict(vars(layer))) == before


def test_untouched_on_another_device_with_onednn_off_and_in_a_version_without_the_fault(monkeypatch):
    convolution = nn.Conv2d(3, 8, 1, stride=2)
    with torch.backends.mkldnn.flags(enabled=False):
        assert type(on_device(convolution, CPU)) is nn.Conv2d
    with monkeypatch.context() as patch:
        patch.setattr(library_faults, "STRIDED_1X1", library_faults.STRIDED_1X1._replace(fixed_in="2.0"))
        assert type(on_device(convolution, CPU)) is nn.Conv2d
    assert type(on_device(convolution, CPU)) is not nn.Conv2d
    assert isinstance(convolution, nn.Conv2d)
    assert type(on_device(convolution, torch.device("meta"))) is nn.Conv2d


def test_a_version_is_guarded_until_one_is_known_to_be_right():
    fault = library_faults.STRIDED_1X1
    assert fault.present
    assert fault._replace(fixed_in="99.0").present
    assert not fault._replace(fixed_in="2.0").present


@pytest.mark.parametrize("kind", [nn.Conv2d, Standardised])
def test_copies_and_pickles_stay_guarded_and_have_weights_of_their_own(kind):
    convolution = on_device(kind(3, 8, 1, stride=2), CPU)
    images = torch.randn(2, 3, 8, 8)
    expected = convolution(images)
    for other in (copy.deepcopy(convolution), pickle.loads(pickle.dumps(convolution))):
        with Seen() as seen:
            assert torch.equal(other(images), expected)
        assert seen.strides == [1]
        with torch.no_grad():
            other.weight.zero_()
        assert torch.equal(convolution(images), expected)


def test_compiles_to_one_graph():
    network = on_device(nn.Sequential(nn.Conv2d(3, 8, 1, stride=2), Standardised(8, 4, 1, stride=2)), CPU)
    images = torch.randn(2, 3, 8, 8)
    expected = network(images)
    compiled = torch.compile(network, fullgraph=True, dynamic=False, backend="aot_eager")
    assert_close(compiled(images), expected)


def test_the_function_for_calls_outside_a_layer_takes_torchs_arguments():
    torch.manual_seed(0)
    images, weight, bias = torch.randn(2, 6, 9, 9), torch.randn(4, 3, 1, 1), torch.randn(4)
    for arguments in [(bias, 2, 1, 1, 2), (None, (2, 1), "valid", 3, 2), (bias, 1, "same", 1, 2)]:
        assert_close(conv2d(images, weight, *arguments), F.conv2d(images, weight, *arguments))
    with Seen() as seen:
        conv2d(images, weight, bias, 2, 1, 1, 2)
    assert seen.strides == [1]
    with pytest.raises(RuntimeError, match="same"):
        conv2d(images, weight, None, 2, "same", 1, 2)


class Plain(Classifier):
    """A user's network."""

    def __init__(self, num_classes, in_channels, depth=8, se_reduction=None, dropout=0.0):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 3, 3, padding=1)
        self.down = nn.Conv2d(3, 6, 1, stride=2)
        self.head = nn.Linear(6, num_classes)

    def features(self, images):
        return F.relu(self.down(F.relu(self.conv(images)))).mean((2, 3))


def test_a_run_and_a_loaded_run_are_guarded(tmp_path):
    overrides = ["schedule.epochs=1", f"model._target_={__name__}.Plain", f"runs_dir={tmp_path}"]
    config = compose_run([*TINY, *overrides])
    with Seen() as seen:
        run(config)
    assert seen.strides
    assert set(seen.strides) == {1}
    model = load_run(tmp_path / config.run_id, allow=(__name__,)).model
    with Seen() as seen:
        model(torch.randn(2, 1, 8, 8))
    assert seen.strides == [1]
