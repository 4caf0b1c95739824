"""torch.compile around the training step: the same numbers, captured once a batch size."""

import sys
from functools import partial
from unittest.mock import Mock

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch._dynamo.testing import CompileCounterWithBackend

from isda_bench.benchmarks.losses import NaiveISDA
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_run
from isda_bench.config.optimizer_choice import OptimizerChoice
from isda_bench.config.run_config import CONF
from isda_bench.config.settings import TrainingRecipe
from isda_bench.data.base import ImageSet
from isda_bench.data.loader import Loader, Normalise
from isda_bench.data.mixup import Mixup
from isda_bench.errors import ConfigError, UserError
from isda_bench.losses import ISDA, CrossEntropy, Loss
from isda_bench.models.base import Classifier
from isda_bench.monitoring.progress import Display
from isda_bench.storage.checkpoint import random_states
from isda_bench.training import capture, cuda_graphs, step
from isda_bench.training.evaluate import evaluate
from isda_bench.training.loop import train_epoch
from isda_bench.training.optimizers import make_optimizer, set_learning_rate
from isda_bench.training.schedules import rate_factor
from isda_bench.training.state import RunState
from isda_bench.training.step import TrainingModule, compile_step

CPU = torch.device("cpu")
LOSSES = {
    path.stem: partial(instantiate, OmegaConf.to_container(OmegaConf.load(path)))
    for path in sorted(CONF.glob("loss/*.yaml"))
} | {name: partial(ISDA, covariance=name) for name in ("diagonal", "shared", "identity")}
IMAGES, BATCH, EPOCHS = 20, 8, 3  # a last batch of 4
SCHEDULE = TrainingRecipe(
    epochs=EPOCHS,
    batch_size=BATCH,
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=1e-4,
    milestones=[2, 3],
    factor=0.1,
)


class Tiny(Classifier):
    def __init__(self, num_classes, in_channels=3):
        super().__init__()
        self.head = torch.nn.Linear(6, num_classes)
        self.conv = torch.nn.Conv2d(in_channels, 6, 3)
        self.norm = torch.nn.BatchNorm2d(6)
        self.dropout = torch.nn.Dropout(0.1)  # draws

    def features(self, images):
        return self.dropout(self.norm(self.conv(images)).relu().mean((2, 3)))


def parts(loss):
    torch.manual_seed(0)
    images = ImageSet(torch.randint(0, 256, (IMAGES, 3, 8, 8), dtype=torch.uint8), torch.arange(IMAGES) % 5)
    batches = Loader(images, BATCH, CPU, [Normalise((127.0,) * 3, (60.0,) * 3, CPU)], shuffle=True)
    return TrainingModule(Tiny(5), loss(num_classes=5, feature_dim=6)), batches


def trained(module, batches, epochs=EPOCHS):
    """The metrics of so many epochs; the learning rate falls and the strength grows."""
    optimizer = make_optimizer(module, SCHEDULE)
    one_step = capture.make_step(module, optimizer, batches.sizes)
    state = RunState(module, optimizer, batches, None, None)
    display = Display("test", EPOCHS, len(batches))
    rows = []
    for epoch in range(1, epochs + 1):
        set_learning_rate(optimizer, rate_factor(SCHEDULE, epoch))
        row = train_epoch(one_step, batches, epoch, EPOCHS, display, state)
        row.pop("images_per_second")
        measured = evaluate(module.model, batches)
        accuracies = measured.pop("class_accuracy")
        rows.append(row | measured | {f"accuracy of {i}": value for i, value in enumerate(accuracies)})
    return rows


@pytest.mark.parametrize("loss", [pytest.param(CrossEntropy, marks=pytest.mark.slow), ISDA])
def test_nothing_is_captured_after_the_first_epoch_and_the_numbers_stay(loss, monkeypatch):
    plain = trained(*parts(loss))
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(step, "BACKEND", counter)
    module, batches = parts(loss)
    compile_step(module)
    counts = []
    original = step.TrainingModule.train

    def train(self, mode=True):  # an epoch begins
        counts.append(counter.frame_count)
        return original(self, mode)

    monkeypatch.setattr(step.TrainingModule, "train", train)
    rows = trained(module, batches)
    counts.append(counter.frame_count)
    assert len(set(counts[2:])) == 1, "captured anew after the first epoch"
    assert counts[1] <= 5, "training, and evaluation, of a whole batch and of the short one"
    for got, wanted in zip(rows, plain, strict=True):
        assert got == pytest.approx(wanted, rel=1e-4)


@pytest.fixture
def captures(monkeypatch):
    """Stands in for CUDA graphs: the same work again at every replay, from and into the same tensors."""
    made = []

    def warm_up(call, stream):
        for _ in range(cuda_graphs.WARM_UP):
            call()

    def capture_graph(call, stream, pool=None):
        kept = tuple(result.clone() for result in call())
        made.append(kept)

        def replay():
            for result, value in zip(kept, call(), strict=True):
                result.copy_(value)

        return replay, kept

    monkeypatch.setattr(capture, "warm_up", warm_up)
    monkeypatch.setattr(capture, "capture_graph", capture_graph)
    return made


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_captured_steps_give_the_numbers_with_one_capture_a_shape(loss, captures, capsys):
    module, batches = parts(loss)
    plain = trained(module, batches)
    captured, batches = parts(loss)
    captured.capture = "auto"
    assert trained(captured, batches) == plain
    assert len(captures) == 2, "of a whole batch and of the short one"
    assert capsys.readouterr().err == ""
    wanted = module.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in captured.state_dict().items())


def test_captured_steps_take_mixed_batches(captures):
    rows = []
    for capturing in (False, "auto"):
        module, batches = parts(ISDA)
        module.capture = capturing
        batches.complete = lambda *batch, module=module: Mixup()(*batch) if module.model.training else batch
        rows.append(trained(module, batches))
    assert rows[0] == rows[1]
    assert len(captures) == 2


def test_a_capture_changes_nothing(captures, monkeypatch):
    module, batches = parts(ISDA)
    optimizer = make_optimizer(module, SCHEDULE)
    one = capture.CapturedStep(module, optimizer, batches.sizes, required=True)
    images, targets = next(iter(batches))
    one(images, targets, torch.tensor(0.5))
    momenta = {name: optimizer.state[p]["momentum_buffer"].clone() for name, p in module.named_parameters()}
    before = {name: value.clone() for name, value in module.state_dict().items()}
    drawn = torch.get_rng_state()
    one.capture(images[:4], targets[:4], torch.tensor(0.5))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    for name, parameter in module.named_parameters():
        assert torch.equal(optimizer.state[parameter]["momentum_buffer"], momenta[name])
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not one.stopped


@pytest.fixture
def failing_captures(captures, monkeypatch):
    """Captures fail, after they have drawn random numbers and moved everything that a step moves."""

    def capture_graph(call, stream, pool=None):
        call()
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(capture, "capture_graph", capture_graph)


def test_a_capture_that_fails_falls_back_to_eager_steps_with_one_warning(failing_captures, capsys):
    module, batches = parts(ISDA)
    plain = trained(module, batches)
    captured, batches = parts(ISDA)
    captured.capture = "auto"
    assert trained(captured, batches) == plain
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(
        "warning: capture=auto: this step cannot be captured as a CUDA graph (operation not"
    )
    assert warning.endswith("the steps are eager instead, which is slower")
    assert "and more" not in warning


def test_eager_steps_after_a_failed_capture_have_rates_on_the_host(failing_captures):
    """An optimizer may wait for a rate that is a tensor."""
    module, batches = parts(CrossEntropy)
    optimizer = make_optimizer(module, SCHEDULE)
    one = capture.CapturedStep(module, optimizer, batches.sizes, required=False)
    images, targets = next(iter(batches))
    for _ in range(2):
        one(images, targets, torch.tensor(0.5))
    assert one.mode == one.execution == "eager"
    assert [type(group["lr"]) for group in optimizer.param_groups] == [float]


def test_a_capture_that_is_required_and_fails_is_an_error(failing_captures):
    module, batches = parts(ISDA)
    module.capture = True
    with pytest.raises(
        UserError, match=r"^capture=true: .*capturing\); capture=auto or false trains without$"
    ):
        trained(module, batches)


def _shipped(section, parameters):
    recipe = SCHEDULE.model_copy(update={"learning_rate": 0.01})
    return OptimizerChoice.of(section).build([{"params": list(parameters)}], recipe)


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "plain SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, capturable=False),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.01),  # whose mu_product begins with 1
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01, initial_accumulator_value=0.1),
} | {
    path.stem: partial(_shipped, OmegaConf.to_container(OmegaConf.load(path)))
    for path in sorted(CONF.glob("optimizer/*.yaml"))
}


def weights(loss, make, kind):
    """After two epochs with learning rates as captured steps have them: float32 tensors."""
    module, batches = parts(loss)
    optimizer = make(module.parameters())
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"])
    one = kind(module, optimizer)
    for _ in range(2):
        for images, targets in batches:
            one(images, targets, torch.tensor(0.5))
    return module.state_dict()


def capturing(required):
    return lambda module, optimizer: capture.CapturedStep(module, optimizer, {BATCH, 4}, required)


class CountsOnTheHost(torch.optim.SGD):
    """Its steps become smaller, by a number that a graph would keep (some of timm's count so)."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            group["weight_decay"] = 0.1 / group["step"]
        return super().step(closure)


class ReplacesItsBuffer(CrossEntropy):
    def __init__(self, num_classes, feature_dim):
        super().__init__(num_classes, feature_dim)
        self.register_buffer("batches", torch.zeros(()))

    def update_statistics(self, features, targets):
        self.batches = self.batches + 1

    def compute(self, outputs, targets, progress):
        return super().compute(outputs, targets, progress) * self.batches


@pytest.mark.parametrize(
    ("loss", "make", "reason"),
    [
        (
            CrossEntropy,
            CountsOnTheHost,
            "weight_decay of group 0 changes in a step on the host",
        ),
        (ReplacesItsBuffer, torch.optim.SGD, "loss.batches is replaced in a step"),
    ],
)
def test_host_values_that_a_replay_would_not_change_are_found_and_eager_steps_are_right(
    loss, make, reason, captures, capsys
):
    wanted = weights(loss, partial(make, lr=0.01), step.Step)
    got = weights(loss, partial(make, lr=0.01), capturing(required=False))
    assert all(torch.equal(value, wanted[name]) for name, value in got.items())
    assert not captures
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_update_is_undone_after_a_loss_that_is_not_finite(make):
    """The way of optimizers whose kernels are not fused, on CUDA."""

    def values(stopped):
        parameter = torch.nn.Parameter(torch.arange(3.0))
        optimizer = make([parameter])
        parameter.grad = torch.ones(3)
        step.update_unless(torch.tensor(0.0), optimizer)
        parameter.grad = torch.full((3,), torch.nan) if stopped else torch.ones(3)
        before = [parameter.detach().clone(), *(v.clone() for v in optimizer.state[parameter].values())]
        step.update_unless(torch.tensor(stopped), optimizer)
        return before, [parameter.detach(), *optimizer.state[parameter].values()]

    before, after = values(1.0)
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    before, after = values(0.0)
    assert not torch.equal(before[0], after[0])


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_capture_restores_every_state_of_any_optimizer(make, captures):
    wanted = weights(CrossEntropy, make, step.Step)
    got = weights(CrossEntropy, make, capturing(required=True))
    assert all(torch.equal(value, wanted[name]) for name, value in got.items())
    assert captures


def test_unusual_sizes_of_batches_are_not_captured(captures):
    module, batches = parts(CrossEntropy)
    one = capture.CapturedStep(
        module, make_optimizer(module, SCHEDULE), {len(next(iter(batches))[1])}, required=True
    )
    images, targets = next(iter(batches))
    for n in (len(targets), len(targets), 3, 2, len(targets), 3):
        one(images[:n], targets[:n], torch.tensor(0.5))
    assert len(captures) == 1


def test_a_step_that_fails_before_its_capture_raises_its_own_error(captures):
    class Unfinished(Loss):
        pass

    module, batches = parts(Unfinished)
    module.capture = "auto"
    with pytest.raises(NotImplementedError):
        trained(module, batches)


def test_a_buffer_that_a_step_replaces_is_reported(captures):
    """Replays would read the old one."""
    module, batches = parts(NaiveISDA)
    module.capture = True
    with pytest.raises(UserError, match=r"loss\.count is replaced in a step"):
        trained(module, batches)


def test_only_alone_on_a_gpu_and_with_fixed_shapes_it_is_captured(monkeypatch):
    def asked(device, *covariance):
        module = TrainingModule(Tiny(5), ISDA(5, 6, 0.5, *covariance))
        monkeypatch.setattr(type(module), "parameters", lambda _: iter([Mock(is_cuda=device == "cuda")]))
        return step.can_be_captured(module)

    assert asked("cuda") and not asked("cpu") and not asked("cuda", "lowrank")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not asked("cuda")


def captured_step(module, optimizer):
    return capture.CapturedStep(module, optimizer, range(1000), required=True)


@pytest.mark.parametrize("kind", [step.Step, captured_step])
def test_no_update_of_a_loss_that_is_not_finite(kind, captures):
    module, batches = parts(CrossEntropy)
    images, targets = next(iter(batches))
    one = kind(module, make_optimizer(module, SCHEDULE))
    before = [parameter.clone() for parameter in module.parameters()]
    loss, _ = one(images * torch.nan, targets, torch.tensor(0.5))
    assert loss.isnan() and one.stopped
    assert all(torch.equal(*pair) for pair in zip(module.parameters(), before, strict=True))


@pytest.mark.slow
def test_inductor_gives_the_numbers(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))  # inductor adds its cache

    def result(compiled):
        module, batches = parts(ISDA)
        module.model.dropout.p = 0.0  # inductor draws random numbers of its own
        if compiled:
            torch._dynamo.reset()
            compile_step(module)
        return trained(module, batches)

    for got, wanted in zip(result(True), result(False), strict=True):
        assert got == pytest.approx(wanted, rel=1e-4)


def test_a_step_that_cannot_be_captured_is_refused(monkeypatch):
    wanted = ["dataset=digits", "model=resnet8", "compile=true"]
    compose_run([*wanted, "loss=isda"]).check(component_problems)
    with pytest.raises(ConfigError, match="compile=true: the shapes"):
        compose_run([*wanted, "loss=isda", "loss.covariance=lowrank"]).check(component_problems)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="compile=true: not with 2 processes"):
        compose_run([*wanted, "device=cpu"]).check(component_problems)


def test_a_fused_optimizer_makes_no_update_after_a_loss_that_is_not_finite():
    """What the loop relies on where it cannot look at each loss, on CUDA."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9, nesterov=True, fused=True)
    for found_inf, wanted in ((0.0, True), (1.0, False)):
        before = parameter.detach().clone()
        optimizer.found_inf = torch.tensor(found_inf)
        parameter.grad = torch.full((3,), 1.0 if wanted else torch.nan)
        optimizer.step()
        assert torch.equal(parameter, before) != wanted
    assert optimizer.state[parameter]["momentum_buffer"].isfinite().all()


def test_a_state_of_another_device_keeps_this_device_s_kernels():
    """A checkpoint of a CPU resumes with the fused kernel of CUDA, and the other way round."""
    module, batches = parts(CrossEntropy)
    saved = {name: part.state_dict() for name, part in (("model", module.model), ("loss", module.loss))}
    saved |= {"optimizer": make_optimizer(module, SCHEDULE).state_dict(), "metrics": []}
    saved["generators"] = random_states()
    optimizer = torch.optim.SGD(module.model.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=True)
    optimizer.param_groups[0]["initial_lr"] = 0.1
    RunState(module, optimizer, batches, Mock(newest_state=lambda: saved), None).resume()
    assert optimizer.param_groups[0]["fused"] is True
    assert optimizer.param_groups[0]["weight_decay"] == SCHEDULE.weight_decay
