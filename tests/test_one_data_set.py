"""One run, one data set, one code: what is compared, what is reported, and how a user proceeds."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.commands import call
from helpers.made_runs import changed, write_run
from helpers.planted import rewrite, rewrite_generator, write_generator
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.errors import UserError
from isda_bench.experiments.planned import planned
from isda_bench.gan.quality import find_classifier
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.storage.checksummed_json import read_checksummed
from isda_bench.storage.component_code import changed_sections, code_of
from isda_bench.storage.listing import summaries
from isda_bench.storage.records import collect_records, read_records, unfinished_runs
from isda_bench.training.evaluate import evaluate_run
from isda_bench.training.run import run

ONE_EPOCH = ["schedule.epochs=1", "schedule.milestones=[]"]


def make_folder(root: Path, images: int) -> Path:
    """Three classes of so many images each."""
    draws = np.random.default_rng(0)
    for part, count in (("train", images), ("val", 2)):
        for c in range(3):
            (root / part / str(c)).mkdir(parents=True)
            for i in range(count):
                pixels = draws.integers(0, 255, (12, 12, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / str(c) / f"{i}.png")
    return root


def folder_run(root: Path, runs: Path, *more: str):
    sizes = ["dataset.num_classes=3", "dataset.image_size=8", "dataset.resize=8", "dataset.workers=0"]
    where = [f"dataset.root={root}", f"runs_dir={runs}", "model=resnet8", "schedule.batch_size=6"]
    return compose_run(["dataset=imagenet", *sizes, *where, *ONE_EPOCH, *more])


@pytest.fixture(scope="module")
def two_folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folders")
    return make_folder(folder / "A", 4), make_folder(folder / "B", 5)


@pytest.fixture(scope="module")
def finished_on_a(two_folders, tmp_path_factory):
    runs = tmp_path_factory.mktemp("on_a")
    return folder_run(two_folders[0], runs), run(folder_run(two_folders[0], runs))


@pytest.fixture
def on_a(finished_on_a, tmp_path):
    """The finished run of A, in a runs_dir of the test's own."""
    config, record = finished_on_a
    shutil.copytree(config.directory, tmp_path / "runs" / config.run_id)
    return record


def test_a_finished_run_is_no_answer_for_other_data(two_folders, on_a, tmp_path, capsys):
    a, b = two_folders
    assert run(folder_run(a, tmp_path / "runs"))["data_sha256"] == on_a["data_sha256"]
    assert "(finished already)" in capsys.readouterr().out
    with pytest.raises(UserError) as raised:
        run(folder_run(b, tmp_path / "runs"))
    message = str(raised.value)
    assert on_a["data_sha256"] in message and "rerun=true" in message and "runs_dir" in message
    assert len(set(re.findall("[0-9a-f]{64}", message))) == 2


def test_where_the_data_are_not_there_nothing_is_compared_or_made(on_a, tmp_path, capsys):
    assert run(folder_run(tmp_path / "nowhere", tmp_path / "runs")) == on_a
    assert "(finished already; data not there, not compared)" in capsys.readouterr().out
    assert not (tmp_path / "nowhere").exists()
    old = tmp_path / "runs" / on_a["run_id"] / "record.json"
    rewrite(old, lambda record: record.pop("data_sha256") and None)
    rewrite(old.with_name("run.json"), lambda content: content.pop("data_sha256") and None)
    run(folder_run(tmp_path / "nowhere", tmp_path / "runs"))
    assert "(finished already)" in capsys.readouterr().out  # an older record: nothing to compare


def test_a_run_that_began_on_other_data_does_not_resume(two_folders, on_a, tmp_path):
    a, b = two_folders
    directory = tmp_path / "runs" / on_a["run_id"]
    assert read_checksummed(directory / "run.json")["data_sha256"] == on_a["data_sha256"]
    (directory / "record.json").unlink()
    with pytest.raises(UserError, match=f"{on_a['data_sha256']}.*rerun=true"):
        run(folder_run(b, tmp_path / "runs"))
    rewrite(directory / "run.json", lambda content: content.pop("data_sha256") and None)
    assert run(folder_run(a, tmp_path / "runs"))["error"] == on_a["error"]  # begun by an older version


def test_other_images_of_the_same_data_are_other_data(two_folders, on_a, tmp_path):
    directory = tmp_path / "runs" / on_a["run_id"]
    rewrite(directory / "run.json", lambda content: content.update(indices_sha256="0" * 64))
    for left in (True, False):  # finished, and interrupted
        with pytest.raises(UserError, match=f"other images of the data set: .*{'0' * 64}"):
            run(folder_run(two_folders[0], tmp_path / "runs"))
        if left:
            (directory / "record.json").unlink()


def test_rerun_sets_the_old_run_aside(two_folders, on_a, tmp_path, capsys):
    _, b = two_folders
    runs = tmp_path / "runs"
    again = run(folder_run(b, runs, "rerun=true"))
    assert (again["run_id"], again["data_sha256"] != on_a["data_sha256"]) == (on_a["run_id"], True)
    assert f"{on_a['run_id']}.old-1" in capsys.readouterr().err
    run(folder_run(b, runs, "rerun=true"))
    old = [runs / f"{on_a['run_id']}.old-{n}" for n in (1, 2)]
    assert json.loads((old[0] / "record.json").read_text())["data_sha256"] == on_a["data_sha256"]
    assert read_records([runs])["path"].tolist() == [runs / on_a["run_id"]]
    (old[0] / "record.json").unlink()
    assert unfinished_runs([runs]) == []
    assert collect_records(runs, tmp_path / "out") == [tmp_path / "out" / on_a["run_id"]]
    section = folder_run(b, runs).settings.dataset
    assert find_classifier(None, runs, None, section) == runs / on_a["run_id"]
    assert {summary.state for summary in summaries(runs)} == {"finished", "unfinished"}


def test_evaluation_and_generators_compare_their_data(two_folders, on_a, tmp_path):
    a, b = two_folders
    directory = tmp_path / "runs" / on_a["run_id"]
    assert evaluate_run(directory, root=str(a))["error"] == on_a["error"]["final"]
    with pytest.raises(UserError, match=f"other data.*{on_a['data_sha256']}"):
        evaluate_run(directory, root=str(b))
    generator = write_generator(tmp_path, compose_run(["dataset=digits"], GeneratorConfig), "f" * 64)
    with pytest.raises(UserError, match=f"other data.*{'f' * 64}"):
        call("measure", f"run={generator}")
    rewrite_generator(generator, lambda held: held["run"].pop("config"))
    with pytest.raises(UserError, match="dataset: should be a section"):
        call("measure", f"run={generator}")


COMPONENT = '''
"""A loss."""

from own_code.parts import double


class Loss:
    """A docstring."""

    def compute(self):
        return double(1)  # a comment
'''


def test_the_code_of_a_component_is_its_own_and_that_of_its_package(tmp_path, monkeypatch):
    package = tmp_path / "own_code"  # no other test imports a package of this name
    package.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    parts = "import os\n\ndef double(x):\n    return 2 * x\n"
    files = {"__init__.py": "", "loss.py": COMPONENT, "parts.py": parts, "other.py": "X = 1\n"}

    def code(**changes):
        for name, text in (files | changes).items():
            (package / name).write_text(text)
        return code_of("own_code.loss")

    before = code()
    assert before == code(
        **{"loss.py": COMPONENT.replace("A docstring.", "Another.").replace("# a comment", "")}
    )
    assert before == code(**{"other.py": "X = 22\n", "parts.py": parts.replace("import os", "import sys")})
    assert before != code(**{"loss.py": COMPONENT.replace("double(1)", "2 * double(1)")})
    assert before != code(**{"parts.py": parts.replace("2 * x", "3 * x + 0")})
    assert code_of("no.such.module") is None


def test_a_checksum_that_an_older_run_lacks_is_not_compared():
    assert changed_sections({"loss": "a"}, {"loss": "b", "model": "c"}) == ["loss"]
    assert changed_sections({}, {"loss": "b"}) == []


def test_an_edited_component_is_reported(tmp_path, capsys):
    config = compose_run([*TINY, *ONE_EPOCH, f"runs_dir={tmp_path}"])
    run(config)
    run(config)
    assert "has changed" not in capsys.readouterr().err
    edited = {"component_code": {"loss": "0" * 64}}
    rewrite(config.directory / "run.json", lambda content: content | edited)
    run(config)
    captured = capsys.readouterr()
    assert "the code of loss, isda_bench.losses.cross_entropy.CrossEntropy, has changed" in captured.err
    assert "rerun=true" in captured.err and "finished already" in captured.out


def test_the_same_framework_has_the_same_code():
    assert code_of("isda_bench.losses.isda") not in (None, code_of("isda_bench.losses.cross_entropy"))


def test_a_cell_is_of_one_data_set(tmp_path):
    for seed, data in ((0, "a" * 64), (1, "b" * 64)):
        directory = write_run(tmp_path, compose_run(["experiment=demo", "loss=isda", f"seed={seed}"]), 3.0)
        rewrite(directory / "record.json", lambda record, d=data: record | {"data_sha256": d})
    with pytest.raises(UserError, match=f"cell .*{'a' * 64}.*{'b' * 64}"):
        experiment_table("demo", read_records([tmp_path]))


def test_a_table_is_of_one_data_set(tmp_path):
    for loss, data in (("isda", "a" * 64), ("cross_entropy", "b" * 64)):
        directory = write_run(tmp_path, compose_run(["experiment=demo", f"loss={loss}", "seed=0"]), 3.0)
        rewrite(directory / "record.json", lambda record, d=data: record | {"data_sha256": d})
    with pytest.raises(UserError, match="experiment=demo, digits"):
        experiment_table("demo", read_records([tmp_path]))


def _is_wgan(at):
    return (at.method, at.dataset, at.model) == ("wgan", "cifar10", "resnet110")


@pytest.mark.parametrize("data", ["a" * 64, "b" * 64])
def test_a_generator_of_other_data_has_a_footnote(tmp_path, data):
    kept = write_generator(tmp_path, compose_run(["dataset=digits", "generator=cgan"], GeneratorConfig), data)
    checksum = json.loads((kept / "record.json").read_text())["generator_sha256"]
    (wgan,) = (cell.config for cell in planned("comparison_wgan") if _is_wgan(cell.at))
    for seed, name in enumerate((kept.name, "gone")):
        used = {"data_sha256": "a" * 64, "generator": {"run": name, "sha256": checksum}}
        path = write_run(tmp_path, changed(wgan, seed=seed), 3.0) / "record.json"
        rewrite(path, lambda record, u=used: record | u)
    table = experiment_table("comparison", read_records([tmp_path]))
    (line,) = [line for line in table.lines if line.errors]
    told = "1 of 2 runs used generators that were trained on other data"
    assert (told in line.remark) == (data != "a" * 64)


def test_runs_under_mixed_conditions_have_a_footnote(tmp_path):
    mixed = [
        {"device": {"type": "cuda", "name": "x"}, "versions": {"torch": "2.11"}, "processes": 2},
        {"device": {"type": "cpu", "name": "y"}, "versions": {"torch": "2.13"}, "git": {"dirty": True}},
    ]
    for seed, more in enumerate(mixed):
        directory = write_run(tmp_path, compose_run(["experiment=demo", "loss=isda", f"seed={seed}"]), 3.0)
        rewrite(directory / "record.json", lambda record, m=more: record | m)
    (line,) = [line for line in experiment_table("demo", read_records([tmp_path])).lines if line.errors]
    for part in (
        "mixed device types: cpu, cuda",
        "mixed numbers of processes: 1, 2",
        "mixed torch versions: 2.11, 2.13",
        "1 of 2 runs trained with uncommitted changes",
    ):
        assert part in line.remark


def test_the_same_run_twice(tmp_path, capsys):
    config = compose_run(["experiment=demo", "loss=isda", "seed=0"])
    own, other = write_run(tmp_path / "runs", config, 3.0), write_run(tmp_path / "records", config, 3.0)
    rewrite(own / "record.json", lambda record: record["config"].update(runs_dir="/home/a"))
    places = [tmp_path / "runs", tmp_path / "records"]
    assert len(read_records(places)) == 1 and not capsys.readouterr().err
    rewrite(other / "record.json", lambda record: record.update(seconds=3.25))
    assert read_records(places)["last_10"].tolist() == [3.0]
    note = capsys.readouterr().err
    assert str(own) in note and str(other) in note and "seconds 1.0 and 3.25" in note
    shutil.copytree(own, tmp_path / "runs" / "a copy")
    assert len(read_records(places[:1])) == 1
    rewrite(tmp_path / "runs" / "a copy" / "record.json", lambda record: record.update(seconds=4.0))
    with pytest.raises(UserError, match=r"a copy.*are both the run"):
        read_records(places[:1])


def test_tables_are_of_the_users_runs_and_of_shipped_ones_on_request(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    command = ["experiment=demo", f"runs_dir={tmp_path / 'runs'}", f"out={tmp_path / 'out'}"]
    call("tables", *command)
    assert "0 of 6 runs are finished" in capsys.readouterr().out
    call("tables", *command, "records=results/records")
    assert "6 of 6 runs are finished" in capsys.readouterr().out
    for name in ("report", "figures"):
        with pytest.raises(UserError, match="no finished runs"):
            call(name, *command)


def test_deviating_runs_stand_below_or_nowhere(tmp_path, capsys):
    config = compose_run(["experiment=demo", "loss=isda", "seed=0", "schedule.epochs=7"])
    write_run(tmp_path / "runs", config, 3.0)
    command = ["experiment=demo", f"runs_dir={tmp_path / 'runs'}", f"out={tmp_path / 'out'}"]
    call("tables", *command)
    out = capsys.readouterr().out
    assert "1 more run deviates from this experiment; deviations=true" in out and "7 epochs" not in out
    call("tables", *command, "deviations=true")
    assert "7 epochs" in capsys.readouterr().out
