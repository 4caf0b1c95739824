"""The paper's claims, on records made of the paper's own numbers and on others."""

import json

import pytest

from helpers.made_runs import changed, write_run, write_runs
from isda_bench.config.experiment_files import parts
from isda_bench.experiments.planned import planned
from isda_bench.experiments.published import published
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.claims import FAILS, HOLDS, OPEN, check_claims, markdown_claims
from isda_bench.storage.records import read_records

TABLES = ("comparison", "journal_table_2", "small_data")
LOWEST, CIFAR100, CENTER, SAMPLES, COST = range(5)


def claims_of(root):
    records = read_records([root])
    return check_claims({name: experiment_table(name, records) for name in TABLES}, records)


def write_papers_numbers(root, table, **other):
    """Three runs of each cell, around the published mean."""
    written = {path.name for path in root.glob("*")}
    for cell in (cell for part in parts(table) for cell in planned(part)):
        mean = other.get(cell.at.method, published(table, cell.at).mean)
        if cell.config.run_id not in written:
            write_runs(root, cell.config, [mean - 0.1, mean, mean + 0.1])


@pytest.mark.slow
def test_the_papers_own_numbers_bear_its_claims(tmp_path):
    for table in ("journal_table_2", "comparison"):
        write_papers_numbers(tmp_path, table)
    claims = claims_of(tmp_path)
    assert [claims[i].verdict for i in (LOWEST, CIFAR100, CENTER, COST)] == [HOLDS] * 4
    assert claims[SAMPLES].verdict == OPEN
    assert [e.verdict for e in claims[CIFAR100].evidence] == [HOLDS] * 9
    told = markdown_claims(claims)
    assert "- **Center loss is competitive with ISDA on CIFAR-10 only.** Holds.\n" in told
    assert (
        "resnet110, cifar100: holds; isda + dropout 26.35, best of 10 others cross_entropy + dropout 27.11."
        in told
    )


def test_the_papers_comparison_bears_its_claims(tmp_path):
    write_papers_numbers(tmp_path, "comparison")
    claims = claims_of(tmp_path)
    assert [claims[i].verdict for i in (LOWEST, CENTER)] == [HOLDS] * 2


def test_other_numbers_do_not(tmp_path):
    write_papers_numbers(tmp_path, "comparison", focal=1.0, center=1.0)
    claims = claims_of(tmp_path)
    assert (claims[LOWEST].verdict, claims[CENTER].verdict) == (FAILS, FAILS)


def test_two_runs_are_not_enough(tmp_path):
    for part in parts("comparison"):
        for cell in planned(part):
            write_runs(tmp_path, cell.config, [5.0, 5.1])
    assert [claim.verdict for claim in claims_of(tmp_path)[:4]] == [OPEN] * 4


def write_small_data(root, gains, **settings):
    for cell in planned("small_data"):
        size, isda = cell.at.train_size, cell.at.method == "isda"
        if size in gains:
            write_runs(root, changed(cell.config, **settings), [40 - isda * gains[size]] * 3)


@pytest.mark.parametrize(("sign", "verdict"), [(1, HOLDS), (-1, FAILS)])
def test_gain_over_samples(tmp_path, sign, verdict):
    sizes = (1000, 2500, 5000, 10000, 25000, 50000)
    write_small_data(tmp_path, {size: sign * 1000 / size for size in sizes})
    assert claims_of(tmp_path)[SAMPLES].verdict == verdict


def test_deviating_runs_bear_no_verdict(tmp_path):
    write_small_data(tmp_path, {1000: 3.0, 2500: 2.0, 5000: 1.0}, schedule__epochs=80)
    claim = claims_of(tmp_path)[SAMPLES]
    assert claim.verdict == OPEN
    assert [(e.planned, e.verdict) for e in claim.evidence] == [(True, OPEN), (False, HOLDS)]


def test_cost_pairs_runs_of_one_device(tmp_path):
    for cell in planned("journal_table_2")[:2]:
        rate = 1000.0 if cell.at.method == "cross_entropy" else 800.0
        for seed in range(3):
            write_run(tmp_path, changed(cell.config, seed=seed), 7.0, rate=rate)
    (evidence,) = claims_of(tmp_path)[COST].evidence
    assert (evidence.verdict, evidence.numbers) == (FAILS, "+25.0% time in 3 pairs of runs")
    for path in sorted(tmp_path.glob("*isda*/record.json")):
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"device": {"type": "cuda", "name": "another"}}))
    assert claims_of(tmp_path)[COST].verdict == OPEN
