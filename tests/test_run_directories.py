"""Listing and pruning real run directories."""

import platform
import shutil
import sys

import pytest

from helpers.tiny import REPOSITORY, TINY
from isda_bench.cli.runs import command
from isda_bench.config.compose import compose_run
from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.gan import load_generator
from isda_bench.gan.run import run as train_generator
from isda_bench.storage.listing import listing, size, summaries
from isda_bench.storage.run_directory import RunDirectory
from isda_bench.storage.run_lock import RunLock
from isda_bench.training.run import run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run of two epochs, an unfinished one, and a damaged one."""
    folder = tmp_path_factory.mktemp("made")
    run(compose_run([*TINY, "schedule.epochs=2", "schedule.milestones=[]", f"runs_dir={folder}"]))
    with RunDirectory(compose_run([*TINY, "seed=1", "loss=isda", f"runs_dir={folder}"])).locked():
        pass
    (folder / "damaged").mkdir()
    (folder / "damaged" / "run.json").write_text("{")
    (folder / "notes").mkdir()
    return folder


@pytest.fixture
def runs_dir(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs")


@pytest.fixture
def call(runs_dir, monkeypatch, capsys):
    def typed(*arguments):
        monkeypatch.setattr(sys, "argv", ["isda-bench", f"runs_dir={runs_dir}", *arguments])
        command()
        return capsys.readouterr().out

    return typed


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_the_list_of_run_directories(runs_dir):
    damaged, finished, unfinished = summaries(runs_dir)
    assert (damaged.state, damaged.size) == ("damaged", 1)
    assert (finished.state, finished.epoch, finished.epochs, finished.seed) == ("finished", 2, 2, 0)
    files = [path for path in finished.path.rglob("*") if path.is_file()]
    assert finished.size == sum(path.stat().st_size for path in files) > 1_000_000
    assert finished.error is not None and finished.names["loss"] == "cross_entropy"
    assert (unfinished.state, unfinished.epoch, unfinished.epochs) == ("unfinished", 0, 160)


@pytest.fixture(scope="module")
def generators(tmp_path_factory):
    """A finished generator, an unfinished and a damaged one."""
    folder = tmp_path_factory.mktemp("with_generators")
    small = ["dataset=digits", "generator=cgan", "generator.width=4", f"runs_dir={folder}"]
    small += ["schedule.epochs=1", "schedule.steps=1", "schedule.batch_size=8"]
    train_generator(compose_run(small, GeneratorConfig))
    with RunDirectory(compose_run([*small, "seed=1"], GeneratorConfig)).locked():
        pass
    broken = folder / "generators" / "x"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    return folder


@pytest.mark.parametrize("below", [".", "generators"])
def test_generators_are_listed_and_whole_ones_are_not_damaged(generators, below):
    found = {run.seed: run for run in summaries(generators / below)}
    assert {seed: run.state for seed, run in found.items()} == {
        0: "finished",
        1: "unfinished",
        None: "damaged",
    }
    assert (found[0].epoch, found[0].epochs, found[0].error) == (1, 1, None)
    assert (found[1].epoch, found[1].epochs) == (0, 1)
    assert found[0].names["generator"] == "cgan"
    assert listing(list(found.values())).count("finished") == 2


def test_pruning_leaves_whole_generators(call, runs_dir, generators):
    shutil.copytree(generators / "generators", runs_dir / "generators")
    call("state=damaged", "prune=runs", "dry_run=false")
    call("prune=checkpoints", "dry_run=false")
    left = {run.seed: run for run in summaries(runs_dir / "generators")}
    assert {seed: run.state for seed, run in left.items()} == {0: "finished", 1: "unfinished"}
    assert load_generator(left[0].path) and not list(left[0].path.glob("checkpoint-*"))


def test_a_running_run_is_seen_from_this_machine_and_another(runs_dir, monkeypatch):
    path = next(runs_dir.glob("*-s1-*"))
    with RunLock(path):
        assert [run.state for run in summaries(runs_dir)] == ["damaged", "finished", "running"]
        with monkeypatch.context() as there:
            there.setattr(platform, "node", lambda: "far away")
            assert RunLock(path).seems_held()
            assert not RunLock(path, silence=-1).seems_held()
    assert not RunLock(path).seems_held()


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    """A run has one line."""
    monkeypatch.setenv("COLUMNS", "200")


def test_listing_and_filters(call):
    assert call().splitlines()[-1].startswith("3 runs, 1.")
    for filters, count in [
        (["state=finished"], 1),
        (["loss=isda"], 1),
        (["loss=isda", "seed=0"], 0),
        (["seed=1", "model=resnet8", "dataset=digits"], 1),
        (["older_than=1"], 0),
        (["older_than=0"], 3),
        (["experiment=demo"], 0),
    ]:
        lines = call(*filters).splitlines()
        assert len(lines) == (count + 2 if count else 1), filters


@pytest.mark.parametrize("columns", ["80", "40", "200", None])
def test_the_list_fits_a_terminal_and_is_a_line_a_run_where_there_is_none(call, monkeypatch, columns):
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    lines = call("state=finished").splitlines()
    assert lines[-1].startswith("1 run, 1.")
    assert max(map(len, lines)) <= max(int(columns or 200), 62)
    wide = columns in ("200", None)
    assert len(lines) == (3 if wide else 5)
    run = next(i for i, line in enumerate(lines) if line.startswith("digits-resnet8-cross_entropy-s0-"))
    assert "finished" in lines[run if wide else run + 1] and "2/2" in lines[run if wide else run + 1]


def test_nothing_is_pruned_before_dry_run_is_false(call, runs_dir):
    before = {path: names(path) for path in runs_dir.iterdir()}
    assert "would remove runs" in call("state=unfinished", "prune=runs")
    assert "would remove checkpoints" in call("prune=checkpoints")
    assert {path: names(path) for path in runs_dir.iterdir()} == before


def test_pruning_checkpoints_keeps_record_and_metrics(call, runs_dir):
    assert " freed" in call("prune=checkpoints", "dry_run=false")
    assert names(next(runs_dir.glob("*-s0-*"))) == ["claims", "metrics.jsonl", "record.json", "run.json"]
    assert call("prune=checkpoints") == "0 B would be freed; dry_run=false removes them\n"


def test_pruning_runs(call, runs_dir):
    call("state=unfinished", "prune=runs", "dry_run=false")
    call("state=damaged", "prune=runs", "dry_run=false")
    assert [run.state for run in summaries(runs_dir)] == ["finished"]
    assert (runs_dir / "notes").exists()


def test_a_running_run_is_never_pruned(call, runs_dir):
    with RunLock(next(runs_dir.glob("*-s1-*"))):
        call("older_than=0", "prune=runs", "dry_run=false")
    assert [run.state for run in summaries(runs_dir)] == ["unfinished"]


def test_pruning_everything_must_be_said(call, capsys):
    with pytest.raises(SystemExit) as raised:
        call("prune=runs", "dry_run=false")
    assert raised.value.code == 2
    assert "prune=runs: say which" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "shown"), [(999, "999 B"), (1700, "1.7 kB"), (3.4e6, "3.4 MB"), (5.25e12, "5250.0 GB")]
)
def test_sizes(count, shown):
    assert size(count) == shown


def outside(tmp_path):
    """A folder that must stay whole, and its content."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "checkpoint-00001-0123456789abcdef.pt").write_text("precious")
    (folder / "record.json").write_text("precious")
    return folder


def test_pruning_never_follows_a_link(call, runs_dir, tmp_path, capsys):
    precious = outside(tmp_path)
    before = {path.name: path.read_text() for path in precious.iterdir()}
    (runs_dir / "a-link").symlink_to(precious)
    finished = next(runs_dir.glob("*-s0-*"))
    (finished / "linked").symlink_to(precious)
    (finished / "checkpoint-00009-0123456789abcdef.pt").symlink_to(precious / "record.json")
    assert {run.path.name: run.state for run in summaries(runs_dir)}["a-link"] == "foreign"
    call("prune=checkpoints", "dry_run=false")
    call("older_than=0", "prune=runs", "dry_run=false")
    assert {path.name: path.read_text() for path in precious.iterdir()} == before
    assert (runs_dir / "a-link").is_symlink() and not finished.exists()


def test_a_foreign_folder_is_listed_and_never_removed(call, runs_dir, capsys):
    for name, content in (("mlflow", '{"run": {"id": 3}}'), ("list", "[1, 2]"), ("binary", "\x7fELF")):
        (runs_dir / name).mkdir()
        (runs_dir / name / "run.json").write_text(content)
    (runs_dir / "insurance" / "claims").mkdir(parents=True)
    states = {run.path.name: run.state for run in summaries(runs_dir)}
    assert [states[name] for name in ("mlflow", "list", "binary", "insurance")] == ["foreign"] * 4
    call("older_than=0", "prune=runs", "dry_run=false")
    assert names(runs_dir) == ["binary", "insurance", "list", "mlflow", "notes"]


def test_a_newer_format_is_a_state_of_its_own(call, runs_dir):
    path = next(runs_dir.glob("*-s1-*/run.json"))
    path.write_text(path.read_text().replace('"format": 2', '"format": 3'))
    assert [run.state for run in summaries(runs_dir)] == ["damaged", "finished", "newer format"]
    call("older_than=0", "prune=runs", "dry_run=false")
    assert path.exists()


def test_a_record_without_run_json_is_a_finished_run(runs_dir):
    next(runs_dir.glob("*-s0-*/run.json")).unlink()
    assert [run.state for run in summaries(runs_dir)] == ["damaged", "finished", "unfinished"]
    assert {run.state for run in summaries(REPOSITORY / "results" / "records")} == {"finished"}


def test_one_failure_does_not_end_the_rest(call, runs_dir, monkeypatch, capsys):
    remove = shutil.rmtree

    def failing(path, *arguments, **options):
        if "damaged" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        remove(path, *arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", failing)
    with pytest.raises(SystemExit):
        call("older_than=0", "prune=runs", "dry_run=false")
    assert names(runs_dir) == ["damaged", "notes"]
    assert "damaged: cannot be removed: Permission denied" in capsys.readouterr().err
