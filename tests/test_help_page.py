"""The help of what trains, read from files and sources."""

import os
import re

import pytest
from omegaconf import OmegaConf

from helpers.processes import run_python
from isda_bench.cli.component_docs import argument_range, argument_text, definition
from isda_bench.cli.help_page import Unreadable, help_page, print_help
from isda_bench.cli.main import run_command
from isda_bench.config.run_config import CONF

GROUPS = ("dataset", "model", "loss", "augment", "generator", "logger", "method", "experiment", "schedule")
COMPONENTS = [
    path
    for group in ("dataset", "model", "loss", "augment", "generator", "logger")
    for path in sorted((CONF / group).glob("*.yaml"))
]


def test_the_overview_describes_each_choice_in_a_line():
    page = help_page("train", ["--help"])
    assert all(len(line) <= 102 for line in page.partition("\nKeys: ")[0].splitlines())
    for group in GROUPS:
        section = re.search(rf"^{group}\b.*\n((?:  .*\n?)+)", page, re.MULTILINE)[1]
        described = dict(re.findall(r"^  (\S+) +(\S.*)$", section, re.MULTILINE))
        assert set(described) == {path.stem for path in (CONF / group).glob("*.yaml")}
        assert all(len(text) >= 4 for text in described.values())
    for part in (
        "Focal loss: less weight for the samples that are easy",
        "Center loss (Wen et al. 2016), centers' initial",
        "loss  (default: cross_entropy)",
        "depth=110: ResNet",
        "precision: fp32 # fp32, tf32",
    ):
        assert part in page


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    """A help page fits the terminal."""
    monkeypatch.setenv("COLUMNS", "100")


def test_a_choices_page_has_its_keys_with_ranges_and_meaning():
    page = help_page("train", ["loss=isda", "--help"])
    assert "Cross-entropy of implicitly augmented features" in page
    assert re.search(r"loss\.strength=0\.5 +number >= 0\n +lambda_0", page)
    assert re.search(r"loss\.covariance=full +one of full, diagonal, shared, identity, lowrank\n", page)
    assert re.search(r"loss\.rank=null +integer > 0, or null\n", page)
    assert "num_classes" not in page, "the run gives it"


@pytest.mark.parametrize(
    ("choice", "pattern"),
    [
        ("schedule=resnet", r"schedule\.momentum=0\.9 +number in \[0, 1\)\n"),
        ("schedule=resnet", r"schedule\.milestones=\[80,120\] +list of integer > 0, or null\n"),
        ("dataset=digits", r"dataset\.imbalance=null +number >= 1, or null\n +of a long-tailed"),
        ("dataset=cifar100", r"dataset\.train_size=null +integer > 0, or null\n +images to train on"),
        ("augment=cutout", r"augment\.size=16 +integer > 0\n +side of the hole in pixels"),
        ("logger=wandb", r"logger\.mode=offline +one of online, offline\n"),
        ("method=isda_dropout", r"dropout: 0\.3"),
        ("model=densenet121", r"model\.depth=121 +"),
    ],
)
def test_ranges_come_from_annotations_and_meanings_from_docstrings(choice, pattern):
    assert re.search(pattern, help_page("train", [choice]))


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_every_key_of_every_component_has_a_range_and_a_meaning(path):
    content = OmegaConf.to_container(OmegaConf.load(path)) or {}
    found = definition(content["_target_"]) if "_target_" in content else None
    keys = [
        key for key in content if key not in ("_target_", "defaults") and not isinstance(content[key], dict)
    ]
    assert found is not None or not keys
    lacking = [key for key in keys if not (argument_range(found, key) and argument_text(found, key))]
    assert not lacking


def test_a_choice_that_is_not_there_is_one_error(typed_in, tmp_path, capsys):
    typed_in(tmp_path, "train.py", "--help", "loss=isd")
    with pytest.raises(SystemExit) as end:
        run_command("train", "python train.py")
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: loss=isd: no such loss; there are: center, ")


def test_generators_have_their_own_groups():
    page = help_page("generator", [])
    assert "Conditional GAN (Mirza and Osindero 2014" in page and "\nloss" not in page
    assert "cifar10 " in page and "critic" in help_page("generator", ["generator=wgan"]).lower()


def test_a_users_own_component_has_its_page_and_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text('''
from typing import Annotated
from pydantic import Field
from isda_bench.losses.base import Loss
raise SystemExit("imported")

class Tempered(Loss):
    """Cross-entropy of logits divided by a temperature.

    Args:
        temperature: by which the logits are divided.
    """

    def __init__(self, num_classes, feature_dim, temperature: Annotated[float, Field(gt=0)]) -> None:
        super().__init__()
''')
    folder = tmp_path / "conf" / "loss"
    folder.mkdir(parents=True)
    (folder / "tempered.yaml").write_text("_target_: mine.Tempered\ntemperature: 2.0\n")
    monkeypatch.chdir(tmp_path)
    arguments = ["--config-dir", str(tmp_path / "conf")]
    assert "tempered         Cross-entropy of logits divided by a temperature\n" in help_page(
        "train", arguments
    )
    page = help_page("train", ["loss=tempered", *arguments])
    assert re.search(r"loss\.temperature=2\.0 +number > 0\n +by which the logits", page)


def test_the_help_is_quick_to_import():
    code = (
        "import sys; sys.argv[1:] = ['--help', 'loss=isda']\n"
        "from isda_bench.cli.main import run_command\n"
        "run_command('train', 'python train.py')\n"
        "assert not {'torch', 'hydra', 'pydantic', 'numpy', 'omegaconf'} & set(sys.modules)"
    )
    run_python("-c", code).check()


ISDA = "_target_: isda_bench.losses.isda.ISDA\n"
BROKEN = {
    "cyclic": (f"{ISDA}a: &a\n  b: *a\n", "cannot be read: a part of it contains itself"),
    "bomb": (
        "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)),
        "cannot be read: ",
    ),
    "latin": (f"{ISDA}x: \xff".encode("latin-1"), "cannot be read: 'utf-8' codec can't decode byte 0xff"),
    "list": ("- 1\n", "should be a section with keys"),
    "number": ("3\n", "should be a section with keys"),
    "syntax": ("a: [\n", "cannot be read: line 2: expected the node content"),
    "python": ("!!python/object/apply:os.system ['touch executed']\n", "cannot be read: line 1: could not"),
    "deep": (f"a: {'[' * 5000}", "cannot be read: "),
    "folder": (None, "cannot be read: Is a directory"),
    "os.system": (
        "_target_: os.system\ncommand: touch executed\n",
        "_target_: should be the path of a class",
    ),
    "no class": ("_target_: isda_bench.losses.isda.Nothing\n", "_target_: should be the path of a class"),
    "a list": ("_target_: [1]\n", "_target_: should be the path of a class"),
    "own": ("_target_: breaks.Loss\n", "_target_: should be the path of a class"),
}


@pytest.fixture(params=BROKEN)
def broken(request, tmp_path, monkeypatch):
    """The error about loss=broken, of a user's folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loss").mkdir()
    (tmp_path / "breaks.py").write_text("open('executed', 'w')\n")
    text, error = BROKEN[request.param]
    file = tmp_path / "loss" / "broken.yaml"
    if text is None:
        file.mkdir()
    else:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return error


def test_the_help_of_a_broken_choice_is_one_error(broken, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        print_help("train", ["--help", f"--config-dir={tmp_path}", "loss=broken"])
    assert ended.value.code == 2 and not (tmp_path / "executed").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}/loss/broken.yaml: {broken}")
    page = help_page("train", ["--help", f"--config-dir={tmp_path}", "loss"])
    assert "\n  cross_entropy " in page and "\n  broken " in page, "the others have their lines"


def test_the_help_of_a_fifo_does_not_wait(tmp_path):
    (tmp_path / "loss").mkdir()
    os.mkfifo(tmp_path / "loss" / "broken.yaml")
    with pytest.raises(Unreadable, match="is no regular file"):
        help_page("train", ["--help", f"--config-dir={tmp_path}", "loss=broken"])
    assert "is no regular file" in help_page("train", ["--help", f"--config-dir={tmp_path}"])


def test_values_move_no_cursor(tmp_path, capsys):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "broken.yaml").write_text(ISDA + 'strength: "\\e[2J"\n')
    print_help("train", ["--help", f"--config-dir={tmp_path}", "loss=broken"])
    assert "\x1b" not in capsys.readouterr().out
