"""timm's networks, their pretrained weights from a file that the test makes, and fine-tuning."""

import isda_bench.runtime.torchvision_import  # noqa: F401  # isort: skip

import copy
import io
import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
import timm
import torch
from hydra.utils import instantiate
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from helpers.image_folder import make_image_folder
from helpers.run_files import metrics_of, same_weights
from helpers.tiny import TINY
from isda_bench import load_run
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_run
from isda_bench.errors import ConfigError, UserError
from isda_bench.experiments.coordinates import coordinates
from isda_bench.losses import CrossEntropy
from isda_bench.models import pretrained
from isda_bench.models.timm_network import TimmNetwork
from isda_bench.training.optimizers import make_optimizer
from isda_bench.training.run import run
from isda_bench.training.step import TrainingModule

NAME = "test_resnet.r160_in1k"


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(5)
    return timm.create_model("test_resnet", num_classes=7).eval()


@pytest.fixture(scope="module")
def weights(original, tmp_path_factory):
    """A file with the classifier of seven other classes, as timm's own files have one."""
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_file(original.state_dict(), path)
    return path


def overrides(*more):
    return [*TINY, "model=timm", f"model.name={NAME}", *more]


def problems(*more):
    with pytest.raises(ConfigError) as raised:
        compose_run(overrides(*more)).check(component_problems)
    return raised.value.problems


def test_features_are_those_of_the_file(original, weights):
    model = TimmNetwork(3, NAME, weights=str(weights)).eval()
    images = torch.randn(2, 3, 64, 64)
    wanted = original.forward_head(original.forward_features(images), pre_logits=True)
    torch.testing.assert_close(model.features(images), wanted)
    assert model(images).shape == (2, 3) and model.feature_dim == wanted.shape[1]


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_names_that_begin_with_module_are_taken_as_timm_takes_them(original, tmp_path, ending):
    path = tmp_path / f"parallel.{ending}"
    state = {f"module.{name}": tensor for name, tensor in original.state_dict().items()}
    save_file(state, path) if ending == "safetensors" else torch.save({"state_dict": state, "epoch": 3}, path)
    model = TimmNetwork(3, NAME, weights=str(path))
    assert torch.equal(model.backbone.conv1[0].weight, original.conv1[0].weight)


class Code:
    """An object that would make a file if it were unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


FIRST = "conv1.0.weight"
FOREIGN = {
    "empty": (lambda state, path: path.touch(), "the file is empty; expected: safetensors, or a state_dict"),
    "text": (lambda state, path: path.write_text("hello\n"), "cannot be read: "),
    "npz": (lambda state, path: path.write_bytes(npz()), "cannot be read: damaged, or another kind of file"),
    "cut": (lambda state, path: path.write_bytes(saved(state)[:5000]), "cannot be read: damaged, or"),
    "pickle": (
        lambda state, path: path.write_bytes(pickle.dumps(Code(f"{path}.code"))),
        "cannot be read: it",
    ),
    "code": (
        lambda state, path: torch.save({**state, "x": Code(f"{path}.code")}, path),
        "cannot be read: it holds objects that are no tensors (io.open)",
    ),
    "list": (lambda state, path: torch.save(list(state.values()), path), "cannot be read: "),
    "no state": (lambda state, path: torch.save({"epoch": 3}, path), "epoch is a value of type int, not a"),
    "text within": (
        lambda state, path: torch.save({**state, FIRST: "x"}, path),
        f"{FIRST} is a value of type",
    ),
    "not finite": (
        lambda state, path: torch.save({**state, FIRST: state[FIRST] * math.nan}, path),
        f"{FIRST} has values that are not finite",
    ),
    "whole numbers": (
        lambda state, path: torch.save({**state, FIRST: state[FIRST].to(torch.int8)}, path),
        f"of another network: has {FIRST} of int8, expected float32",
    ),
    "complex": (
        lambda state, path: torch.save({**state, FIRST: state[FIRST] * 1j}, path),
        f"{FIRST} is no plain tensor of real numbers",
    ),
    "channels": (
        lambda state, path: torch.save({**state, FIRST: torch.zeros(16, 5, 3, 3)}, path),
        f"of another network: has {FIRST} of shape (16, 5, 3, 3), expected (16, 1, 3, 3)",
    ),
    "shape": (
        lambda state, path: torch.save({**state, FIRST: torch.zeros(2)}, path),
        f"of another network: has {FIRST} of shape (2,), expected (16, 1, 3, 3)",
    ),
    "another": (
        lambda state, path: torch.save(timm.create_model("test_convnext").state_dict(), path),
        f"of another network: lacks {FIRST}, expected of shape (16, 1, 3, 3) (and ",
    ),
    "without one": (
        lambda state, path: torch.save({k: v for k, v in state.items() if k != FIRST}, path),
        f"of another network: lacks {FIRST}, expected of shape (16, 1, 3, 3)",
    ),
}


def npz():
    file = io.BytesIO()
    np.savez(file, a=1)
    return file.getvalue()


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_holds_no_weights_is_one_clear_error_and_runs_no_code(original, tmp_path, kind):
    write, problem = FOREIGN[kind]
    path = tmp_path / "weights.pth"
    write(dict(original.state_dict()), path)
    with pytest.raises(ValueError) as error:
        TimmNetwork(3, NAME, weights=str(path), in_channels=1)
    assert str(error.value).startswith(f"weights={path}: {problem}")
    assert "\n" not in str(error.value) and "weights_only" not in str(error.value)
    assert not (tmp_path / "weights.pth.code").exists()


def test_torch_files_and_one_channel(original, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": original.state_dict()}, path)
    grey = TimmNetwork(3, NAME, weights=str(path), in_channels=1).eval()
    image = torch.randn(2, 1, 64, 64)
    wanted = original.forward_head(original.forward_features(image.expand(-1, 3, -1, -1)), pre_logits=True)
    torch.testing.assert_close(grey.features(image), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet", "test_resnet"])
def test_every_family_keeps_the_contract(name):
    model = instantiate(
        compose_run(["model=timm", f"model.name={name}"]).settings.model, num_classes=4
    ).eval()
    images = torch.randn(2, 3, 160, 160)
    assert model.features(images).shape == (2, model.feature_dim)
    assert model(images).shape == (2, 4)


def checked(*lines):
    compose_run(["dataset=cifar10", "model=timm", "logger=none", *lines]).check(component_problems)


def test_a_vision_transformer_is_made_for_the_images_of_the_data_set(tmp_path):
    """At its own size it is refused in a sentence with the way on; weights of another size are resampled."""
    name = "vit_tiny_patch16_224"
    reported = r"images of 224x224 pixels alone, these have 32x32; model\.image_size=32"
    with pytest.raises(ConfigError, match=reported):
        checked(f"model.name={name}")
    checked(f"model.name={name}", "model.image_size=32")
    with pytest.raises(ConfigError, match="image_size=32: test_resnet takes images of every size"):
        checked("model.name=test_resnet", "model.image_size=32")
    own = timm.create_model(name, num_classes=0)
    save_file(own.state_dict(), tmp_path / "vit.safetensors")
    small = TimmNetwork(3, name, weights=str(tmp_path / "vit.safetensors"), image_size=32).eval()
    assert small(torch.randn(2, 3, 32, 32)).shape == (2, 3)
    places = resample_abs_pos_embed(own.pos_embed, [2, 2], num_prefix_tokens=own.num_prefix_tokens)
    torch.testing.assert_close(small.backbone.pos_embed, places)


def test_name_and_checksum_count_in_the_id_and_the_folder_does_not(weights, tmp_path):
    config = compose_run(overrides(f"model.weights={weights}"))
    moved = tmp_path / weights.name
    moved.write_bytes(weights.read_bytes())
    assert compose_run(overrides(f"model.weights={moved}")).run_id == config.run_id
    save_file({"conv1.0.weight": torch.zeros(1)}, moved)
    others = [overrides(f"model.weights={moved}"), overrides(), overrides("model.pretrained=true")]
    assert len({compose_run(lines).run_id for lines in others} | {config.run_id}) == 4
    assert coordinates(config.names, config.config).model == f"timm (name={NAME}, weights=mine.safetensors)"


def test_the_check_downloads_nothing(monkeypatch):
    def download(*arguments, **settings):
        raise AssertionError("downloaded")

    monkeypatch.setattr(pretrained, "hf_hub_download", download)
    compose_run(overrides("model.pretrained=true")).check(component_problems)
    (found,) = problems("model.name=test_vit.r160_in1k", "model.pretrained=true")
    assert found.startswith("model: does not fit the images of the data set: Input height (8) should be")


def test_pretrained_weights_are_those_of_the_hub(monkeypatch, original, weights):
    asked = []

    def download(*arguments):
        asked.append(arguments)
        return str(weights)

    monkeypatch.setattr(pretrained, "hf_hub_download", download)
    model = TimmNetwork(3, NAME, pretrained=True)
    assert asked == [(f"timm/{NAME}", "model.safetensors")]
    assert torch.equal(model.backbone.conv1[0].weight, original.conv1[0].weight)
    assert model.pretraining()["name"] == NAME


def test_a_download_that_fails_is_one_sentence(monkeypatch, tmp_path):
    def download(*arguments):
        raise ConnectionError("no network\nand more")

    monkeypatch.setattr(pretrained, "hf_hub_download", download)
    with pytest.raises(
        UserError, match=r"^model\.pretrained: .*\(no network\); model\.weights=<file> takes a"
    ):
        run(
            compose_run(
                overrides("model.pretrained=true", "schedule.warmup_epochs=0", f"runs_dir={tmp_path}")
            )
        )


def test_weights_that_do_not_fit_are_refused_before_the_run(weights, tmp_path):
    other = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_convnext").state_dict(), other)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    for line, problem in {
        f"model.weights={tmp_path / 'nowhere'}": f"model.weights={tmp_path / 'nowhere'}: no such file",
        f"model.weights={other}": f"model.weights={other}: of another network: ",
        f"model.weights={broken}": f"model.weights={broken}: cannot be read: ",
        "model.name=resnet80": "model.name=resnet80: timm has no such network; did you mean resnet",
        "model.name=hf-hub:someone/model": "model.name=hf-hub:someone/model: timm has no such network",
        "model.name=resnet18.mine": "model.name=resnet18.mine: does not name weights of timm; there ",
        "model.freeze=true model.layer_decay=0.5": "model.freeze=true: a frozen backbone has no rates",
        "model.backbone_rate=0": "model.backbone_rate=0",
    }.items():
        (found,) = problems(*line.split())
        assert found.startswith(problem)
    (found,) = problems("model.name=test_resnet", "model.pretrained=true")
    assert found.startswith(
        "model.name=test_resnet: does not name weights of timm; there are: test_resnet.r160"
    )
    pinned = ["model.weights_sha256=abc", f"model.weights={weights}"]
    assert problems(*pinned)[0].startswith("model.weights_sha256=abc: ")


def groups(**settings):
    module = TrainingModule(TimmNetwork(3, NAME, **settings), CrossEntropy(3, 96))
    return module, make_optimizer(module, compose_run(overrides()).settings.schedule).param_groups


def test_layers_have_lower_rates_towards_the_image():
    module, found = groups(backbone_rate=0.5, layer_decay=0.8)
    names = {parameter: name for name, parameter in module.model.named_parameters()}
    rates = {names[p]: group["initial_lr"] for group in found for p in group["params"]}
    assert rates.keys() == {name for name, _ in module.model.named_parameters()}
    assert rates["head.weight"] == rates["head.bias"] == 0.01
    last = max(i for i in range(1, 5) if f"backbone.layer{i}.0.conv1.weight" in rates)
    order = ["backbone.conv1.0.weight", *(f"backbone.layer{i}.0.conv1.weight" for i in range(1, last + 1))]
    found_rates = [rates[name] for name in order]
    assert found_rates[-1] == pytest.approx(0.01 * 0.5 * 0.8)
    assert all(before == pytest.approx(0.8 * after) for before, after in pairwise(found_rates))


def test_the_backbone_has_a_lower_rate():
    module, (backbone, head) = groups(backbone_rate=0.1)
    assert (backbone["initial_lr"], head["initial_lr"]) == (pytest.approx(0.001), 0.01)
    assert len(backbone["params"]) + 2 == len(list(module.model.parameters()))


def test_a_frozen_backbone_does_not_move(weights):
    module, (head,) = groups(weights=str(weights), freeze=True)
    before = copy.deepcopy(module.model.state_dict())
    optimizer = torch.optim.SGD(head["params"], lr=0.1)
    module.train()
    loss, _ = module(torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 0]), 0.5)
    loss.backward()
    optimizer.step()
    moved = {k for k, value in module.model.state_dict().items() if not torch.equal(value, before[k])}
    assert moved == {"head.weight", "head.bias"}


@pytest.mark.parametrize("more", [[], ["model.layer_decay=0.7", "optimizer=adamw"]], ids=["sgd", "layers"])
def test_isda_fine_tunes_it_on_a_folder(weights, tmp_path, more):
    """The finished run is read back without the file of weights."""
    root = make_image_folder(tmp_path / "images", classes=4, train=8, val=2)
    moved = tmp_path / "mine.safetensors"
    moved.write_bytes(weights.read_bytes())
    lines = ["dataset=image_folder", f"dataset.root={root}", "dataset.image_size=32", "dataset.resize=36"]
    lines += ["dataset.workers=0", "loss=isda", "schedule.epochs=3", "schedule.batch_size=8", *more]
    lines += [f"runs_dir={tmp_path / 'runs'}", f"model.weights={moved}"]
    config = compose_run(["model=timm", f"model.name={NAME}", *lines])
    record = run(config)
    assert record["pretrained"] == {
        "name": "mine.safetensors",
        "sha256": config.config["model"]["weights_sha256"],
    }
    directory = config.directory
    assert all(math.isfinite(row["train_loss"]) for row in metrics_of(directory))
    moved.unlink()
    model = load_run(directory).model
    assert model.head.out_features == 4 and not torch.equal(
        model.backbone.conv1[0].weight, TimmNetwork(4, NAME, weights=str(weights)).backbone.conv1[0].weight
    )
    assert same_weights(directory, directory)
