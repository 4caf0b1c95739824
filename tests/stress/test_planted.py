"""Stored files are data: nothing planted in one is executed, and wrong content ends in one message."""

import json
import os
import pickle
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from helpers.commands import call
from helpers.planted import (
    hostile_module,
    hostile_nodes,
    leaves,
    put,
    rewrite,
    rewrite_generator,
    write_generator,
)
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.data.digits import Digits
from isda_bench.errors import UserError
from isda_bench.gan.generator_file import FILE, load_generator, read_metadata
from isda_bench.gan.quality import find_classifier
from isda_bench.inversion.run import invert
from isda_bench.inversion.setup import InversionOptions, prepare
from isda_bench.loading import load_loss, load_run
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.cost import Rates, read_benchmarks
from isda_bench.reporting.html_report import report
from isda_bench.reporting.plan import plan
from isda_bench.reporting.render_tables import markdown, markdown_table
from isda_bench.storage.listing import listing, summaries
from isda_bench.storage.records import collect_records, read_metrics, read_records, unfinished_runs
from isda_bench.storage.run_directory import RunDirectory
from isda_bench.training.evaluate import evaluate_run
from isda_bench.training.run import run

__all__ = ["hostile_module"]
RUN = [*TINY, "schedule.epochs=1", "schedule.milestones=[]", "loss=isda"]
SECTIONS = ("model", "loss", "dataset", "augment", "generator", "logger")


class Project:
    """A finished run, a generator, and everything that reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.config = compose_run([*RUN, f"runs_dir={self.runs}"])
        self.run = self.runs / self.config.run_id
        (self.generator,) = (self.runs / "generators").iterdir()

    def readers(self, heavy: bool = True):
        """Name -> a function that reads stored files."""
        dataset = Digits()
        section = self.config.settings.dataset
        options = InversionOptions(run=str(self.run), generator=str(self.generator))
        found = {
            "load_run": lambda: load_run(self.run),
            "load_loss": lambda: load_loss(self.run),
            "records": lambda: self._tables(read_records([self.runs])),
            "runs": lambda: listing(list(summaries(self.runs))),
            "unfinished": lambda: unfinished_runs([self.runs]),
            "metrics": lambda: read_metrics(self.run),
            "collect": lambda: collect_records(self.runs, self.folder / "out"),
            "finished": lambda: RunDirectory(self.config).finished(),
            "run_json": lambda: RunDirectory(self.config).run_json(),
            "find_classifier": lambda: find_classifier(None, self.runs, dataset, section),
            "generator": lambda: load_generator(self.generator),
            "metadata": lambda: read_metadata(self.generator / FILE),
            "plan": lambda: plan([self.config]),
            "card": lambda: call("card", f"run={self.run}", f"out={self.folder / 'out' / 'card.md'}"),
            "predict": lambda: self._predict(),
        }
        demo = ["experiment=demo", "deviations=true", f"runs_dir={self.runs}"]
        if heavy:
            found |= {
                "evaluate": lambda: evaluate_run(self.run),
                "train": lambda: run(self.config),
                "invert": lambda: prepare(options),
                "train with generated images": lambda: run(self._with_generator()),
                "measure": lambda: call("measure", f"run={self.generator}"),
                "tables": lambda: call("tables", *demo, f"out={self.folder / 'out'}"),
                "report": lambda: call("report", *demo, f"out={self.folder / 'report.html'}"),
                "figures": lambda: call("figures", f"run={self.run}", f"out={self.folder / 'out'}"),
                "reproduce": lambda: self._reproduce(),
                "collect command": lambda: call("collect", *demo[2:], f"out={self.folder / 'out'}"),
                "runs command": lambda: call("runs", *demo[2:]),
                "inversion": lambda: self._invert(),
            }
        return found

    def _tables(self, records) -> None:
        table = experiment_table("demo", records)
        markdown(table)
        markdown_table(records)
        report("", [table], [], [], records)

    def _predict(self) -> None:
        images = self.folder / "images"
        images.mkdir(exist_ok=True)
        Image.new("L", (8, 8)).save(images / "a.png")
        call("predict", f"run={self.run}", f"images={images}", f"out={self.folder / 'out' / 'p.csv'}")

    def _reproduce(self) -> None:
        try:
            call("reproduce", f"run={self.run}", f"runs_dir={self.folder / 'again'}")
        except SystemExit as ended:  # the two differ
            assert ended.code == 1

    def _invert(self) -> None:
        few = {"iterations": 2, "images": 2, "augmentations": 1, "out": str(self.folder / "inversion")}
        invert(InversionOptions(run=str(self.run), generator=str(self.generator), **few))

    def _with_generator(self):
        more = ["generator=cgan", "seed=7", f"runs_dir={self.runs}"]
        return compose_run([*RUN, *more])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    config = compose_run([*RUN, f"runs_dir={folder / 'runs'}"])
    record = run(config)
    generator = compose_run(
        ["dataset=digits", "generator=cgan", f"runs_dir={folder / 'runs'}"], GeneratorConfig
    )
    write_generator(folder / "runs", generator, record["data_sha256"])
    return folder


@pytest.fixture
def project(made, tmp_path):
    shutil.copytree(made / "runs", tmp_path / "runs")
    return Project(tmp_path)


def outcome(name: str, read, marker: Path, capsys) -> str:
    """What a reader of planted files does: one message, a line for what it skips, or nothing."""
    capsys.readouterr()
    try:
        read()
    except UserError as error:
        assert str(error)
        told = "one error"
    else:
        told = "skipped with a line" if "skipped" in capsys.readouterr().err else "read as data"
    assert not marker.exists(), f"{name}: executed"
    return told


def plant(project: Project, where: str, node) -> None:
    """Puts the node into a stored file, with right ids and a right checksum."""
    kind, _, key = where.partition(" ")

    def change(content) -> None:
        config = content["config"] if kind != "header" else content["run"]["config"]
        if key.startswith("below "):
            config[key.removeprefix("below ")]["planted"] = [{"deeper": node}]
        else:
            config[key] = node

    if kind == "header":
        rewrite_generator(project.generator, change)
    else:
        directory = project.generator if kind.startswith("generators") else project.run
        rewrite(directory / f"{kind.removeprefix('generators/')}.json", change, consistent=True)


PLACES = [
    f"record {below}{key}" for below in ("", "below ") for key in ("model", "loss", "dataset", "augment")
]
PLACES += [f"run {key}" for key in ("model", "logger", "below loss", "below schedule")]
PLACES += [f"header {key}" for key in ("dataset", "generator", "below generator")]
PLACES += [f"generators/record {key}" for key in ("dataset", "below generator")]
SHORT = [
    (node, place)
    for node in ("os.makedirs", "walk to torch", "environment")
    for place in PLACES[:1] + PLACES[5:6]
]


def attack(project, places_and_nodes, tried, capsys, heavy) -> None:
    marker = project.folder / "executed"

    class Hostile:
        def __reduce__(self):
            return Path.mkdir, (marker,)

    marker.with_suffix(".pickle").write_bytes(pickle.dumps(Hostile()))
    nodes = hostile_nodes(marker)
    keep = project.folder / "whole"
    shutil.copytree(project.runs, keep, dirs_exist_ok=True)
    outcomes = []
    for name, place in places_and_nodes:
        plant(project, place, nodes[name])
        for reader, read in project.readers(heavy).items():
            outcomes.append(outcome(f"{name} in {place}, {reader}", read, marker, capsys))
        shutil.rmtree(project.runs)
        shutil.copytree(keep, project.runs)
    tried("nodes planted in stored files", outcomes)
    assert outcomes.count("one error") > 0


def test_nothing_planted_is_executed(project, hostile_module, tried, capsys):
    attack(project, SHORT, tried, capsys, heavy=False)


@pytest.mark.slow
def test_nothing_planted_anywhere_is_executed(project, hostile_module, rng, tried, capsys):
    everything = [(name, place) for place in PLACES for name in hostile_nodes(project.folder)]
    attack(project, everything, tried, capsys, heavy=False)
    attack(project, rng.sample(everything, 25), tried, capsys, heavy=True)


WRONG = [
    ...,
    None,
    True,
    -1,
    2.5,
    1e300,
    10**30,
    "",
    "../../outside",
    "\ud800",
    "${x}",
    [],
    {},
    [[]],
    {"a": {}},
]
DEEP = json.loads("[" * 400 + "]" * 400)


def fuzz(project, files, rng, times, tried, capsys, heavy) -> None:
    marker = project.folder / "executed"
    outcomes = []
    for kind, path in files.items():
        whole = path.read_bytes()
        content = json.loads(whole) if kind != "header" else read_metadata(path)._asdict()
        changes = [(place, wrong) for place in leaves(content) for wrong in [*WRONG, DEEP]]
        if kind == "header":  # which always has its three parts
            changes = [(place, wrong) for place, wrong in changes if len(place) > 1 or wrong is not ...]
        for place, wrong in rng.sample(changes, min(times, len(changes))):
            if kind == "header":
                rewrite_generator(path.parent, lambda held, p=place, w=wrong: put(held, p, w))
            else:
                rewrite(path, lambda held, p=place, w=wrong: put(held, p, w) if p[0] in held else None)
            for reader, read in project.readers(heavy).items():
                what = f"{kind}: {'.'.join(map(str, place))} = {str(wrong)[:40]!r}, {reader}"
                try:
                    outcomes.append(outcome(what, read, marker, capsys))
                except Exception as error:
                    raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
            path.write_bytes(whole)
    tried("wrong values under a right checksum", outcomes)


def files_of(project):
    return {
        "record": project.run / "record.json",
        "run": project.run / "run.json",
        "record of a generator": project.generator / "record.json",
        "header": project.generator / FILE,
    }


@pytest.mark.slow
def test_every_wrong_value_ends_in_one_message(project, rng, tried, capsys):
    fuzz(project, files_of(project), rng, 100, tried, capsys, heavy=False)
    fuzz(project, files_of(project), rng, 10, tried, capsys, heavy=True)


CONTENTS = {
    "empty": b"",
    "bytes": b"\x00\xff\x1b[2J",
    "null": b"null",
    "a list": b"[]",
    "no finite number": b'{"a": 1e999}',
    "NaN": b'{"a": NaN}',
    "deep": b"[" * 100_000,
    "a huge integer": b"9" * 6000,
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a format of another kind": b'{"format": [2], "sha256": 3}',
    "a pickle": pickle.dumps(Path("x")),
}
SHAPES = {
    "a FIFO": lambda path: os.mkfifo(path),
    "a directory": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nowhere": lambda path: path.symlink_to("/nowhere/at/all"),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


def replace(path: Path, kind: str) -> None:
    """Puts something else where the file was."""
    path.unlink()
    if kind in CONTENTS:
        path.write_bytes(CONTENTS[kind])
    else:
        SHAPES[kind](path)


def replaced_files(project) -> dict[str, Path]:
    more = {"metrics": project.run / "metrics.jsonl", "checkpoint": next(project.run.glob("*.pt"))}
    return files_of(project) | more | {"metrics of a generator": project.generator / "metrics.jsonl"}


def attack_with_files(project, kinds, tried, capsys, heavy) -> None:
    marker, outcomes = project.folder / "executed", []
    keep = project.folder / "whole"
    shutil.copytree(project.runs, keep)
    for name in replaced_files(project):
        for kind in kinds:
            replace(replaced_files(project)[name], kind)
            for reader, read in project.readers(heavy).items():
                what = f"{kind} for {name}, {reader}"
                try:
                    outcomes.append(outcome(what, read, marker, capsys))
                except OSError as error:  # which every command reports
                    assert error.strerror, what
                except Exception as error:
                    raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
            shutil.rmtree(project.runs)
            shutil.copytree(keep, project.runs)
    tried("something else where a stored file was", outcomes)
    assert outcomes.count("one error") > 0


def test_something_else_where_a_stored_file_was_is_one_error(project, rng, tried, capsys):
    attack_with_files(project, rng.sample([*CONTENTS, *SHAPES], 1), tried, capsys, heavy=False)


@pytest.mark.slow
def test_whatever_lies_where_a_stored_file_was_is_one_error(project, rng, tried, capsys):
    attack_with_files(project, [*CONTENTS, *SHAPES], tried, capsys, heavy=False)
    shutil.rmtree(project.folder / "whole")
    attack_with_files(project, rng.sample([*CONTENTS, *SHAPES], 3), tried, capsys, heavy=True)


def test_a_run_with_a_key_that_its_data_set_lacks_is_reported_and_left_out(project, capsys):
    """No id depends on dataset.root: the record is right in itself, and its network cannot be built."""
    rewrite(project.run / "record.json", lambda held: held["config"]["dataset"].update(root="x"))
    project.readers()["tables"]()
    assert not capsys.readouterr().err
    for name, error, line in (
        ("report", "no finished runs", "left out:"),
        ("measure", "no classifier", "skipped:"),
    ):
        with pytest.raises(UserError, match=error):
            project.readers()[name]()
        assert line in capsys.readouterr().err


@pytest.mark.parametrize("kind", [*CONTENTS, *SHAPES])
def test_a_benchmark_file_that_is_none_is_one_error(tmp_path, kind):
    path = tmp_path / "a.json"
    path.write_text("{}")
    replace(path, kind)
    with pytest.raises((UserError, OSError), match=re.escape(str(path))):
        read_benchmarks(tmp_path)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        {"step": {}},
        {"step": [{"network": ["resnet32"], "images_per_second": 1.0}]},
        {"step": [{"network": "resnet32", "images_per_second": -1.0}]},
        {"steps": [{"network": "resnet32", "batch_size": 128, "step_ms": 0.0}]},
        {"steps": [{"network": "resnet32", "batch_size": 10**30, "step_ms": 1.0}]},
    ],
    ids=str,
)
def test_wrong_rates_in_a_benchmark_file_are_one_error(tmp_path, rows):
    content = {"device": {"type": "cuda", "name": "x"}, "rows": rows}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"a\.json: damaged"):
        Rates([], read_benchmarks(tmp_path))
