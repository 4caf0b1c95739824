"""README, CONTRIBUTING and the pages in docs/: their commands and code work, their links lead somewhere."""

import importlib.util
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from helpers.commands import call as call_command
from helpers.forked import run_forked
from helpers.processes import Done, run_python
from helpers.tiny import REPOSITORY
from isda_bench.cli.main import COMMANDS
from isda_bench.config.experiment_files import table_names
from isda_bench.config.grids import grid_runs
from isda_bench.losses import ISDA

DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
CONTRIBUTED = {"loss=poly", "dataset=my_images", "augment=blocks"}
"""Choices that CONTRIBUTING's examples add."""


def code_blocks(document: Path | str, language: str) -> list[str]:
    text = (REPOSITORY / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(document: Path | str, start: str) -> list[list[str]]:
    """The words of each command in the document's blocks of shell that begins so, without its comment."""
    lines = "".join(code_blocks(document, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith(start)]


def heading_anchors(text: str) -> set[str]:
    """The names under which headings are linked."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short_and_lists_its_sections():
    text = (REPOSITORY / "README.md").read_text()
    assert len(text.split()) <= 1200
    sections = [re.sub(r"\W+", "-", title.lower()) for title in re.findall(r"^## (.*)$", text, re.MULTILINE)]
    assert sections.pop(0) == "contents"
    assert re.findall(r"^- \[.*\]\(#(.*)\)$", text, re.MULTILINE) == sections


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", text):
        if "://" in target:
            continue
        found = (document.parent / target).resolve() if target else document
        assert found.exists(), target
        if anchor and found.name != "reference.md":  # whose headings are made from the code
            assert anchor in heading_anchors(found.read_text()), f"{target}#{anchor}"


def test_the_files_that_contributors_look_for_are_there():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    files = re.findall(r"`(\w+/[\w.]+)`", text.partition("## Where things are")[2].partition("## ")[0])
    assert len(files) >= 15
    assert [name for name in files if not (REPOSITORY / "src" / "isda_bench" / name).is_file()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_plain_words(document):
    words = r"\b(told|vouch\w*|likewise|goes on|go on|is left|at work)\b"
    assert re.findall(words, document.read_text(), re.IGNORECASE) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(document):
    """What a page says to type for training composes; other commands have their names."""
    for _, _, *words in commands(document, "python train.py"):
        overrides = [word for word in words if not word.startswith("-") and word != "job"]
        experiments = {word.partition("=")[2] for word in overrides if word.startswith("experiment=")}
        assert experiments <= {*table_names(), "..."}
        rest = [word for word in overrides if not word.startswith("experiment=")]  # all its runs take seconds
        if rest and not CONTRIBUTED & set(rest):
            assert grid_runs(rest)
    for _, command, *_ in commands(document, "isda-bench"):
        assert command in COMMANDS
    for _, target, *_ in commands(document, "make"):
        assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


def test_isda_in_ones_own_loop():
    """The README's lines, with the names that they need, learn."""
    (lines,) = (block for block in code_blocks("README.md", "python") if "ISDA(" in block)
    assert len(lines.strip().splitlines()) <= 10
    torch.manual_seed(0)
    targets = torch.randint(0, 3, (30, 16))
    images = torch.randn(30, 16, 1, 4, 4)
    images.flatten(2)[:, :, :3] += 3 * nn.functional.one_hot(targets, 3)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU())
    head = nn.Linear(8, 3)
    names = {
        "backbone": backbone,
        "head": head,
        "batches": list(zip(images, targets, strict=True)),
        "total_steps": 30,
        "optimizer": torch.optim.SGD([*backbone.parameters(), *head.parameters()], lr=0.2),
    }
    exec(lines, names)
    logits = head(backbone(images.flatten(0, 1)))
    assert (logits.argmax(1) == targets.flatten()).float().mean() > 0.8
    assert names["isda"].statistics.count.sum() == targets.numel()


def test_the_faq_s_lines_for_segmentation():
    """They give the loss of the labelled pixels."""
    (lines,) = (block for block in code_blocks("docs/faq.md", "python") if "labelled" in block)
    torch.manual_seed(0)
    targets = torch.randint(0, 3, (2, 4, 5))
    targets[0, 0] = 255
    names = {"features": torch.randn(2, 6, 4, 5), "targets": targets, "head": nn.Linear(6, 3), "t": 0.5}
    isda = names["isda"] = ISDA(3, 6)
    exec(lines, names)
    assert isda.statistics.count.sum() == (targets != 255).sum() and names["loss"].isfinite()
    pixels = names["features"].permute(0, 2, 3, 1)[targets == 1]
    assert torch.allclose(isda.statistics.mean[1], pixels.mean(0), atol=1e-6)


@pytest.fixture(scope="module")
def contributed(tmp_path_factory):
    """A copy of the project with CONTRIBUTING's examples where their first lines say."""
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


def contributing_commands(word: str) -> list[list[str]]:
    return [words[1:] for words in commands("CONTRIBUTING.md", "python") if word in words]


@pytest.mark.slow
def test_contributing_a_loss(contributed):
    found = contributing_commands("loss=poly")
    assert len(found) == 2
    wrong = ["train.py", "dataset=digits", "loss=poly", "loss.epsilon=-2"]
    *trained, refused = calls(contributed, *found, wrong)
    for done in trained:
        done.check()
    assert len(list(contributed.glob("runs/digits-resnet8-poly-s0-*/record.json"))) == 3
    assert "loss.epsilon=-2" in refused.check(2).stderr


def test_the_contributed_loss_is_the_paper_s(contributed):
    """In float64 against the formula; epsilon 0 is the cross-entropy."""
    spec = importlib.util.spec_from_file_location("poly", contributed / "src/isda_bench/losses/poly.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    head = nn.Linear(4, 5, dtype=torch.float64)
    features, targets = torch.randn(7, 4, dtype=torch.float64), torch.randint(5, (7,))
    p = head(features).softmax(1)[torch.arange(7), targets]
    for epsilon in (-1.0, 0.0, 2.5):
        loss = module.Poly(5, 4, epsilon)(features, targets, 0.5, head=head)
        assert torch.allclose(loss, (-p.log() + epsilon * (1 - p)).mean(), rtol=1e-12)


@pytest.mark.slow
def test_contributing_an_image_folder(contributed):
    for part, images in (("train", 12), ("test", 6)):
        for number, name in enumerate(("dark", "light")):
            folder = contributed / "images" / part / name
            folder.mkdir(parents=True)
            for i in range(images):
                Image.new("RGB", (20 + i, 30), (100 * number + i,) * 3).save(folder / f"{i}.png")
    (command,) = contributing_commands("dataset=my_images")
    (done,) = calls(contributed, command)
    assert "my_images-resnet8-isda-s0" in done.check().stdout


@pytest.mark.slow
def test_contributing_an_augmentation_a_batch_transform_and_an_optimizer(contributed):
    (command,) = contributing_commands("augment=blocks")
    wrong = [*command, "augment.side=9", "optimizer.betas=[0.9]"]
    trained, refused = calls(contributed, command, wrong)
    assert "digits-resnet8-cross_entropy-s0" in trained.check().stdout
    assert "augment: does not fit the images of the data set" in refused.check(2).stderr
    assert "optimizer.betas.1: not given" in refused.stderr


FORKS = """
import json, os, runpy, sys
import isda_bench.cli.command_line, isda_bench.training.run, torch._dynamo  # which any optimizer imports
for number, arguments in enumerate(json.loads(sys.argv[1])):
    child = os.fork()
    if not child:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{number}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def calls(project, *commands):
    """How each `python <command>` ends in the project: forks of one process that has imported its code."""
    code = run_python(
        "-c", FORKS, json.dumps(commands), cwd=project, env={"PYTHONPATH": str(project / "src")}
    )
    texts = [[(project / f"{i}.{name}").read_text() for name in ("out", "err")] for i in range(len(commands))]
    return [Done(int(line), *text) for line, text in zip(code.check().stdout.split(), texts, strict=True)]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    """All its cells, in a copy of what it reads."""
    for part in ("conf", "results/records"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).symlink_to(REPOSITORY / part)
    shutil.copy(REPOSITORY / "train.py", tmp_path)
    cells = json.loads((REPOSITORY / "docs/notebook.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    code.append("assert len(records) > 6 and len(metrics) == 8 and len(axis.lines) == 1 and 0 < share < 1")
    done = run_python(
        "-c",
        "\n".join(code),
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY / "src"), "MPLBACKEND": "agg"},
    )
    assert "parameters, error" in done.check().stdout


def test_the_site_is_built_without_a_warning(tmp_path):
    """A broken link, a page outside the menu or an API name that is not there would be one."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    done = run_python(
        *("-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)),
        cwd=REPOSITORY,
        env={"NO_MKDOCS_2_WARNING": "1"},
    ).check()
    assert "WARNING" not in done.stdout + done.stderr
    reference = (tmp_path / "reference.html").read_text()
    for path in (REPOSITORY / "conf").glob("*/*.yaml"):
        assert f"<code>{path.stem}</code>" in reference or path.parent.name == "experiment"
    assert "weights=&lt;file&gt;" in reference and not re.search(
        "<(?:file|class|run|root|runs_dir)>", reference
    )
    assert "number, ≥ 0" in reference and "lambda_0" in reference
    assert re.search(r"<td>3\.10&nbsp;±&nbsp;0\.44&nbsp;\(3\)</td>", (tmp_path / "index.html").read_text())
    pages = [path.read_text() for path in tmp_path.glob("*.html")]
    assert len(pages) > 18
    for page in pages:
        loaded = re.findall(r'(?:src|<link[^>]* href)="(https?:[^"]*)"', page)
        assert loaded == [], "a page needs the network"


@pytest.mark.parametrize("page", ["mixing", "metrics", "predict", "reproduce"])
def test_the_commands_of_a_page_run(page, tmp_path, monkeypatch, capsys):
    """HASH stands for the end of the run's id; trainings are processes, other commands calls."""
    monkeypatch.chdir(tmp_path)
    for block in code_blocks(f"docs/{page}.md", "python"):
        name = re.match(r"# (\w+\.py)\n", block)[1]
        Path(name).write_text(block)
    Path("photos").mkdir()
    Image.new("L", (8, 8)).save("photos/a.png")
    for _, _, *arguments in commands(f"docs/{page}.md", "python train.py"):
        run_forked(arguments, tmp_path).check()
    for _, name, *arguments in commands(f"docs/{page}.md", "isda-bench"):
        (run,) = Path("runs").glob("digits-*")
        words = [re.sub(r"runs/\S*HASH", str(run), word) for word in arguments]
        call_command(name, *(word if "=" in word else f"run={word}" for word in words))
    said = capsys.readouterr().out
    if page == "metrics":
        (metrics,) = Path("runs").glob("*/metrics.jsonl")
        assert 0 < json.loads(metrics.read_text())["test_brier"] < 2
    if page == "predict":
        assert len(Path("predictions.csv").read_text().splitlines()) == 2
    if page == "reproduce":
        assert "identical to the bit" in said
