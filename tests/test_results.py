"""Records to tables and curves, on synthetic records."""

import json
import shutil
from functools import cache

import pytest

from helpers.made_runs import changed, write_run
from helpers.planted import rewrite, write_generator
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.errors import UserError
from isda_bench.reporting.cells import cell_statistics
from isda_bench.reporting.render_tables import markdown_table
from isda_bench.storage.listing import summaries
from isda_bench.storage.records import collect_records, read_records

EPOCHS = 4


@cache
def config_of(loss):
    return compose_run([*TINY, f"loss={loss}", "schedule.milestones=[]"])


def write_record(root, loss, seed, last_10, epochs=EPOCHS, finished=True, **more):
    """The directory of a run with these errors."""
    config = changed(config_of(loss), seed=seed, schedule__epochs=epochs, **more)
    return write_run(root, config, last_10 if finished else None)


@pytest.fixture
def records(tmp_path):
    for seed, error in enumerate((3.0, 4.0, 5.0)):
        write_record(tmp_path, "cross_entropy", seed, error)
    write_record(tmp_path, "isda", 0, 2.5)
    write_record(tmp_path, "isda", 1, 99.0, finished=False)
    write_record(tmp_path, "isda", 0, 7.125, epochs=2)
    return read_records([tmp_path])


def test_table_to_the_character(records):
    assert markdown_table(records) == (
        "| data set | network | loss          | epochs | error on | error in % (mean ± std) | runs |\n"
        "|----------|---------|---------------|--------|----------|-------------------------|------|\n"
        "| digits   | resnet8 | cross_entropy | 4      | test     | 4.00 ± 1.00             | 3    |\n"
        "| digits   | resnet8 | isda          | 4      | test     | 2.50                    | 1    |\n"
        "| digits   | resnet8 | isda          | 2      | test     | 7.12                    | 1    |\n"
        "\n"
        "Error: mean of the last 10 epochs; standard deviation over seeds (n - 1).\n"
    )


def test_cells_that_differ_in_a_setting_say_so(tmp_path):
    for strength in (0.25, 0.5):
        write_record(tmp_path, "isda", 0, 3.0, loss__strength=strength)
    write_record(tmp_path, "focal", 0, 3.0)
    table = markdown_table(read_records([tmp_path]))
    assert "| isda (loss.strength=0.25) |" in table and "| isda (loss.strength=0.5)  |" in table
    assert "| focal                     |" in table


@pytest.mark.parametrize(("protocol", "mean"), [("final", 5.0), ("best", 3.0)])
def test_other_protocols(records, protocol, mean):
    first = cell_statistics(records, protocol).iloc[0]
    assert (first["n"], first["mean"], first["std"]) == (3, mean, 1.0)
    assert f"{mean:.2f} ± 1.00" in markdown_table(records, protocol)


def test_a_run_in_two_places_counts_once(tmp_path):
    for place in ("runs", "results"):
        write_record(tmp_path / place, "isda", 0, 3.0)
    assert len(read_records([tmp_path / "runs", tmp_path / "results"])) == 1


def test_damaged_record_is_named(tmp_path):
    directory = write_record(tmp_path, "isda", 0, 3.0)
    (directory / "record.json").write_text('{"run_id": ')
    with pytest.raises(UserError, match=r"record\.json"):
        read_records([tmp_path])


def test_collected_records_carry_no_path_of_the_machine(tmp_path):
    directory = write_record(tmp_path / "runs", "isda", 0, 3.0, runs_dir=str(tmp_path))
    write_record(tmp_path / "runs", "isda", 1, 3.0, finished=False)
    (target,) = collect_records(tmp_path / "runs", tmp_path / "out")
    assert str(tmp_path) not in (target / "record.json").read_text()
    assert read_records([tmp_path / "out"])["run_id"].tolist() == [directory.name]
    assert (target / "metrics.jsonl").read_text() == (directory / "metrics.jsonl").read_text()


def test_generators_records_are_collected_too(tmp_path):
    config = compose_run(["dataset=digits", "generator=cgan"], GeneratorConfig)
    config = changed(config, classifier=str(tmp_path / "runs" / "a classifier"))
    directory = tmp_path / "runs" / "generators" / config.run_id
    directory.mkdir(parents=True)
    epochs = config.config["schedule"]["epochs"]
    record = config.as_dict() | {"quality": None, "epochs": epochs, "seconds": 1.0}
    (directory / "record.json").write_text(json.dumps(record))
    (directory / "metrics.jsonl").write_text('{"epoch": 1}\n')
    (target,) = collect_records(tmp_path / "runs", tmp_path / "out")
    assert target == tmp_path / "out" / "generators" / directory.name
    assert json.loads((target / "record.json").read_text())["config"]["classifier"] == "a classifier"
    assert read_records([tmp_path / "out"]).empty


def test_one_run_with_two_contents_is_not_collected(tmp_path):
    directory = write_record(tmp_path / "runs", "isda", 0, 3.0)
    copy = directory.with_name("a copy of it")
    shutil.copytree(directory, copy)
    assert len(collect_records(tmp_path / "runs", tmp_path / "out")) == 1
    rewrite(copy / "record.json", lambda record: record.update(seconds=99.0))
    with pytest.raises(UserError, match=f"{copy} and {directory} are both the run .*seconds 99.0 and 1.0"):
        collect_records(tmp_path / "runs", tmp_path / "other")


def test_a_collected_record_that_another_training_replaces_is_named(tmp_path, capsys):
    directory = write_record(tmp_path / "runs", "isda", 0, 3.0)
    (target,) = collect_records(tmp_path / "runs", tmp_path / "out")
    collect_records(tmp_path / "runs", tmp_path / "out")
    assert capsys.readouterr().err == ""
    rewrite(directory / "record.json", lambda record: record.update(seconds=99.0))
    collect_records(tmp_path / "runs", tmp_path / "out")
    note = f"note: {target / 'record.json'}: replaced by {directory / 'record.json'}: seconds 1.0 and 99.0"
    assert capsys.readouterr().err == f"{note}\n"


@pytest.mark.parametrize("run_id", ["../../outside", "/tmp/outside", "a/b", "..", "", "a\nb", "x" * 300, 7])
def test_an_id_cannot_lead_outside(tmp_path, run_id):
    directory = write_record(tmp_path / "runs", "isda", 0, 3.0)
    rewrite(directory / "record.json", lambda record: record | {"run_id": run_id})
    with pytest.raises(UserError, match=r"record\.json: damaged: run_id"):
        collect_records(tmp_path / "runs", tmp_path / "deep" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


@pytest.mark.parametrize("group", ["dataset", "model", "loss"])
def test_a_name_cannot_lead_outside(tmp_path, group):
    """Its id then follows from the name, and is refused all the same."""
    directory = write_record(tmp_path / "runs", "isda", 0, 3.0)
    rewrite(directory / "record.json", lambda r: r["names"].update({group: "../../out"}), consistent=True)
    with pytest.raises(UserError, match="should be a plain name"):
        collect_records(tmp_path / "runs", tmp_path / "out")


@pytest.mark.parametrize("linked", ["run", "generators"])
def test_nothing_is_written_through_a_link(tmp_path, linked):
    directory = write_record(tmp_path / "runs", "isda", 0, 3.0)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    if linked == "generators":
        config = compose_run(["dataset=digits"], GeneratorConfig)
        write_generator(tmp_path / "runs", config, "0" * 64)
    link = tmp_path / "out" / (directory.name if linked == "run" else "generators")
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="symbolic link"):
        collect_records(tmp_path / "runs", tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"cell": "another"}, "cell: does not follow"),
        ({"identity": {}}, "identity: does not follow"),
        ({"error": {"last_10": 101.0, "final": 1, "best": 1}}, r"error\.last_10=101\.0"),
        ({"error": {"last_10": "3", "final": 1, "best": 1}}, r"error\.last_10"),
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": 2}, r"epochs=2: does not follow from the configuration: should be 4"),
        ({"split": "validation"}, "split=validation: does not follow"),
        ({"train_images": 10**5}, "train_images=100000: does not follow"),
        ({"train_images": 100}, "train_images=100: does not follow"),
        ({"error": {"last_10": 3.0, "final": 3.0, "best": 4.0}}, r"error\.best=4\.0: is above"),
        ({"top5_error": {"last_10": 3.5, "final": 1.0, "best": 1.0}}, r"top5_error\.last_10=3\.5: is above"),
        ({"generator": {"run": "x", "sha256": "0"}}, r"generator\.run=x: the configuration has no generator"),
        ({"execution": "eager, then compiled"}, "execution=eager, then compiled: the configuration has"),
        ({"metrics": {"loss": "low"}}, r"metrics\.loss"),
        ({"metrics": [1.0]}, "metrics"),
        ({"epochs": True}, "epochs"),
        ({"seconds": -1.0}, "seconds"),
        ({"split": "train"}, "split"),
        ({"device": {"type": 3, "name": "x"}}, r"device\.type"),
        ({"names": {"dataset": "digits"}}, r"names\.model: not given"),
    ],
)
def test_a_record_is_checked_against_itself(tmp_path, change, named):
    directory = write_record(tmp_path, "isda", 0, 3.0)
    rewrite(directory / "record.json", lambda record: record | change)
    with pytest.raises(UserError, match=named):
        read_records([tmp_path])


def with_metrics(record):
    """Adds the means of further metrics, as trainings write them."""
    return record | {"metrics": {"error": record["error"]["last_10"]}}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"error": {"last_10": 2.5, "final": 4.0, "best": 2.0}}, r"error\.last_10=2\.5: 3\.0 follows"),
        ({"error": {"last_10": 3.0, "final": 2.5, "best": 2.0}}, r"error\.final=2\.5: 4\.0 follows"),
        ({"error": {"last_10": 3.0, "final": 4.0, "best": 0.0}}, r"error\.best=0\.0: 2\.0 follows"),
        ({"metrics": {"error": 2.5}}, r"metrics\.error=2\.5: 3\.0 follows"),
        ({"top5_error": {"last_10": 1.0, "final": 1.0, "best": 1.0}}, "top5_error: no test_top5_error there"),
    ],
)
def test_a_record_that_contradicts_its_metrics_is_refused(tmp_path, change, named):
    directory = write_record(tmp_path, "isda", 0, 3.0)
    rewrite(directory / "record.json", with_metrics)
    assert len(read_records([tmp_path])) == 1
    rewrite(directory / "record.json", lambda record: record | change)
    files = rf"{directory / 'record.json'}: contradicts {directory / 'metrics.jsonl'}: "
    with pytest.raises(UserError, match=files + named):
        read_records([tmp_path])
    left_out: list[str] = []
    assert read_records([tmp_path], left_out).empty and len(left_out) == 1
    (listed,) = summaries(tmp_path)
    assert listed.state == "damaged"
    (directory / "metrics.jsonl").unlink()
    assert len(read_records([tmp_path])) == 1, "nothing to compare with"


@pytest.mark.parametrize("kept", [slice(None, -1), slice(1, None), slice(None, None, 3)])
def test_a_record_has_metrics_of_each_epoch(tmp_path, kept):
    directory = write_record(tmp_path, "isda", 0, 3.0)
    lines = (directory / "metrics.jsonl").read_text().splitlines(keepends=True)
    (directory / "metrics.jsonl").write_text("".join(lines[kept]))
    rewrite(directory / "record.json", dict)
    with pytest.raises(UserError, match=r"contradicts .*metrics\.jsonl: epochs=4: [23] there, the last is "):
        read_records([tmp_path])


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, 2**63, True])
def test_a_seed_is_a_seed(tmp_path, seed):
    directory = write_record(tmp_path, "isda", 0, 3.0)
    rewrite(directory / "record.json", lambda r: r["config"].update(seed=seed), consistent=True)
    with pytest.raises(UserError, match=r"config\.seed"):
        read_records([tmp_path])
