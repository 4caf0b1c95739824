import importlib.util
import sys

import pytest

from helpers.processes import run_python
from isda_bench.runtime import torchvision_import


def printed(code):
    return run_python("-c", code).check().stdout


def test_torchvision_and_timm_can_be_imported_after_it():
    code = (
        "import isda_bench.runtime.torchvision_import, torchvision, timm; torchvision.ops.nms; print('fine')"
    )
    assert printed(code) == "fine\n"


def test_operators_that_exist_are_left_alone():
    code = (
        "import torch\n"
        "own = torch.library.Library('torchvision', 'FRAGMENT')\n"
        "own.define('nms(Tensor a) -> Tensor')\n"
        "from isda_bench.runtime import torchvision_import\n"
        "print(torchvision_import.declared, torch.ops.torchvision.nms.default._schema)"
    )
    assert printed(code) == "[] torchvision::nms(Tensor a) -> Tensor\n"


@pytest.mark.parametrize("loads", [True, False])
def test_declares_only_where_nothing_loads(monkeypatch, tmp_path, loads):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").touch()
    (tmp_path / "torchvision" / "_C.so").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    present, declared = [], []

    def load(path):
        assert path.parent == tmp_path / "torchvision"
        if not loads:
            raise OSError("libcudart.so: cannot open shared object file")
        present.append(path)

    class Library:
        def __init__(self, namespace, kind):
            assert (namespace, kind) == ("torchvision", "FRAGMENT")

        def define(self, schema):
            declared.append(schema)

    monkeypatch.setattr(torchvision_import, "has_operators", lambda: bool(present))
    monkeypatch.setattr(torchvision_import.torch.ops, "load_library", load)
    monkeypatch.setattr(torchvision_import.torch.library, "Library", Library)
    monkeypatch.setattr(torchvision_import, "declared", [])
    torchvision_import.patch_torchvision()
    assert tuple(declared) == (() if loads else torchvision_import.SCHEMAS)


def test_without_torchvision_there_is_nothing_to_cure(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(torchvision_import, "has_operators", lambda: False)
    monkeypatch.setattr(torchvision_import, "declared", [])
    torchvision_import.patch_torchvision()
    assert torchvision_import.declared == []


def test_the_package_alone_does_not_import_torch():
    assert printed("import isda_bench, sys; print('torch' in sys.modules)") == "False\n"
