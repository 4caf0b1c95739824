"""Names from elsewhere in each format: as text, never as markup, a formula or a command of the terminal."""

import csv
import io
import json
import os
import re
import sys
from itertools import pairwise

import pytest
from markdown_it import MarkdownIt

from helpers.made_runs import write_run
from helpers.tiny import TINY
from isda_bench.cli.card import CardOptions, card
from isda_bench.cli.main import BROKEN_PIPE, COMMANDS, main
from isda_bench.config.compose import compose_run
from isda_bench.experiments.coordinates import Coordinates
from isda_bench.reporting import escape
from isda_bench.reporting.claims import HOLDS, Claim, Evidence, markdown_claims
from isda_bench.reporting.latex_table import latex
from isda_bench.reporting.model_card import limits, model_card
from isda_bench.reporting.render_tables import csv_table, markdown
from isda_bench.reporting.table import Table, TableRow
from isda_bench.runtime.terminal import printable, printable_lines

NASTY = [
    "<img onerror=..>",
    "a|b",
    "one\ntwo",
    "=cmd()",
    "+1+1",
    "@SUM(A1)",
    "\t=1",
    "\x1b[2J\x9b1m\u202e",
    "$%&#_{}~^\\",
    "$x$ \\input{/etc/passwd}",
    "\\|`code`**bold**",
    "[click](javascript:alert(1)) ![i](http://x) <http://x>",
    "&lt;b&gt; &#60;",
    "# a heading",
    "> a quotation",
    "    code",
    "1. a list",
    "- a list",
    "~~~",
    "---",
    "_x_ __y__ a_b",
    "\"quoted\" and 'quoted'",
]


def table_of(name):
    row = TableRow(
        name,
        Coordinates(name, name, "standard", None, name, "test"),
        True,
        (0,),
        {0: 1.0},
        deviations=(name,),
    )
    return Table(name, name, "last_10", name, (row,))


def plain(tokens):
    """The text that a reader of the Markdown sees, and the kinds of markup in it."""
    inline = [child for token in tokens for child in token.children or ()]
    return "".join(child.content for child in inline), {child.type for child in inline} - {
        "text",
        "text_special",
    }


@pytest.mark.parametrize("name", NASTY)
def test_markdown_shows_the_name_and_no_markup(name):
    parser = MarkdownIt("commonmark").enable("table")
    for source in (escape.markdown_text(name), f"x {escape.markdown_text(name)}"):
        text, kinds = plain(parser.parse(source))
        assert text.removeprefix("x ").strip() == printable(name).strip() and not kinds
    tokens = parser.parse(markdown(table_of(name)))
    assert not {token.type for token in tokens} & {"html_block", "fence", "heading_open"}
    cells = [token.content for before, token in pairwise(tokens) if before.type == "td_open"]
    assert len(cells) == 4 and not plain(tokens)[1] - {"softbreak"}
    assert plain(parser.parse(cells[0]))[0].strip() == printable(name).strip()
    claims = [Claim("It works.", "If so.", (Evidence(name, HOLDS, name, True),))]
    assert plain(parser.parse(markdown_claims(claims)))[1] <= {"strong_open", "strong_close", "softbreak"}


@pytest.mark.parametrize("name", NASTY)
def test_latex_has_no_bare_special(name):
    for text in (escape.latex_text(name), escape.latex_breakable(name).replace(r"\allowbreak{}", "")):
        bare = re.sub(
            r"\\(textbackslash|textasciicircum|textasciitilde)\{\}|\\[{}$&#_%]|\$(\\pm|<|>|\||\^\\d?dagger)\$",
            "",
            text,
        )
        assert not set(bare) & set("\\{}$&#_%^~<>|") and bare.isprintable()
    lines = latex(table_of(name)).splitlines()
    assert len(lines) == len(latex(table_of("plain")).splitlines()) and lines[0].startswith("% ")


def test_latex_has_the_letters_that_pdflatex_knows_and_says_which_others():
    letters = {
        "λ": r"$\lambda$",
        "₀": "$_0$",
        "Σ": r"$\Sigma$",
        "é": "é",
        "−": "$-$",
        "×": r"$\times$",
        "中": "(U+4E2D)",
    }
    assert {letter: escape.latex_text(letter) for letter in letters} == letters
    assert escape.latex_breakable("a/run/of/more/than/some/length") == r"\allowbreak{}".join(
        ["a/", "run/", "of/", "more/", "than/", "some/", "length"]
    )


@pytest.mark.parametrize("name", NASTY)
def test_csv_has_no_formula(name):
    (row,) = csv.DictReader(io.StringIO(csv_table(table_of(name))))
    assert row["dataset"].removeprefix("'") == printable(name)
    assert all(not re.match(r"\s*[=+@\t\r-]", value) or float(value) for value in row.values())
    assert [escape.csv_cell(value) for value in ("-0.26", "+1e-3", -2, "-")] == ["-0.26", "+1e-3", "-2", "'-"]


@pytest.mark.parametrize("name", NASTY)
def test_the_terminal_gets_no_command(name):
    assert printable(name).isprintable() and (printable(name) == name) == name.isprintable()
    assert printable_lines(f"{name}\n").count("\n") == name.count("\n") + 1
    assert escape.html_text(name).isprintable() and "<" not in escape.html_text(name)


@pytest.mark.parametrize("name", NASTY)
def test_a_model_card_of_a_nasty_record(tmp_path, name):
    config = compose_run([*TINY, f"runs_dir={tmp_path}"])
    record = json.loads((write_run(tmp_path, config, 7.0) / "record.json").read_text())
    record |= {"classes": [name], "device": {"type": "cpu", "name": name}, "versions": {name: name}}
    record["config"]["dataset"]["root"] = name  # of the machine: not in the card
    tokens = MarkdownIt("commonmark").enable("table").parse(model_card(record))
    _, kinds = plain(tokens)
    assert not kinds and not {token.type for token in tokens} & {"html_block", "fence", "code_block"}
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1", *["h2"] * 7]
    assert "| root" not in model_card(record)


def test_a_model_card_says_what_the_record_says(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = compose_run([*TINY, "loss=isda", f"runs_dir={tmp_path}"])
    directory = write_run(tmp_path, config, 7.0)
    card(CardOptions(run=str(directory)))
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert "written: MODEL_CARD.md" in capsys.readouterr().out
    for part in (
        "# resnet8 on digits, isda",
        config.run_id,
        "| strength ",
        "| test error in %, lower is better |",
    ):
        assert part in text
    assert "| mean of the last 10 epochs | 7.00" in text and "Trained on a subset of 200 images" in text
    record = json.loads((directory / "record.json").read_text()) | {"epochs": 3, "split": "validation"}
    assert any("3 epochs only" in line for line in limits(record))
    assert any("not on the test set" in line for line in limits(record))
    assert model_card(record).index("| last epoch ") < model_card(record).index(
        "| mean of the last 10 epochs "
    )


@pytest.fixture
def command(monkeypatch):
    """Runs `isda-bench <arguments>` with this stream as stdout; returns the exit code."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def call(stream, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["isda-bench", *arguments])
            patch.setattr(sys, "stdout", stream)
            try:
                main()
            except SystemExit as end:
                return end.code
        return 0

    return call


@pytest.mark.parametrize(
    "arguments", [["--help"], ["runs", "--help"], ["runs", "runs_dir=."], ["plan", "model=resnet8"]]
)
def test_a_reader_that_is_gone_ends_the_command_quietly(command, tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as stream:  # noqa: PTH123 - a descriptor
        assert command(stream, *arguments) == BROKEN_PIPE
    assert capsys.readouterr().err == ""


def test_letters_that_an_encoding_lacks_are_escaped(command, tmp_path):
    (tmp_path / "\u03a9").mkdir()
    (tmp_path / "\u03a9" / "run.json").write_text("{}")
    out = io.BytesIO()
    with io.TextIOWrapper(out, encoding="latin-1") as stream:
        assert command(stream, "runs", f"runs_dir={tmp_path}") == 0
        assert b"\\u03a9" in out.getvalue()


@pytest.mark.parametrize(
    "argument",
    ["runs_dir=~no-such-user/x", "runs_dir=&a [*a]", "runs_dir=&a {b: *a}", f"runs_dir={'[' * 3000}"],
)
def test_odd_arguments_are_reported_without_a_traceback(command, capsys, argument):
    assert command(io.StringIO(), "runs", argument) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and len(err.splitlines()) <= 2


def test_errors_send_no_command_to_the_terminal(command, capsys):
    for arguments in (
        ["runs", "runs_dir=/\x1b[2J"],
        ["runs", "\x1b[2J=1"],
        ["\x1b[2J"],
        ["train", "\x1b[2J=1"],
    ):
        assert command(io.StringIO(), *arguments) in (1, 2)
        assert "\x1b" not in (err := capsys.readouterr().err) and "\\x1b[2J" in err
    assert {"reproduce", "predict", "card"} <= set(COMMANDS)
