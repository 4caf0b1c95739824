"""examples/: each script trains as it stands there."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import isda_bench.runtime.torchvision_import  # noqa: F401  # before timm
from helpers.processes import free_ports, run_python, start_python
from helpers.tiny import REPOSITORY
from isda_bench.losses import ISDA

timm = pytest.importorskip("timm")
EXAMPLES = REPOSITORY / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_example(name: str, check: str) -> None:
    """In a process of its own, because the packages change the environment; `check` sees its names.

    There torchvision may be another torch's.
    """
    file = str(EXAMPLES / f"{name}.py")
    lines = [
        "import runpy",
        "import isda_bench.runtime.torchvision_import",
        f"globals().update(runpy.run_path({file!r}))",
        check,
    ]
    run_python("-c", "\n".join(lines)).check()


def need(*packages: str) -> None:
    """Skips where one is not installed, without an import: that changes the environment."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"no {package}: pip install -e .[examples]")


def test_mixed_precision():
    assert example("amp").main() < 15


def test_mixup_takes_each_batch_into_the_statistics_once():
    error, isda = example("mixup").main(steps=40)
    assert error < 15
    assert isda.statistics.count.sum() == 40 * 32


@pytest.fixture
def images(tmp_path) -> Path:
    """Two classes that differ in their brightness."""
    draws = torch.Generator().manual_seed(0)
    for name, grey in (("dark", 0), ("light", 160)):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for i in range(8):
            pixels = torch.randint(80, (40, 40, 3), generator=draws) + grey
            Image.fromarray(pixels.byte().numpy()).save(folder / f"{i}.png")
    return tmp_path / "images"


def test_fine_tuning_a_pretrained_network_on_a_folder(images, tmp_path, monkeypatch):
    """A small network of timm, and a file of weights made here, with a last layer for 1,000 classes."""
    torch.manual_seed(1)
    weights = timm.create_model("test_resnet", num_classes=1000).state_dict()
    save_file(weights, tmp_path / "weights.safetensors")
    begun = []

    def create_model(*arguments, **options):
        network = created(*arguments, **options)
        begun.append({key: value.clone() for key, value in network.state_dict().items()})
        return network

    created = timm.create_model
    monkeypatch.setattr(timm, "create_model", create_model)
    error = example("timm_finetune").main(images, tmp_path / "weights.safetensors", "test_resnet", epochs=10)
    assert error < 20
    assert len(begun[0]) > 10 and all(torch.equal(weights[key], value) for key, value in begun[0].items())


@pytest.mark.slow
def test_lightning_counts_progress_in_steps_of_two_batches():
    need("lightning")
    check = """
seen = []
update = ISDA.forward
def forward(self, *arguments, progress, **rest):
    seen.append(progress)
    return update(self, *arguments, progress, **rest)
ISDA.forward = forward
model, trainer = main(epochs=3)
assert trainer.global_step == 9, trainer.global_step
assert seen == [step / 9 for step in range(9) for _ in range(2)], seen
assert model.isda.statistics.count.sum() == 3 * 96
"""
    run_example("lightning_accumulation", check)


@pytest.mark.slow
def test_the_trainer_of_hugging_face():
    need("transformers", "accelerate")
    check = """
model, error = main(epochs=6)
assert error < 15, error
assert model.progress == 35 / 36, model.progress
assert model.isda.statistics.count.sum() == 6 * 96
"""
    run_example("hf_trainer", check)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_two_ranks_train_as_one_process(tmp_path, name):
    """Weights and statistics are those of the global batch."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_ports(1)[0]), "WORLD_SIZE": "2"}
    script = (str(EXAMPLES / f"{name}.py"), str(tmp_path / "two.pt"))
    ranks = [start_python(*script, env={**place, "RANK": str(rank)}) for rank in range(2)]  # as torchrun does
    for rank in ranks:
        rank.wait().check()
    two = torch.load(tmp_path / "two.pt", weights_only=True)

    module = example("ddp")
    torch.manual_seed(0)
    network, isda = module.Network(), ISDA(num_classes=3, feature_dim=32)
    module.train(network, network.head, isda, rank=0, ranks=1)
    for part, one in (("network", network), ("isda", isda)):
        for key, value in one.state_dict().items():
            torch.testing.assert_close(two[part][key], value, rtol=1e-4, atol=1e-6)
