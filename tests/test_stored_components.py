"""The one function that builds components: which classes it calls, and which it does not even import."""

import sys

import pytest
import torch

import isda_bench
from helpers.tiny import TINY
from isda_bench.config.building import (
    ANY_MODULE,
    build,
    build_stored,
    component_class,
    component_function,
    plain_problems,
)
from isda_bench.config.compose import compose_run
from isda_bench.config.options import Options, parse
from isda_bench.errors import ConfigError, UserError
from isda_bench.losses.base import Loss
from isda_bench.losses.isda import ISDA
from isda_bench.models.base import Classifier
from isda_bench.training.evaluate import evaluate_run
from isda_bench.training.run import run

USERS = """
from isda_bench.losses.cross_entropy import CrossEntropy
from isda_bench.models.resnet import ResNet

class Mine(CrossEntropy):
    pass

class Net(ResNet):
    pass

def make(num_classes, feature_dim):
    return Mine(num_classes, feature_dim)
"""


@pytest.fixture
def users_module(tmp_path, monkeypatch):
    """A module `of_a_user` that can be imported."""
    (tmp_path / "of_a_user.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path)
    yield "of_a_user"
    sys.modules.pop("of_a_user", None)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("os.system", "the module os is not allowed"),
        ("of_a_user.Mine", "the module of_a_user is not allowed"),
        ("isda_benchmark.Loss", "the module isda_benchmark is not allowed"),
        ("isda_bench.runtime.atomic_files.write_atomically", "is no class"),
        ("isda_bench.runtime.atomic_files.os.system", "Error loading"),
        ("isda_bench.losses.base.torch.load", "Error loading"),
        ("isda_bench.losses.isda.Loss", "should be isda_bench.losses.base.Loss"),
        ("isda_bench.models.resnet.ResNet", "should make a Loss"),
        ("isda_bench.storage.run_lock.RunLock", "should make a Loss"),
        ("isda_bench.__main__.Loss", "is not allowed"),
        ("isda_bench.load_run", "Error loading"),
        ("Loss", "is not allowed"),
        ("", "path of a class"),
        ("isda_bench.losses.isda.ISDA()", "path of a class"),
        (["isda_bench.losses.isda.ISDA"], "path of a class"),
        (None, "path of a class"),
    ],
)
def test_a_target_outside_the_contract_is_refused_and_not_imported(users_module, target, reason):
    with pytest.raises(ValueError, match=reason):
        component_class(target, Loss)
    assert users_module not in sys.modules


def test_a_module_that_is_allowed_is_imported(users_module):
    found = component_class("of_a_user.Mine", Loss, allow=(users_module,))
    assert found is sys.modules[users_module].Mine
    assert isinstance(
        build({"_target_": "of_a_user.Mine"}, Loss, ANY_MODULE, num_classes=2, feature_dim=3), found
    )
    for target, reason in [
        ("of_a_user.make", "is no class"),
        ("of_a_user.CrossEntropy", "should be isda_bench"),
    ]:
        with pytest.raises(ValueError, match=reason):
            component_class(target, Loss, ANY_MODULE)


def test_optimizers_are_torchs_or_timms():
    optimizer = torch.optim.Optimizer
    assert component_class("torch.optim.SGD", optimizer) is torch.optim.SGD
    assert component_class("torch.optim.sgd.SGD", optimizer) is torch.optim.SGD
    for target in (
        "torch.load",
        "torch.optim.swa_utils.torch.load",
        "isda_bench.losses.isda.ISDA",
        "os.system",
    ):
        with pytest.raises(ValueError):
            component_class(target, optimizer)


@pytest.mark.parametrize(
    "value",
    [
        {"_target_": "os.system"},
        [{"deep": [{"_partial_": True}]}],
        {"_args_": []},
        {"_recursive_": False},
        {"_convert_": "all"},
        "${oc.env:HOME}",
        ["a ${b}"],
        {"${a}": 1},
        10**30,
        object(),
    ],
)
def test_below_a_component_stand_plain_values_only(tmp_path, value):
    node = {"_target_": "isda_bench.losses.isda.ISDA", "strength": value}
    with pytest.raises(UserError, match=r"record\.json: loss[.:] ?strength"):
        build_stored(tmp_path / "record.json", "loss", node, Loss, num_classes=2, feature_dim=3)
    assert len(list(plain_problems({"strength": value}))) == 1


def test_deep_values_are_refused_without_recursion():
    node: list = []
    for _ in range(5000):
        node = [node]
    assert [line for line in plain_problems(node, "x") if "levels deep" in line]


def test_an_argument_refused_by_the_constructor_is_named_with_file_and_key(tmp_path):
    node = {"_target_": "isda_bench.losses.isda.ISDA", "strength": -1.0, "strenght": 1}
    with pytest.raises(UserError) as raised:
        build_stored(tmp_path / "record.json", "loss", node, Loss, num_classes=2, feature_dim=3)
    assert "record.json: loss.strength=-1.0" in str(raised.value) and "loss.strenght" in str(raised.value)
    with pytest.raises(UserError, match="model: should be a section"):
        build_stored(tmp_path / "record.json", "model", [], Classifier)
    right = {"_target_": node["_target_"], "strength": 1.0}
    assert isinstance(build(right, Loss, num_classes=2, feature_dim=3), ISDA)


def test_a_users_run_is_loaded_with_allow_alone(users_module, tmp_path):
    config = compose_run(
        [*TINY, "schedule.epochs=1", "schedule.milestones=[]", f"runs_dir={tmp_path / 'runs'}"]
    )
    for section, name in (("loss", "Mine"), ("model", "Net")):
        config.config[section]["_target_"] = f"{users_module}.{name}"
    run(config)
    with pytest.raises(UserError, match=r"record\.json: .*of_a_user is not allowed \(allow=of_a_user"):
        isda_bench.load_run(config.directory)
    for allow in (users_module, (users_module,)):
        assert type(isda_bench.load_run(config.directory, allow=allow).model).__name__ == "Net"
    record = isda_bench.load_run(config.directory, allow=users_module).record
    assert evaluate_run(config.directory, allow=users_module)["error"] == record["error"]["final"]


def test_every_script_takes_allow():
    assert parse(Options, ["allow=mine"]).allow == ("mine",)
    assert parse(Options, ["allow=[mine,theirs.nets]"]).allow == ("mine", "theirs.nets")
    for wrong in ("allow='*'", "allow=../x", "allow=3"):
        with pytest.raises(ConfigError, match="allow"):
            parse(Options, [wrong])


@pytest.mark.parametrize(
    "target",
    [
        "isda_bench.storage.listing.shutil.rmtree",
        "isda_bench.training.metrics.torch.add",
        "isda_bench.cli.main.main",
        "isda_bench.training.metrics.F.cross_entropy",
        "os.abort",
        "rmtree",
    ],
)
def test_a_stored_metric_is_a_function_of_our_metrics_or_of_an_allowed_module(target):
    with pytest.raises(ValueError, match=r"should be the path|not allowed|no function|Error loading"):
        component_function(target)
