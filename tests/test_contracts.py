"""The promises of the design: what tools outside the project, and whoever adds to it, rely on."""

import ast
import importlib
import inspect
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import torch
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

import isda_bench
from helpers.processes import run_python
from helpers.tiny import REPOSITORY
from isda_bench.config.run_config import CONF
from isda_bench.losses.base import Loss, Outputs
from isda_bench.models.base import Classifier

SOURCE = REPOSITORY / "src"
GIVEN = {"num_classes", "feature_dim", "in_channels"}  # by the run, not by the YAML
NAMES = {
    "model": """resnet8 resnet20 resnet32 resnet44 resnet56 resnet110 se_resnet110 wrn16_8 wrn28_10
        densenet_bc_100_12 densenet_bc_190_40 resnext29_8x64d resnext29_16x64d shake_shake_26_2x32d
        shake_shake_26_2x96d shake_shake_26_2x112d pyramidnet110_a48 pyramidnet272_a200 resnet50 resnet101
        resnet152 resnext50_32x4d resnext101_32x8d densenet121 densenet265""",
    "loss": "cross_entropy isda disturb_label focal lq center large_margin",
    "dataset": "digits cifar10 cifar100 imagenet",
    "augment": "none standard cutout autoaugment randaugment",
    "logger": "none wandb",
    "generator": "none wgan cgan acgan infogan",
    "method": """basic dropout isda isda_dropout focal lq disturb_label center large_margin
        wgan cgan acgan infogan""",
}
NOT_THE_DEFAULT = {  # what runs without the key had,
    ("imagenet", "decoding"),
    ("autoaugment", "operations"),
    ("randaugment", "operations"),
    # what a network's name says, or the paper of its basic model
    ("pyramidnet272_a200", "shake_drop"),
    ("resnext101_32x8d", "groups"),
    ("resnext101_32x8d", "width_per_group"),
    ("resnext50_32x4d", "groups"),
    ("resnext50_32x4d", "width_per_group"),
    ("se_resnet110", "se_reduction"),
    ("wrn16_8", "dropout"),
    ("wrn28_10", "dropout"),
}


def yaml_files(*groups: str) -> list[Path]:
    return [path for group in groups for path in sorted((CONF / group).glob("*.yaml"))]


def content(path: Path) -> dict:
    keys = OmegaConf.to_container(OmegaConf.load(path))
    return {key: value for key, value in keys.items() if key != "defaults"}


COMPONENTS = [
    pytest.param(path, id=f"{path.parent.name}={path.stem}")
    for path in yaml_files("model", "loss", "dataset", "augment", "generator", "logger")
    if content(path)
]


@pytest.mark.parametrize("group", NAMES)
def test_names_are_those_of_the_design(group):
    assert set(NAMES[group].split()) <= {path.stem for path in yaml_files(group)}


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_everything_composes_after_the_import_alone_and_without_torch(every):
    groups = {
        folder.name: [p.stem for p in yaml_files(folder.name)]
        for folder in CONF.iterdir()
        if folder.is_dir() and folder.name != "hydra"
    }
    overlays = [f"{group}={name}" for group in ("method", "experiment") for name in groups.pop(group, [])]
    together = [
        [f"{group}={names[i % len(names)]}" for group, names in groups.items()]
        for i in range(max(map(len, groups.values())))
    ]
    code = f"""
import sys
import isda_bench
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
with initialize_config_dir({str(CONF)!r}, version_base="1.3"):
    for overrides in {together[::every] + [[overlay] for overlay in overlays[::every]]!r}:
        config = compose("config", overrides)
        OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
for module in ("torch", "torchvision", "wandb", "timm", "matplotlib", "pandas"):
    assert module not in sys.modules, module
"""
    run_python("-c", code).check()


def test_the_torch_free_modules_are_torch_free():
    names = ", ".join(
        f"isda_bench.{module}"
        for module in (
            *("config.run_config", "config.settings", "config.problems", "config.compose", "config.options"),
            *("config.generator_config", "config.experiment_files", "cli.command_line"),
            *("cli.command_line_check", "cli.tables", "training.schedules", "errors"),
        )
    )
    run_python("-c", f"import {names}, sys; assert 'torch' not in sys.modules").check()


@pytest.mark.parametrize("path", yaml_files("model"), ids=lambda path: path.stem)
def test_a_model_yaml_makes_a_classifier(path):
    with torch.device("meta"):
        model = instantiate(content(path), num_classes=7)
        images = torch.zeros(2, 3, 64, 64)
    assert isinstance(model, Classifier)
    assert isinstance(model.head, torch.nn.Linear)
    assert model.head.out_features == 7
    model.eval()
    features = model.features(images)
    assert features.shape == (2, model.feature_dim)
    assert model(images).shape == (2, 7)


@pytest.mark.parametrize("path", yaml_files("loss"), ids=lambda path: path.stem)
def test_a_loss_yaml_makes_a_loss_called_as_the_contract_says(path):
    torch.manual_seed(0)
    loss = instantiate(content(path), num_classes=5, feature_dim=4)
    assert isinstance(loss, Loss)
    assert isinstance(loss.parameter_groups(), list)
    head = torch.nn.Linear(4, 5)
    features = torch.randn(6, 4, requires_grad=True)
    targets = torch.tensor([0, 1, 2, 3, 4, 0])
    for progress in (0.0, 0.5, torch.tensor(1.0)):
        value = loss(Outputs(features, head(features), head), targets, progress)
        assert value.shape == ()
        assert value.isfinite()
    value.backward()
    assert features.grad.isfinite().all()
    assert features.grad.any()


@pytest.mark.parametrize("path", COMPONENTS)
def test_a_component_yaml_lists_every_tunable_argument_with_its_default(path):
    values = content(path)
    component = get_class(values.pop("_target_"))
    given = set() if path.parent.name == "dataset" else GIVEN
    arguments = {k: v.default for k, v in inspect.signature(component).parameters.items() if k not in given}
    assert set(values) == set(arguments)
    for key, value in values.items():
        interpolated = isinstance(value, str) and value.startswith("${")
        if interpolated or arguments[key] is inspect.Parameter.empty or (path.stem, key) in NOT_THE_DEFAULT:
            continue
        assert value == arguments[key], key
        assert type(value) is type(arguments[key]), key


@pytest.mark.parametrize("path", COMPONENTS)
def test_a_target_is_a_full_path_of_this_package(path):
    target = content(path)["_target_"]
    assert target.startswith("isda_bench.")
    assert get_class(target).__module__ == target.rpartition(".")[0]


# The way of the data: a part knows nothing of those further down, nor of its neighbours on its own line.
STATIONS = [
    ("arguments", "errors"),
    ("runtime",),
    ("models", "losses", "data"),
    ("config",),
    ("storage", "monitoring", "experiments"),
    ("loading",),
    ("gan", "reporting"),
    ("training",),
    ("inversion",),
    ("benchmarks",),
    ("cli",),
]
FLOORS = {part: floor for floor, parts in enumerate(STATIONS) for part in parts}


@cache
def modules() -> dict[str, Path]:
    def name(path: Path) -> str:
        parts = path.relative_to(SOURCE).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    return {name(path): path for path in (SOURCE / "isda_bench").rglob("*.py")}


@cache
def imports() -> dict[str, set[str]]:
    """Module -> modules of ours that it imports, anywhere in it (for type checkers alone excepted)."""
    return {name: imported(path.read_text()) - {name} for name, path in modules().items()}


def imported(text: str) -> set[str]:
    """Modules of ours; a public name of the package (`isda_bench.load_run`) stands for its module."""
    behind = {f"isda_bench.{name}": getattr(isda_bench, name).__module__ for name in isda_bench.__all__}
    names = {behind.get(name, name) for name in _imported_names(text)}
    return names & set(modules()) - {"isda_bench"}


def _imported_names(text: str) -> set[str]:
    found = set()
    nodes = list(ast.parse(text).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import of {node.module}"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {word.value for word in node.args[:1] if isinstance(word, ast.Constant)}
        elif isinstance(node, ast.Attribute):
            found.add(ast.unparse(node))  # isda_bench.load_run
        nodes += ast.iter_child_nodes(node)
    return found


def reachable(start: str) -> set[str]:
    seen, todo = set(), [start]
    while todo:
        for name in imports()[todo.pop()] - seen:
            seen.add(name)
            todo.append(name)
    return seen


def part_of(module: str) -> str:
    return module.split(".")[1]


def test_no_imports_go_in_a_circle():
    assert "isda_bench.training.loop" in imports()["isda_bench.training.run"]
    list(TopologicalSorter(imports()).static_order())


@pytest.mark.parametrize("name", sorted(set(modules()) - {"isda_bench", "isda_bench.__main__"}))
def test_imports_run_one_way_along_the_stations(name):
    here = part_of(name)
    beside_or_above = {
        other
        for other in imports()[name]
        if FLOORS[part_of(other)] >= FLOORS[here] and part_of(other) != here
    }
    assert beside_or_above == set()


@pytest.mark.parametrize(
    "line",
    [
        "from isda_bench import load_run",
        "import isda_bench.loading",
        "from isda_bench.loading import load_loss",
        "import isda_bench; isda_bench.load_run",
        "import_module('isda_bench.loading')",
        "importlib.import_module('isda_bench.loading')",
    ],
)
def test_an_import_within_a_function_counts(line):
    assert imported(f"def load():\n    {line}\n") == {"isda_bench.loading"}


def test_losses_alone_load_no_hydra():
    unwanted = {"hydra", "omegaconf", "pandas"}
    done = run_python("-c", f"import isda_bench.losses, sys; print({unwanted} & set(sys.modules))")
    assert done.check().stdout == "set()\n"


def test_every_module_has_a_docstring_and_stays_short():
    for name, path in modules().items():
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), name
        assert text.count("\n") < 300, name
        assert path.stem not in ("utils", "helpers", "misc", "common"), name


def private_names_of_ours(path: Path) -> list[str]:
    """Names with a leading underscore that a test takes from the package: imported, looked up or replaced."""
    tree = ast.parse(path.read_text())
    ours, found = set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("isda_bench"):
            ours |= {alias.asname or alias.name for alias in node.names}
            found += [alias.name for alias in node.names if alias.name.startswith("_")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ours:
            found += [node.attr] if is_private(node.attr) else []
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            words = [word.value for word in node.args[:2] if isinstance(word, ast.Constant)]
            target = ast.unparse(node.args[0]).partition(".")[0]
            named = target in ours or any(str(word).startswith("isda_bench.") for word in words)
            found += [word for word in words if named and is_private(str(word).rpartition(".")[2])]
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in ("_replace", "_asdict")


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "tests").rglob("*.py")), ids=lambda path: str(path.relative_to(REPOSITORY))
)
def test_tests_take_no_private_name_of_the_package(path):
    assert private_names_of_ours(path) == []


def test_a_private_name_is_found(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "from isda_bench.data.digits import _table\nfrom isda_bench.storage import checkpoint\n"
        "checkpoint._digest(b'')\ncheckpoint.save\nmonkeypatch.setattr(checkpoint, '_digest', None)\n"
        "patch.setattr('isda_bench.training.loop._step', None)\n"
        "monkeypatch.setattr(checkpoint, 'save', None)\n"
    )
    wanted = ["_table", "_digest", "_digest", "isda_bench.training.loop._step"]
    assert sorted(private_names_of_ours(tmp_path / "test_it.py")) == sorted(wanted)


def test_every_module_can_be_imported():
    for name in modules():
        importlib.import_module(name)
