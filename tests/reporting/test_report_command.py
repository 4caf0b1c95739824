"""isda-bench report on folders as they are: empty, with one run, with damaged records."""

import shutil

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from helpers.commands import call
from helpers.made_runs import write_run
from helpers.planted import rewrite
from helpers.processes import run_python
from helpers.tiny import REPOSITORY, TINY
from isda_bench.cli.report import ReportOptions, make_report
from isda_bench.config.components import build_dataset
from isda_bench.config.compose import compose_run
from isda_bench.config.folders import users_folder
from isda_bench.data.loader import evaluation_loader
from isda_bench.errors import UserError
from isda_bench.experiments.planned import planned
from isda_bench.loading import load_run
from isda_bench.storage.confusion import FILE, read_confusion
from isda_bench.storage.records import collect_records
from isda_bench.training.metrics import LAST_EPOCH_METRICS
from isda_bench.training.run import run

ONE_EPOCH = ["schedule.epochs=1", "schedule.milestones=[]", "logger=none"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of ISDA with its checkpoint."""
    root = tmp_path_factory.mktemp("finished")
    config = compose_run([*TINY, *ONE_EPOCH, "loss=isda", f"runs_dir={root}"])
    run(config)
    return config.directory


@pytest.fixture
def runs(finished, tmp_path):
    return shutil.copytree(finished.parent, tmp_path / "runs")


def page_of(runs):
    """The page of one experiment: those of all take ten seconds to compose."""
    out = runs.parent / "page.html"
    call("report", "experiment=demo", "deviations=true", f"runs_dir={runs}", f"out={out}")
    return out.read_text()


def test_the_last_epoch_s_matrix_is_in_the_record(finished):
    _, model, record = load_run(finished)
    dataset = build_dataset(compose_run(TINY).settings)
    predictions, targets = [], []
    for batch, labels in evaluation_loader(dataset.load().evaluation, dataset, torch.device("cpu")):
        predictions += model(batch).argmax(1).tolist()
        targets += labels.tolist()
    wanted = confusion_matrix(targets, predictions, labels=range(10))
    assert read_confusion(finished, record) == wanted.tolist()
    wrong = wanted.sum() - np.trace(wanted)
    assert 100 * wrong / wanted.sum() == pytest.approx(record["error"]["final"])
    assert not (finished / FILE).exists() and "confusion" not in (finished / "metrics.jsonl").read_text()


def test_a_process_killed_behind_its_record_leaves_no_matrix(finished, runs, capsys):
    """The file of the matrix is removed last; the same command does what the killed one could not."""
    left = runs / finished.name / FILE
    left.write_text("{}")
    run(compose_run([*TINY, *ONE_EPOCH, "loss=isda", f"runs_dir={runs}"]))
    assert "finished already" in capsys.readouterr().out and not left.exists()


def test_a_larger_matrix_is_a_file_with_its_checksum_in_the_record(tmp_path, monkeypatch):
    monkeypatch.setattr("isda_bench.storage.confusion.FEW_CLASSES", 9)
    config = compose_run([*TINY, *ONE_EPOCH, f"runs_dir={tmp_path / 'runs'}"])
    record = run(config)
    assert "confusion" not in record and len(read_confusion(config.directory, record)) == 10
    assert "Confusion matrix" in page_of(tmp_path / "runs")
    (copy,) = collect_records(tmp_path / "runs", tmp_path / "out")
    assert read_confusion(copy, record) is None, "it is too large to be committed"
    file = config.directory / FILE
    file.write_text(file.read_text().replace("[[", "[[9", 1))
    with pytest.raises(UserError, match="is not the one that"):
        read_confusion(config.directory, record)
    assert "Confusion matrix" not in page_of(tmp_path / "runs")


def test_a_matrix_has_at_most_100_classes():
    (metric,) = LAST_EPOCH_METRICS.values()
    assert metric.suits(100) and not metric.suits(101)


def test_a_bad_record_is_reported_and_left_out(runs, capsys):
    (own,) = runs.iterdir()
    healthy = write_run(runs, compose_run([*TINY, "seed=1"]), 7.0)
    rewrite(own / "record.json", lambda record: record["config"]["dataset"].update(root="data"))
    damaged = write_run(runs, compose_run([*TINY, "loss=lq"]), 7.0)
    (damaged / "record.json").write_text("{")
    cut = write_run(runs, compose_run([*TINY, "loss=center"]), 7.0)
    (cut / "metrics.jsonl").write_text("")
    page = page_of(runs)
    reported = capsys.readouterr().err
    assert "Left out of this page (3)" in page and "1 finished run in 1 cell" in page
    for directory in (own, damaged, cut):
        assert f"left out: {directory}" in reported and str(directory) in page
    assert "dataset.root: no such key" in page and healthy.name in page


def test_a_run_with_a_network_of_a_users_module_counts_and_its_spectrum_says_what_allows_it(runs, capsys):
    with users_folder(REPOSITORY / "examples" / "own_project" / "conf"):
        (isda,) = (cell.config for cell in planned("own_table") if cell.at.method == "isda")
        (write_run(runs, isda, 7.0) / "checkpoint-00001-0123456789abcdef.pt").touch()
        out = runs.parent / "page.html"
        make_report(ReportOptions(experiment="own_table", runs_dir=str(runs), out=str(out)))
    page = out.read_text()
    assert "1 finished run in 1 cell" in page and "Spectrum of" not in page, "the other run is of no line"
    reported = capsys.readouterr().err
    assert reported.startswith("left out: the spectrum of a run: ") and "allow=mine allows it" in reported


def test_runs_of_other_data_leave_their_table_out(runs, capsys):
    configs = [
        compose_run(["experiment=demo", f"loss={loss}", "seed=0"]) for loss in ("cross_entropy", "isda")
    ]
    for config, checksum in zip(configs, "ab", strict=True):
        path = write_run(runs, config, 7.0)
        rewrite(path / "record.json", lambda record, c=checksum: record.update(data_sha256=c * 64))
    page = page_of(runs)
    assert "the table of experiment=demo: " in page and "trained on different data" in capsys.readouterr().err
    assert "3 finished runs" in page, "they are listed all the same"


def test_a_single_run_makes_a_page(runs):
    page = page_of(runs)
    assert "1 finished run in 1 cell" in page and "Errors by class" in page
    assert "nan" not in page.partition("<body>")[2].partition("<script>")[0].lower().replace("significan", "")


def test_a_folder_without_runs_makes_a_page_of_what_is_planned(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(
        UserError, match=r"no finished runs of experiment=demo in .*page.html lists what is planned"
    ):
        page_of(tmp_path / "runs")
    page = (tmp_path / "page.html").read_text()
    assert "No run has finished yet" in page and "1 experiment planned, none run" in page
    assert "(experiment=demo)" in page and "nan" not in page.partition("<main>")[2].partition("<script>")[0]


@pytest.mark.slow
def test_no_page_is_wider_than_a_phone_and_pointing_at_a_curve_shows_its_values(tmp_path):
    if not any(map(shutil.which, ("chromium", "google-chrome"))):
        pytest.skip("no chromium here")
    command = ["-m", "isda_bench", "screenshots", "only=report", f"out={tmp_path}"]
    run_python(*command, cwd=REPOSITORY).check()
    assert (tmp_path / "report_phone_dark.png").stat().st_size > 10_000
