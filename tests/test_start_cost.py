"""A training imports what it uses: its start takes no longer than it must."""

import json
import sys

import pytest

from helpers.processes import run_python
from helpers.tiny import REPOSITORY, TINY
from isda_bench.storage.component_code import code_of

RUN = [*TINY, "schedule.epochs=1", "schedule.milestones=[]", "logger=none", "runs_dir=runs"]
UNUSED = {
    *("PIL", "wandb", "pandas", "matplotlib", "torchvision", "timm", "sklearn.ensemble"),
    *("isda_bench.data.decoding", "isda_bench.cli.help_page", "isda_bench.experiments.published_values"),
}
SCRIPT = """
import json, runpy, sys
sys.argv = json.loads(sys.argv[1])
runpy.run_path(sys.argv[0], run_name="__main__")
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.slow
def test_a_run_on_digits_imports_no_decoder_help_or_published_values(tmp_path):
    command = json.dumps([str(REPOSITORY / "train.py"), *RUN])
    done = run_python("-c", SCRIPT, command, cwd=tmp_path).check()
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    assert "isda_bench.training.run" in imported
    assert not imported & UNUSED


def test_the_checksum_of_a_component_imports_no_module(tmp_path, monkeypatch):
    package = tmp_path / "mine_heavy"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "loss.py").write_text("from mine_heavy.other import thing\n")
    (package / "other.py").write_text("thing = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    first = code_of("mine_heavy.loss")
    assert first is not None and not {"mine_heavy.loss", "mine_heavy.other"} & sys.modules.keys()
    (package / "other.py").write_text("thing = 2222\n")
    assert code_of("mine_heavy.loss") != first
