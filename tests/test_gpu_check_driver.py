"""`isda-bench gpu-check` where no GPU can be used: one that is there fails, none is skipped."""

import json

import pytest
import torch

from isda_bench.cli import gpu_check
from isda_bench.cli.gpu_check import GpuCheckOptions
from isda_bench.runtime import devices

OLD_DRIVER = "The NVIDIA driver on your system is too old (found version 11040)."
DEAD_DRIVER = "CUDA unknown error - this may be due to an incorrectly set up environment"
NO_DRIVER = "Found no NVIDIA driver on your system."


@pytest.fixture
def made(monkeypatch, tmp_path, capsys):
    """Runs the command with a torch whose CUDA cannot be initialised; gives exit code, output and checks."""

    def run(error, has_gpu, **options):
        def init():
            raise error

        monkeypatch.setattr(torch.cuda, "init", init)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: int(has_gpu))
        monkeypatch.setattr(devices, "has_nvidia_gpu", lambda: has_gpu)
        try:
            gpu_check.gpu_check(GpuCheckOptions(out=str(tmp_path), **options))
            code = 0
        except SystemExit as ended:
            code = ended.code
        (page,) = tmp_path.glob("*.json")
        return code, capsys.readouterr().out, json.loads(page.read_text())["checks"]

    return run


@pytest.mark.parametrize("only", ["", "driver", "captured"])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError(OLD_DRIVER), OLD_DRIVER),
        (RuntimeError(DEAD_DRIVER), DEAD_DRIVER),
        (RuntimeError(NO_DRIVER), NO_DRIVER),
        (AssertionError("Torch not compiled"), "a GPU is there, and this torch has no CUDA"),
    ],
)
def test_a_gpu_that_cannot_be_used_fails(made, error, reason, only):
    code, output, found = made(error, True, only=only)
    assert code == 1
    assert f"FAIL  driver: {reason} (0 s)" in output.splitlines()
    assert [(check["name"], check["status"], check["sentence"]) for check in found] == [
        ("driver", "FAIL", reason)
    ]


@pytest.mark.parametrize("error", [RuntimeError(NO_DRIVER), AssertionError("Torch not compiled")])
def test_without_any_cuda_the_checks_of_a_gpu_are_skipped(made, error):
    code, output, found = made(error, False, only="captured loss")
    assert code == 0 and {check["status"] for check in found} == {"SKIP"}
    assert output.startswith("On the CPU (no CUDA here: ")


def test_hidden_gpus_and_a_wanted_cpu_skip(made, monkeypatch):
    dead = RuntimeError(DEAD_DRIVER)
    assert made(dead, True, only="captured loss", device="cpu")[0] == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert made(dead, True, only="captured loss")[0] == 0


@pytest.mark.parametrize(
    ("vendor", "kind", "found"),
    [("0x10de", "0x030200", True), ("0x10de", "0x040300", False), ("0x1002", "0x030000", False)],
)
def test_the_kernel_lists_gpus(tmp_path, vendor, kind, found):
    for name, text in (("vendor", vendor), ("class", kind)):
        (tmp_path / "0000:00:01.0").mkdir(exist_ok=True)
        (tmp_path / "0000:00:01.0" / name).write_text(f"{text}\n")
    assert devices.has_nvidia_gpu(tmp_path) == found
    assert not devices.has_nvidia_gpu(tmp_path / "none")
