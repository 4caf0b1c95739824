"""The committed records: they keep their ids, and the committed tables and the README's are theirs."""

import json
import re

import pytest

from isda_bench.compose import cells
from isda_bench.config import RunConfig
from isda_bench.results import read_records
from isda_bench.tables import markdown_table
from tiny import REPOSITORY

RESULTS = REPOSITORY / "results"
RECORDS = sorted((RESULTS / "records").glob("*/record.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_record_keeps_its_id(path):
    record = json.loads(path.read_text())
    config = RunConfig(record["config"], record["names"])
    assert (config.run_id, config.cell) == (record["run_id"], record["cell"])
    assert path.parent.name == record["run_id"]


@pytest.mark.parametrize("command", ["experiment=demo", "README"])
def test_todays_configuration_names_the_committed_runs(command):
    """Were it another id, a finished run would be run again."""
    if command == "README":
        text = (REPOSITORY / "README.md").read_text().replace("\\\n", " ")
        (line,) = re.findall(r"^python train\.py -m (.*dataset\.train_size=5000.*)$", text, re.MULTILINE)
        command = line.replace("'", "")
    ids = {cell.run_id for cell in cells(command.split())}
    assert ids and ids <= {path.parent.name for path in RECORDS}


@pytest.mark.parametrize("name", ["demo", "all"])
def test_committed_tables_are_those_of_the_records(name):
    records = read_records([RESULTS / "records"])
    if name == "demo":
        records = records[records["run_id"].isin([cell.run_id for cell in cells(["experiment=demo"])])]
    assert (RESULTS / "tables" / f"{name}.md").read_text() == markdown_table(records)


def test_the_readme_shows_the_committed_demo():
    table = (RESULTS / "tables" / "demo.md").read_text().split("\n\n")[0]
    assert table in (REPOSITORY / "README.md").read_text()
