"""A table in a folder of a user's own: labels, baseline, published values, mistakes."""

import re
import shutil
import sys
from importlib.util import find_spec

import pytest
from scipy import stats

from helpers.made_runs import write_runs
from helpers.tiny import REPOSITORY, TINY
from isda_bench.config.compose import compose_run
from isda_bench.config.experiment_files import table_of, title
from isda_bench.config.folders import users_folder
from isda_bench.config.options import Options, main
from isda_bench.config.run_config import identity
from isda_bench.errors import ConfigError
from isda_bench.experiments.methods import Methods
from isda_bench.experiments.planned import planned
from isda_bench.experiments.published_values import PublishedValues
from isda_bench.experiments.table_problems import table_problems
from isda_bench.reporting.build_tables import experiment_table
from isda_bench.reporting.columns import text_rows
from isda_bench.reporting.figures.error_curves import error_curves
from isda_bench.reporting.figures.gain import gains_of
from isda_bench.reporting.figures.method_styles import METHOD_STYLES
from isda_bench.reporting.figures.panels import panels
from isda_bench.reporting.gallery import gallery
from isda_bench.reporting.html_report import report
from isda_bench.reporting.latex_table import latex
from isda_bench.reporting.table_notes import notes_of
from isda_bench.storage.records import read_records

EXAMPLE = REPOSITORY / "examples" / "own_project" / "conf"
PAGE = REPOSITORY / "docs" / "own_table.md"
METHODS = """# @package _global_
defaults:
  - override /dataset: digits
  - override /model: resnet8
table:
  title: "My table"
  baseline: isda
  methods: {ours: "Ours", isda: "ISDA", isda_dropout: "ISDA, dropout"}
hydra: {mode: MULTIRUN, sweeper: {params: {method: "basic,isda,isda_dropout,ours", seed: "0,1,2"}}}
"""
OURS = """# @package _global_
defaults:
  - override /loss: isda
  - override /mix: mixup
"""


def write_conf(folder):
    """The example's folder, and a table of methods of which one brings mixup."""
    shutil.copytree(EXAMPLE, folder)
    (folder / "method").mkdir()
    (folder / "method" / "ours.yaml").write_text(OURS)
    (folder / "experiment" / "methods.yaml").write_text(METHODS)
    return folder


@pytest.fixture
def conf(tmp_path):
    with users_folder(write_conf(tmp_path / "conf")):
        yield tmp_path / "conf"


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """Experiment -> its cells, composed once: a mistake in a copy changes none."""
    with users_folder(write_conf(tmp_path_factory.mktemp("conf") / "conf")):
        return {name: planned(name) for name in ("methods", "own_table")}


def table_of_runs(experiment, runs, errors=None):
    """The table of made runs; the cells in the order of the grid."""
    for cell, values in zip(planned(experiment), errors or [], strict=False):
        write_runs(runs, cell.config, values)
    return experiment_table(experiment, read_records([runs]))


def test_labels_title_and_published_values_of_a_folder_outside_the_clone(conf, tmp_path):
    table = table_of_runs("own_table", tmp_path / "runs", [[3.0, 3.5], [2.5, 2.75], [2.0, 3.0]])
    assert (table_of("own_table"), title("own_table")) == ("own_table", table.title)
    header, *rows = text_rows(table)
    found = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["method"] for row in found] == ["Cross-entropy", "ISDA", "LS (ours)"]
    assert {row["network"] for row in found} == {"Three convolutions"}
    assert [row["published"] for row in found] == ["4.0 ± 0.3", "3.5", ""]
    assert "difference to Cross-entropy" in header and found[2]["Holm's p"]
    assert "Published: an example, not a publication." in notes_of(table)
    assert table.protocol == "final"  # fifteen epochs
    assert found[1]["test error in %"] == "3.62 ± 0.18 (2)"  # made_runs: the last epoch's is one point higher
    assert (
        experiment_table("own_table", read_records([tmp_path / "runs"]), protocol="best").lines[0].mean
        == 2.25
    )


def test_a_network_without_a_rate_of_dropout_has_its_table_beside_the_shipped_records(conf):
    """The choice of a rate in these records asked every plan's networks for one."""
    table = experiment_table("own_table", read_records([REPOSITORY / "results" / "records"]))
    assert [line.n for line in table.lines if line.planned] == [0, 0, 0]


def test_curves_carry_the_table_s_labels_and_keep_the_methods_looks(conf, tmp_path):
    table = table_of_runs("own_table", tmp_path / "runs", [[3.0, 3.5], [2.5, 2.75], [2.0, 3.0]])
    (picture,) = gallery({"own_table": table}, read_records([tmp_path / "runs"]))
    curves, finals = picture.figure.axes
    lines = {line.get_label(): line for line in curves.lines if not line.get_label().startswith("_")}
    assert set(lines) == {"Cross-entropy", "ISDA", "LS (ours)"}
    assert [text.get_text() for text in finals.get_yticklabels()] == ["Cross-entropy", "ISDA", "LS (ours)"]
    assert lines["ISDA"].get_color() == METHOD_STYLES["isda"].colour


def test_everything_prints_the_labels_of_networks_and_data_sets(conf, tmp_path):
    path = conf / "experiment" / "own_table.yaml"
    labels = "  datasets: {digits: Numerals}\n  networks:"
    path.write_text(path.read_text().replace("  networks:", labels))
    table = table_of_runs("own_table", tmp_path / "runs", [[3.0, 3.5], [2.5, 2.75], [2.0, 3.0]])
    records = read_records([tmp_path / "runs"])
    (picture,) = gallery({"own_table": table}, records)
    assert picture.figure.axes[0].get_title("left").startswith("Three convolutions on Numerals, 200 images")
    place = "Three convolutions, Numerals, 200 images, against Cross-entropy"
    assert any(place in note for note in notes_of(table))
    assert all("Three convolutions on Numerals" in series.label for series in gains_of(table))
    page = report("t", [table], [], [picture], records)
    shown = re.sub("<pre>.*?</pre>", "", page, flags=re.DOTALL)
    assert re.findall(r"<summary>(.*?): test error", shown) == [
        f"{name}, 200 images, 15 epochs" for name in ("Cross-entropy", "ISDA", "LS (ours)")
    ]
    text = " ".join(re.findall(r">([^<>]+)<", shown.replace("experiment=own_table", "")))
    text = re.sub(r"digits-mine-\S+", "", text)  # ids; what follows are no parts of dotted settings
    assert not re.findall(r"(?<![\w.])(?:mine|digits|label_smoothing|cross_entropy)(?![\w.])", text)
    assert "mine" not in latex(table) and "LS (ours) against Cross-entropy" in page


def test_curves_of_one_label_have_names_of_their_own(tmp_path):
    for loss in ("isda", "cross_entropy"):
        write_runs(tmp_path, compose_run([*TINY, f"loss={loss}"]), [4.0, 5.0])
    records = read_records([tmp_path])
    (panel,) = panels(records, printed=dict.fromkeys(records["cell"], "Net"))
    assert [curve.label for curve in panel.curves] == ["cross_entropy", "isda"]
    assert len({curve.name for curve in panel.curves}) == 2
    assert all(curve.name.startswith("Net (") for curve in panel.curves)
    assert len(error_curves([panel]).axes[1].get_yticks()) == 2


def test_the_section_decides_nothing_in_a_run(conf):
    (config, *_) = (cell.config for cell in planned("own_table"))
    assert config.config["table"]["title"] and "table" not in identity(config.config)
    assert "table" not in config.as_dict()["config"]


def test_every_method_is_compared_with_the_named_baseline_whatever_its_file_sets(conf, tmp_path):
    errors = [[6.0, 6.2, 6.1], [5.0, 5.3, 5.1], [5.2, 5.9, 5.3], [4.0, 4.9, 4.4]]
    table = table_of_runs("methods", tmp_path / "runs", errors)
    lines = {line.method: line for line in table.lines}
    assert list(lines) == ["Ours", "ISDA", "ISDA, dropout", "cross_entropy, standard"]
    assert lines["ISDA"].paired is None
    p = {}
    for name, values in zip(
        ("cross_entropy, standard", "ISDA, dropout", "Ours"), errors[:1] + errors[2:], strict=True
    ):
        pair = lines[name].paired
        assert (pair.baseline, pair.n, pair.tests) == ("ISDA", 3, 3)
        p[name] = stats.ttest_rel(values, errors[1]).pvalue
        assert pair.p_value == pytest.approx(p[name])
    smallest = min(p, key=p.get)
    assert lines[smallest].paired.holm_p == pytest.approx(3 * p[smallest])
    text = latex(table)
    assert r"Ours & \textbf{4.43 $\pm$ 0.45}" in text and text.count(r"\begin{tabular}{lc}") == 1


MISTAKES = [
    ("title:", "titel:", ["table.title: not given", "table.titel: no such key"]),
    (
        "baseline: isda",
        "baseline: idsa",
        ["table.baseline: idsa is none of the experiment's; did you mean isda?"],
    ),
    ("ours: ", "theirs: ", ["table.methods: theirs is none of the experiment's"]),
    ('isda: "ISDA"', "isda: 3", ["table.methods.isda=3: should be a valid string"]),
    (
        "  methods: {",
        "  networks: {wrn: W}\n  methods: {",
        ["table.networks: wrn is none of the experiment's"],
    ),
    (
        "  methods: {",
        "  also_differ: [schedule.epoch]\n  methods: {",
        ["table.also_differ: schedule.epoch is none of the experiment's; did you mean schedule.epochs?"],
    ),
    ('title: "My table"', 'title: ""', ["table.title=''"]),
]


@pytest.mark.parametrize(("right", "wrong", "messages"), MISTAKES)
def test_a_mistake_in_the_section_is_one_clear_error(conf, plans, right, wrong, messages):
    (conf / "experiment" / "methods.yaml").write_text(METHODS.replace(right, wrong, 1))
    with pytest.raises(ConfigError) as error:
        Methods("methods", plans["methods"])
    for message in messages:
        assert f"experiment=methods: {message}" in str(error.value)


def test_a_mistake_in_the_table_is_reported_before_anything_is_trained(conf):
    assert table_problems(["experiment=methods", "seed=0"]) == table_problems(["experiment=demo"]) == []
    path = conf / "experiment" / "methods.yaml"
    path.write_text(METHODS.replace("baseline: isda", "baseline: idsa"))
    (problem,) = table_problems(["experiment=methods", "seed=0"])
    assert problem.startswith("experiment=methods: table.baseline: idsa is none")


PUBLISHED = [
    ("source:", "sauce:", ["source: not given", "sauce: no such key"]),
    ("isda:", "idsa:", ["idsa: nothing in the table has this name; did you mean isda?"]),
    ("isda: [", "Cross-entropy: [", ["Cross-entropy/digits: a second value of this cell"]),
    ("[3.5]", "[3.5, 3.6]", ["rows.isda: has 2 values, not 1"]),
    ("[3.5]", "[low]", ["rows.isda.0='low': should be [mean, standard deviation], a mean, or null"]),
    ("isda: [", "mine: [", ["digits/mine: 3 cells have them; name more"]),
    ("rows:", "rows: {", ["cannot be read"]),
    ("[3.5]", "[[]]", ["rows.isda.0=[]: should be [mean, standard deviation], a mean, or null"]),
    ("[3.5]", "[-1]", ["rows.isda.0.0=-1: should be greater than or equal to 0"]),
    ("[3.5]", "[[3.5, 101]]", ["rows.isda.0.1=101: should be less than or equal to 100"]),
    ("isda: [3.5]", "isda: [3.5]\n  isda/digits: [4]", ["digits/isda: a second value of this cell"]),
]


@pytest.mark.parametrize(("right", "wrong", "messages"), PUBLISHED)
def test_a_mistake_in_the_published_values_is_one_clear_error(conf, plans, right, wrong, messages):
    plan = plans["own_table"]
    path = conf / "experiment" / "own_table.published.yaml"
    path.write_text(path.read_text().replace(right, wrong, 1))
    with pytest.raises(ConfigError) as error:
        PublishedValues("own_table", plan, Methods("own_table", plan))
    for message in messages:
        assert message in str(error.value) and "own_table.published.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("row", "column", "method"),
    [
        ("ours", "digits", "isda, standard + mixup"),
        ("basic", "resnet8", "cross_entropy, standard"),
        ("ISDA, dropout", "Digits", "isda + dropout, standard"),
        ("isda_dropout", "A network", "isda + dropout, standard"),
    ],
)
def test_a_published_value_is_named_as_the_section_names_methods(conf, plans, row, column, method):
    """By a label, also of a network or a data set, or by the file in conf/method/."""
    labels = '  datasets: {digits: "Digits"}\n  networks: {resnet8: "A network"}\n'
    (conf / "experiment" / "methods.yaml").write_text(METHODS.replace("hydra:", f"{labels}hydra:"))
    text = f"source: a paper\ncolumns: [{column}]\nrows: {{'{row}': [[3.5, 0.2]]}}\n"
    (conf / "experiment" / "methods.published.yaml").write_text(text)
    plan = plans["methods"]
    methods = Methods("methods", plan)
    values = PublishedValues("methods", plan, methods)
    known = {methods.place(cell.at).method: values.of(cell.at) for cell in plan}
    assert known[method].mean == 3.5 and sum(value is not None for value in known.values()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config-dir"], "--config-dir: takes one folder"),
        (["--config-dir=/nowhere"], "--config-dir=/nowhere: no such folder"),
        (["--config-dir", "/tmp", "experiment=x"], "experiment: no such option"),
        (["--config-dir", "~no-such-user/x"], "~no-such-user/x: Could not determine home directory"),
    ],
)
def test_commands_take_a_folder_of_a_users_own(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr("sys.argv", ["isda-bench tables", *arguments])
    with pytest.raises(SystemExit) as end:
        main(Options, lambda options: None, "")
    assert end.value.code in (1, 2) and message in capsys.readouterr().err


def test_allowed_modules_are_found_in_the_current_folder(monkeypatch, tmp_path):
    """The installed command, unlike python -m, has no current folder on its path."""
    (tmp_path / "mine_of_here.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [place for place in sys.path if place])
    before, seen = list(sys.path), []
    for words in (["allow=mine_of_here"], []):
        monkeypatch.setattr("sys.argv", ["isda-bench evaluate", *words])
        main(Options, lambda options: seen.append(find_spec("mine_of_here")), "")
    assert seen[0].origin == str(tmp_path / "mine_of_here.py") and seen[1] is None and sys.path == before


def test_the_page_shows_the_files_of_the_example():
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    files = [EXAMPLE / "experiment" / f"own_table{ending}" for ending in (".yaml", ".published.yaml")]
    assert blocks == [path.read_text() for path in files]
