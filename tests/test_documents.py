"""What README and CONTRIBUTING tell a user to do works as it stands there."""

import re
import shutil

import pytest
import torch
from PIL import Image
from torch import nn

from helpers.processes import run_python
from helpers.tiny import REPOSITORY


def code_blocks(document: str, language: str) -> list[str]:
    text = (REPOSITORY / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_isda_in_ones_own_loop():
    """The README's lines, given what they say they need, learn."""
    (lines,) = (block for block in code_blocks("README.md", "python") if "Outputs" in block)
    assert len(lines.strip().splitlines()) <= 10
    torch.manual_seed(0)
    targets = torch.randint(0, 3, (30, 16))
    images = torch.randn(30, 16, 1, 4, 4)
    images.flatten(2)[:, :, :3] += 3 * nn.functional.one_hot(targets, 3)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU())
    head = nn.Linear(8, 3)
    given = {
        "backbone": backbone,
        "head": head,
        "batches": list(zip(images, targets, strict=True)),
        "total_steps": 30,
        "optimizer": torch.optim.SGD([*backbone.parameters(), *head.parameters()], lr=0.2),
    }
    exec(lines, given)
    logits = head(backbone(images.flatten(0, 1)))
    assert (logits.argmax(1) == targets.flatten()).float().mean() > 0.8
    assert given["isda"].statistics.count.sum() == targets.numel()


@pytest.fixture(scope="module")
def contributed(tmp_path_factory):
    """A copy of the project with CONTRIBUTING's examples put where their first lines say."""
    copy = tmp_path_factory.mktemp("project")
    for part in ("src", "conf"):
        shutil.copytree(REPOSITORY / part, copy / part)
    shutil.copy(REPOSITORY / "train.py", copy)
    for block in code_blocks("CONTRIBUTING.md", "(?:python|yaml)"):
        first, _, rest = block.partition("\n")
        if first.startswith("# ") and "/" in first:
            path = copy / first.removeprefix("# ")
            assert not path.exists()
            path.write_text(rest)
    return copy


def contributing_commands(word: str) -> list[str]:
    lines = "".join(code_blocks("CONTRIBUTING.md", "bash")).splitlines()
    return [line.removeprefix("python ") for line in lines if word in line]


def test_contributing_a_loss(contributed):
    commands = contributing_commands("label_smoothing")
    assert len(commands) == 2
    for command in commands:
        call(contributed, command.split()).check()
    assert len(list(contributed.glob("runs/digits-resnet8-label_smoothing-s0-*/record.json"))) == 3
    wrong = call(contributed, ["train.py", "dataset=digits", "loss=label_smoothing", "loss.smoothing=2"])
    assert "loss.smoothing=2" in wrong.check(2).stderr


def test_contributing_an_image_folder(contributed):
    for part, images in (("train", 12), ("test", 6)):
        for number, name in enumerate(("dark", "light")):
            folder = contributed / "images" / part / name
            folder.mkdir(parents=True)
            for i in range(images):
                Image.new("RGB", (20 + i, 30), (100 * number + i,) * 3).save(folder / f"{i}.png")
    (command,) = contributing_commands("my_images")
    done = call(contributed, command.split()).check()
    assert "my_images-resnet8-isda-s0" in done.stdout


def call(project, arguments):
    return run_python(*arguments, cwd=project, env={"PYTHONPATH": str(project / "src")})
