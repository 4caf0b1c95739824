"""The committed records: they keep their ids, and the committed tables and the README's are theirs."""

import json
import re

import pandas as pd
import pytest

from helpers.tiny import REPOSITORY
from isda_bench.config.experiment_files import table_names
from isda_bench.config.generator_config import FOLDER, GeneratorConfig
from isda_bench.config.grids import grid_runs
from isda_bench.config.run_config import RunConfig
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.claims import check_claims, markdown_claims
from isda_bench.reporting.render_tables import csv_table, latex, markdown, markdown_table
from isda_bench.storage.records import read_records

RESULTS = REPOSITORY / "results"
RECORDS = sorted((RESULTS / "records").glob("*/record.json"))
GENERATORS = sorted((RESULTS / "records" / FOLDER).glob("*/record.json"))


@pytest.mark.parametrize("path", RECORDS + GENERATORS, ids=lambda path: path.parent.name)
def test_a_record_keeps_its_id(path):
    record = json.loads(path.read_text())
    kind = GeneratorConfig if path in GENERATORS else RunConfig
    config = kind(record["config"], record["names"])
    assert (config.run_id, config.cell) == (record["run_id"], record["cell"])
    assert path.parent.name == record["run_id"]


@pytest.mark.parametrize("command", ["experiment=demo", "README"])
def test_todays_configuration_names_the_committed_runs(command):
    """Were it another id, a finished run would be run again."""
    if command == "README":
        text = (REPOSITORY / "README.md").read_text().replace("\\\n", " ")
        (line,) = re.findall(r"^python train\.py (.*dataset\.train_size=1000.*)$", text, re.MULTILINE)
        command = line.replace("'", "")
    ids = {cell.run_id for cell in grid_runs(command.split())}
    assert ids and ids <= {path.parent.name for path in RECORDS}


def test_the_generator_of_each_record_is_committed_with_it():
    runs = [json.loads(path.read_text()) for path in RECORDS]
    used = {run["generator"]["run"]: run["generator"]["sha256"] for run in runs if "generator" in run}
    kept = {path.parent.name: json.loads(path.read_text())["generator_sha256"] for path in GENERATORS}
    assert used.items() <= kept.items()


@pytest.fixture(scope="module")
def records():
    return read_records([RESULTS / "records"])


@pytest.mark.parametrize("name", table_names())
def test_committed_tables_are_those_of_the_records(records, name):
    table = experiment_table(name, records)
    for ending, render in (("md", markdown), ("tex", latex), ("csv", csv_table)):
        assert (RESULTS / "tables" / f"{name}.{ending}").read_text() == render(table)


def test_committed_lists_are_those_of_the_records(records):
    assert (RESULTS / "tables" / "all.md").read_text() == markdown_table(records)
    tables = {name: experiment_table(name, records) for name in table_names()}
    assert (RESULTS / "tables" / "claims.md").read_text() == markdown_claims(check_claims(tables, records))


@pytest.mark.parametrize("name", ["demo", "journal_table_2"])
def test_the_readme_shows_the_committed_tables(name):
    table = (RESULTS / "tables" / f"{name}.md").read_text().split("\n\n")[0]
    assert table in (REPOSITORY / "README.md").read_text()


def test_the_readme_s_other_methods_are_the_comparison_s():
    names = {"cross_entropy + dropout": "dropout", "isda + dropout": "ISDA with dropout"}
    rows = pd.read_csv(RESULTS / "tables/comparison.csv").query("model == 'resnet8' and train_size == 1000")
    others = rows[~rows["method"].isin(["cross_entropy", "isda"])].sort_values("mean")
    table = [
        others["method"].replace(names).tolist(),
        ["---"] * len(others),
        [f"{mean:.2f}" for mean in others["mean"]],
    ]
    assert len(others) == 11
    lines = (REPOSITORY / "README.md").read_text().splitlines()
    start = lines.index(f"| {' | '.join(table[0])} |")
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start : start + 3]]
    assert shown == table
