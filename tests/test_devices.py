"""Which device a run takes and what it says about it; what becomes of errors of devices."""

import sys
import weakref

import pytest
import torch

from helpers.tiny import TINY
from isda_bench.cli import command_line, endings
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_run
from isda_bench.errors import DeviceLost, NonFiniteLoss, UserError
from isda_bench.reporting.cost import Rates
from isda_bench.runtime import devices
from isda_bench.runtime.device_errors import reported_device_errors
from isda_bench.storage.checksummed_json import read_checksummed
from isda_bench.training import capture, run
from isda_bench.training.optimizers import make_optimizer

QUICK = [*TINY, "schedule.epochs=1", "schedule.milestones=[]", "logger=none"]
OLD_DRIVER = "The NVIDIA driver on your system is too old (found version 11040)."


@pytest.fixture
def old_driver(monkeypatch):
    """A driver that counts its devices and cannot serve torch's CUDA."""

    def init():
        raise RuntimeError(f"{OLD_DRIVER}\nPlease update your GPU driver.")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "init", init)


def test_a_driver_that_does_not_fit_is_reported_with_torch_s_reason(old_driver):
    with pytest.raises(ValueError) as raised:
        devices.choose_device("cuda")
    assert str(raised.value).startswith(f"device=cuda: no such device here ({OLD_DRIVER} Please update")
    config = compose_run([*QUICK, "device=cuda:1"])
    assert any(OLD_DRIVER in line for line in component_problems(config.settings))


def test_auto_on_a_dead_driver_says_that_it_takes_the_cpu(old_driver):
    device = devices.choose_device("auto")
    assert device == torch.device("cpu")
    line = devices.describe(device, "auto", "fp32", "eager")
    assert line.startswith("CPU, ") and f": {OLD_DRIVER}" in line


@pytest.mark.skipif(torch.version.cuda is not None, reason="a torch with CUDA")
def test_the_first_line_of_a_run_names_device_and_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "fit", lambda *_, **__: pytest.fail("of the training"))
    for device, ending in (("auto", ": this torch has no CUDA"), ("cpu", "")):
        config = compose_run([*QUICK, f"device={device}", f"runs_dir={tmp_path}"])
        with pytest.raises(pytest.fail.Exception):
            run.run(config)
        threads = torch.get_num_threads()
        wanted = f"{config.run_id}: CPU, {threads} thread{'s' * (threads > 1)}{ending}"
        assert capsys.readouterr().out.splitlines() == [wanted]


@pytest.fixture
def turing(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_gpu_names_precision_and_mode_and_missing_units(turing, monkeypatch, precision):
    cuda = torch.device("cuda", 0)
    assert devices.describe(cuda, "auto", precision, "captured") == f"NVIDIA T4, {precision}, captured"
    warning = devices.precision_warning(cuda, precision)
    assert (warning is None) == (precision == "fp32")
    assert warning is None or (f"precision={precision}" in warning and "7.5" in warning)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    assert devices.precision_warning(cuda, precision) is None


def test_a_capture_that_cannot_be_is_one_problem(monkeypatch):
    def problems(*overrides):
        return component_problems(compose_run([*QUICK, "capture=true", *overrides]).settings)

    assert problems("device=cpu") == [
        "capture=true: CUDA graphs need a GPU, and device=cpu is the CPU; leave capture=auto"
    ]
    (line,) = problems("device=cpu", "loss=isda", "loss.covariance=lowrank")
    assert "the shapes of this loss depend on its values; CUDA graphs need a GPU" in line
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert problems("device=cuda") == []
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert problems("device=cuda") == ["capture=true: not with 2 processes; leave capture=auto"]


REMEDIES = ["a smaller schedule.batch_size", "precision=bf16", "model.checkpointing=true", "capture=false"]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ..."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        torch.AcceleratorError("CUDA error: out of memory"),
        MemoryError(),
    ],
)
def test_memory_that_does_not_suffice_is_one_error_that_names_the_remedies(error):
    with pytest.raises(UserError, match=r"^out of memory: ") as raised, reported_device_errors(REMEDIES):
        raise error
    assert "\n" not in str(raised.value) and not isinstance(raised.value, DeviceLost)
    assert all(remedy in str(raised.value) for remedy in REMEDIES)


@pytest.mark.parametrize("kind", [RuntimeError, torch.AcceleratorError])
def test_a_lost_context_is_reported_as_lost(kind):
    lost = r"^the GPU is lost: CUDA error: an illegal memory access was encountered; "
    with pytest.raises(DeviceLost, match=lost), reported_device_errors(REMEDIES):
        raise kind("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...")


def test_other_errors_stay_unchanged():
    with pytest.raises(RuntimeError, match=r"^size mismatch$"), reported_device_errors(REMEDIES):
        raise RuntimeError("size mismatch")


@pytest.fixture
def grid(tmp_path, monkeypatch, capsys):
    """Runs a grid in this process with another `fit`; returns exit code and what stderr shows."""

    def call(fit, *overrides):
        monkeypatch.setattr(run, "fit", fit)
        monkeypatch.setattr(endings.signal, "signal", lambda *_: None)
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # which the command line sets
        monkeypatch.setattr(sys, "argv", ["train.py", *QUICK, f"runs_dir={tmp_path}", "-m", *overrides])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as raised:
            command_line.main()
        return raised.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("error", "started"),
    [
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), 1),
        (torch.OutOfMemoryError("CUDA out of memory."), 2),
    ],
)
def test_a_lost_device_ends_a_grid_and_missing_memory_does_not(grid, tmp_path, error, started):
    def fit(*arguments, **more):
        raise error

    code, reported = grid(fit, "seed=0,1")
    assert code == 1
    assert "Traceback" not in reported
    assert reported.count("error: ") == started + (started == 1)  # torch's own sentence has the word, too
    assert len(list(tmp_path.glob("*/run.json"))) == started


@pytest.mark.parametrize("checkpointing", [True, False])
def test_checkpointing_is_named_where_the_model_has_it(tmp_path, monkeypatch, checkpointing):
    def fit(*arguments, **more):
        raise MemoryError

    monkeypatch.setattr(run, "fit", fit)
    has_it = ["model=densenet_bc_100_12", "model.depth=10"]
    model = has_it if checkpointing else ["model=resnet8"]
    rest = [line for line in QUICK if not line.startswith("model=")]
    with pytest.raises(UserError, match=r"^out of memory: MemoryError; less is needed with") as raised:
        run.run(compose_run([*rest, *model, f"runs_dir={tmp_path}"]))
    assert ("model.checkpointing=true" in str(raised.value)) == checkpointing
    for remedy in ("schedule.batch_size", "precision=bf16", "capture=false"):
        assert remedy in str(raised.value)


def test_a_failed_run_of_a_grid_keeps_nothing_alive(grid):
    """Hydra keeps a job's exception to the end of the grid."""
    alive, counts = [], []

    def fit(module, schedule, batches, *rest, **more):
        counts.append(sum(reference() is not None for reference in alive))
        step = capture.make_step(module, make_optimizer(module, schedule), batches.sizes)
        alive.extend(weakref.ref(kept) for kept in (module.model, batches.images.images, step))
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            raise NonFiniteLoss("the loss is nan") from None

    assert grid(fit, "seed=0,1,2")[0] == 1
    assert counts == [0, 0, 0]


def test_a_run_says_how_its_steps_were_executed_and_warns_of_another_mode(tmp_path, capsys, monkeypatch):
    config = compose_run([*QUICK, f"runs_dir={tmp_path}", "schedule.epochs=2"])
    monkeypatch.setattr(run, "fit", stopped_after(run.fit, 1))
    with pytest.raises(KeyboardInterrupt):
        run.run(config)
    assert read_checksummed(config.directory / "run.json")["execution"] == "eager"
    monkeypatch.undo()
    monkeypatch.setattr("isda_bench.training.step.Step.mode", "captured")
    capsys.readouterr()
    record = run.run(config)
    assert "its steps were eager so far, now they are captured" in capsys.readouterr().err
    assert record["execution"] == "eager, then captured"


def stopped_after(fit, epochs):
    def stopped(*arguments, **more):
        display = arguments[5]
        show = display.epoch

        def epoch(row):
            show(row)
            if row["epoch"] > epochs:
                raise KeyboardInterrupt

        display.epoch = epoch
        return fit(*arguments, **more)

    return stopped


def test_rates_of_other_modes_do_not_enter_the_plan():
    def record(rate, **more):
        names = {"model": "resnet32", "dataset": "cifar10"}
        device = {"type": "cuda", "name": "GPU"}
        return {"names": names, "device": device, "config": {}, "images_per_second": rate} | more

    rates = Rates([record(100.0), record(1.0, execution="eager"), record(110.0, execution="captured")], [])
    assert rates.of("resnet32", "cifar10", "fp32", 1).images_per_second == 105.0


@pytest.mark.parametrize(
    "device, precision, layout",
    [
        ("cpu", "fp32", torch.channels_last),
        ("cpu", "bf16", torch.channels_last),
        ("cuda", "fp32", torch.contiguous_format),
        ("cuda", "tf32", torch.channels_last),
        ("cuda", "bf16", torch.channels_last),
    ],
)
def test_images_are_laid_out_for_the_device_and_precision(device, precision, layout):
    assert devices.image_layout(torch.device(device), precision) == layout
