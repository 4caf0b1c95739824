"""The committed records: they keep their ids, and tables, README and pages show their numbers."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers.tiny import REPOSITORY
from isda_bench.config.experiment_files import table_names
from isda_bench.config.generator_config import FOLDER, GeneratorConfig
from isda_bench.config.grids import grid_runs
from isda_bench.config.run_config import RunConfig
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.claims import check_claims, markdown_claims
from isda_bench.reporting.columns import p_text
from isda_bench.reporting.latex_table import latex
from isda_bench.reporting.questions import answered_questions, markdown_answers
from isda_bench.reporting.render_tables import csv_table, markdown, markdown_table, wide_csv
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


@pytest.mark.parametrize("command", ["experiment=demo", "page"])
def test_todays_configuration_names_the_committed_runs(command):
    """Were it another id, a finished run would be run again."""
    if command == "page":
        text = (REPOSITORY / "docs/results.md").read_text().replace("\\\n", " ")
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
    renders = {".md": markdown, ".tex": latex, ".csv": csv_table, "_wide.csv": wide_csv}
    for ending, render in renders.items():
        assert (RESULTS / "tables" / f"{name}{ending}").read_text() == render(table)


def test_committed_lists_are_those_of_the_records(records):
    assert (RESULTS / "tables" / "all.md").read_text() == markdown_table(records)
    tables = {name: experiment_table(name, records) for name in table_names()}
    assert (RESULTS / "tables" / "claims.md").read_text() == markdown_claims(check_claims(tables, records))
    assert (RESULTS / "tables" / "evidence.md").read_text() == markdown_answers(answered_questions(tables))


def plain(text):
    """Tables print the sign as it is, or as +-."""
    return text.replace("±", "+-")


def columns(table):
    """Header -> cells of a table in Markdown."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in plain(table).splitlines()]
    return {header: cells for header, _, *cells in zip(*lines, strict=True)}


def test_the_readme_shows_columns_of_the_committed_table_of_the_demo():
    committed = columns((RESULTS / "tables" / "demo.md").read_text().split("\n\n")[0])
    shown = columns(re.search(r"(?:^\|.*\n)+", (REPOSITORY / "README.md").read_text(), re.MULTILINE)[0])
    assert len(shown) >= 5 and shown.items() <= committed.items()


def page_section(heading):
    """What docs/results.md says below a heading, up to the next one."""
    text = plain((REPOSITORY / "docs/results.md").read_text())
    return re.split(r"^#+ ", text.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(
    "study, heading, sizes",
    [
        ("evidence_sizes", "Does ISDA help, and more with fewer samples?", 4),
        ("evidence_classes", "Does ISDA help more where there are more classes?", 1),
        ("evidence_updates", "With the updates of 5,000 images", 1),
        ("small_data", "An earlier study with three seeds", 3),
    ],
)
def test_the_gains_on_the_page_are_the_records_(study, heading, sizes):
    section = page_section(heading)
    rows = pd.read_csv(RESULTS / f"tables/{study}.csv")
    deviating = rows["deviations"].fillna("").str.contains("resnet8; 80 epochs")
    rows = rows[deviating if study == "small_data" else rows["planned"]]
    assert rows["train_size"].nunique() == sizes
    for size, both in rows.groupby(rows["train_size"].astype(int)):
        methods = both["method"].str.split(" ").str[0]  # without the setting
        (basic,), (isda,) = (both[methods == name].itertuples() for name in ("cross_entropy", "isda"))
        cells = [f"{row.mean:.2f} +- {row.std:.2f} ({row.n})" for row in (basic, isda)]
        (line,) = re.findall(rf"^\| {size:,} .*$", section, re.MULTILINE)
        gain = f"{isda.paired_mean:+.2f} +- {isda.paired_std:.2f} ({isda.paired_n:.0f})"
        interval = f"[{isda.interval_low:+.2f}, {isda.interval_high:+.2f}]"
        note = rf"resnet8, cifar100?, {size:,} images, against cross_entropy: (\S+) points with n = 1[02]"
        found = re.findall(note, (RESULTS / f"tables/{study}.md").read_text())
        shown = [cell.strip() for cell in line.strip("|").split("|")[1:]]
        assert shown == [*cells, gain, interval, p_text(isda.p_value), *found]
        assert len(found) == (study != "small_data")


def test_the_comparison_of_the_classes_is_that_of_the_answers():
    section = page_section("Does ISDA help more where there are more classes?")
    answers = (RESULTS / "tables/evidence.md").read_text()
    words = r"less that on CIFAR-10: (\S+ \[\S+ \S+\]) [^,]*, p (< )?(\S+), .*find (\S+) at"
    verdicts = re.findall(r"more classes, with ([^,]*), .*\*\* (\w+)\.", answers)
    found = [[gain, f"{less}{p}", least] for gain, less, p, least in re.findall(words, answers)]
    assert [verdict for _, verdict in verdicts] == ["Yes", "Yes", "Undecided", "Undecided"]
    assert "**By the criterion: yes with as many images, undecided with as many a class.**" in section
    for (alike, _), points, percent in zip(verdicts[::2], found[::2], found[1::2], strict=True):
        assert f"| {alike} | {points[0]} | {points[1]} | {percent[0]} | {percent[1]} |" in section
    least = [each[2] for each in found]
    text = f"find {least[0]} and {least[2]} points, {least[1]}% and {least[3]}%."
    assert text in section


def test_the_methods_on_the_page_are_those_of_the_answers():
    section = page_section("The methods with the chosen settings")
    answers = (RESULTS / "tables/evidence.md").read_text()
    verdict, rows = re.search(
        r"among the other methods\?\*\* (\w+)\..*\n.*\n((?:  - .*\n)+)", answers
    ).groups()
    assert f"**By the criterion: {verdict.lower()}.**" in section
    words = r"  - (.*): (\S+)% \(n = 5\)(?:, (\S+ \[\S+ \S+\]) points to (.*), Holm's p (\S+))?"
    expected = [
        f"| {name} | {error} | {baseline} | {gain} | {p} |".replace("|  |", "| |").replace("|  |", "| |")
        for name, error, gain, baseline, p in re.findall(words, rows)
    ]
    assert len(expected) == 9
    shown = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert shown == expected


def gains_of(study, size, records):
    """ISDA's gain in points with each seed, and both methods' errors, as arrays over the seeds."""
    rows = [
        row for row in experiment_table(study, records).lines if row.planned and row.at.train_size == size
    ]
    basic, isda = ({row.at.method: row for row in rows}[name] for name in ("cross_entropy", "isda"))
    seeds = sorted(isda.paired.differences)
    gains = np.array([-isda.paired.differences[seed] for seed in seeds])
    return gains, *(np.array([row.errors[seed] for seed in seeds]) for row in (basic, isda))


def test_what_was_looked_at_afterwards_is_the_records_(records):
    """Numbers of docs/results.md that no table has, by scipy."""
    section = page_section("With the updates of 5,000 images").replace("\n", " ")
    many, basic, isda = gains_of("evidence_updates", 1000, records)
    few, basic_before, isda_before = gains_of("evidence_sizes", 1000, records)
    large, *_ = gains_of("evidence_sizes", 5000, records)
    lost = stats.ttest_1samp(few - many, 0)
    low, high = lost.confidence_interval()
    text = f"{np.mean(few - many):.2f} points [{low:.2f}, {high:.2f}] lower than with 640 updates"
    assert f"{text} (same seeds, p = {lost.pvalue:.3f})" in section
    falls = (basic_before - basic).mean(), (isda_before - isda).mean()
    assert f"error by {falls[0]:.2f} points, ISDA's by {falls[1]:.2f}" in section
    equal = stats.ttest_1samp(many - large, 0)
    low, high = equal.confidence_interval()
    assert f"1,000 images gain {np.mean(few - large):.2f} points more than 5,000. With equal" in section
    text = f"With equal updates {np.mean(many - large):.2f} of them are left: [{low:+.2f}, {high:+.2f}]"
    assert f"{text}, p = {equal.pvalue:.3f}, over the same seeds" in section
    assert f"has p = {stats.ttest_ind(many, large, equal_var=False).pvalue:.3f}." in section


def test_the_slope_without_the_largest_size_is_the_records_(records):
    section = page_section("Does ISDA help, and more with fewer samples?").replace("\n", " ")
    sizes = (500, 1000, 2500)
    gains = np.array([gains_of("evidence_sizes", size, records)[0] for size in sizes])
    slopes = np.polyfit(np.log(sizes), gains, 1)[0]
    low, high = stats.ttest_1samp(slopes, 0).confidence_interval()
    assert f"without 5,000 the slope is {slopes.mean():+.2f} [{low:+.2f}, {high:+.2f}]" in section
    p = [stats.ttest_1samp(gains_of("evidence_sizes", n, records)[0], 0).pvalue for n in (*sizes, 5000)]
    second = sorted(p)[1]  # Holm: of the three that are left
    assert f"p = {p[2]:.3f}, which" in section and second == p[2]
    assert f"over the four sizes is {3 * second:.2f};" in section


def test_the_gain_with_all_images_is_the_records_():
    rows = pd.read_csv(RESULTS / "tables/evidence_resnet20.csv")
    basic, isda = (rows[rows["planned"] & (rows["method"] == m)].iloc[0] for m in ("cross_entropy", "isda"))
    table = plain((RESULTS / "tables/evidence_resnet20.md").read_text())
    shown = columns(table.split("\n\n")[0])
    (found,) = re.findall(r"against cross_entropy: (\S+) points with n = 5", table)
    cells = [*shown["test error in %"][:2], shown["difference to cross_entropy"][1]]
    cells += [shown["95% interval"][1], shown["p"][1], found]
    section = page_section("All images of CIFAR-100")
    assert f"| 50,000 | {' | '.join(cells)} |" in section
    losses = [f"{row['loss_mean']:.3f}" for row in (basic, isda)]
    assert f"test loss ({' to '.join(losses)})" in section
    (errors,) = re.findall(r"training error at the end (\S+)% and (\S+)%", section)
    for shown, row in zip(errors, (basic, isda), strict=True):
        files = (RESULTS / "records").glob(f"{row['cell'].rsplit('-', 1)[0]}-s*/metrics.jsonl")
        last = [json.loads(file.read_text().splitlines()[-1])["train_error"] for file in files]
        assert len(last) == 5 and f"{sum(last) / 5:.1f}" == shown


def test_readme_and_page_give_the_answer_of_the_records():
    """The slope with its interval, as results/tables/evidence.md has it."""
    answers = (RESULTS / "tables/evidence.md").read_text()
    verdict, slope = re.search(
        r"fewer samples\?\*\* (\w+)\.(?:.|\n)*?log of the size: (\S+ \[\S+ \S+\])", answers
    ).groups()
    readme = (REPOSITORY / "README.md").read_text().replace("\n", " ")
    for text in (readme, page_section("Does ISDA help, and more with fewer samples?").replace("\n", " ")):
        assert verdict.lower() in text and slope in text


def test_the_page_counts_the_finished_runs(records):
    section = page_section("What is planned and not finished")
    counts = re.findall(r"^\| `(evidence_\w+)` \| (\d+) of (\d+) \|", section, re.MULTILINE)
    assert len(counts) == 7
    for name, done, planned in counts:
        rows = [row for row in experiment_table(name, records).lines if row.planned]
        assert sum(len(row.seeds) for row in rows) == int(planned), name
        assert sum(len(row.seeds) - len(row.missing) for row in rows) == int(done), name


def test_the_range_of_the_gains_on_the_page_is_the_records_(records):
    lines = experiment_table("small_data", records).lines
    place = ("isda", "resnet8", 1000, 3)
    (isda,) = (x for x in lines if (x.at.method, x.at.model, x.at.train_size, x.n) == place)
    gains = sorted(-difference for difference in isda.paired.differences.values())
    page = page_section("An earlier study with three seeds")
    assert f"with each of the three seeds, by {gains[0]:.1f} to {gains[-1]:.1f} points" in page


def test_the_other_methods_on_the_page_are_the_comparison_s():
    names = {"cross_entropy + dropout": "dropout", "isda + dropout": "ISDA with dropout"}
    rows = pd.read_csv(RESULTS / "tables/comparison.csv").query(
        "model == 'resnet8' and train_size == 1000 and not resample"
    )
    others = rows[~rows["method"].isin(["cross_entropy", "isda"])].sort_values("mean")
    table = [
        others["method"].replace(names).tolist(),
        ["---"] * len(others),
        [f"{mean:.2f}" for mean in others["mean"]],
    ]
    assert len(others) == 10
    lines = (REPOSITORY / "docs/results.md").read_text().splitlines()
    start = lines.index(f"| {' | '.join(table[0])} |")
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start : start + 3]]
    assert shown == table
