"""Tables in LaTeX: as papers print them, compiled by pdflatex without a box or a float that is too large."""

import math
import re
import shutil
import subprocess

import pytest

from helpers.tiny import REPOSITORY
from isda_bench.experiments.coordinates import Coordinates
from isda_bench.experiments.published import Published
from isda_bench.reporting.latex_table import latex
from isda_bench.reporting.table import Paired, Table, TableRow

COMMITTED = sorted((REPOSITORY / "results" / "tables").glob("*.tex"))
SEEDS = (0, 1, 2)
LONG_NAMES = [
    "a_network_of_one_s_own_with_more_letters_than_a_line_of_a_column_has_room_for",
    "Aname" * 30,
    "50% & more of #1 {braces} \\input{x} ~^$|<> λ₀ = ½, naïve, 中文",
]


def row(method, *errors, dataset="cifar10", model="resnet110", seeds=SEEDS, size=None, **more):
    at = Coordinates(dataset, model, "standard", size, method, "test")
    cell = f"{dataset}-{model}-{method}-{size}"
    return TableRow(cell, at, more.pop("planned", True), seeds, dict(enumerate(errors)), **more)


def table(*rows, title="A title", **more):
    return Table("mine", title, "last_10", "a paper", rows, **more)


def cells_of(text):
    """Label -> cells of each row that has one."""
    rows = [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if line.endswith(r" \\")]
    return {label: cells for label, *cells in rows if label}


def test_best_is_bold_and_second_underlined_in_each_column():
    text = latex(
        table(
            row("cross_entropy", 6.0, 6.2, 6.1),
            row("focal", 5.9, 5.9, 5.9),
            row("isda", 5.6, 5.7, 5.8),
            row("cross_entropy", 30.0, 30.0, 30.0, dataset="cifar100"),
            row("isda", 31.0, 31.0, 31.0, dataset="cifar100"),
        )
    )
    assert cells_of(text) == {
        "Method": ["CIFAR-10", "CIFAR-100"],
        "Cross-entropy": [r"6.10 $\pm$ 0.10", r"\textbf{30.00 $\pm$ 0.00}"],
        "Focal loss": [r"\underline{5.90 $\pm$ 0.00}", "--"],
        "ISDA": [r"\textbf{5.70 $\pm$ 0.10}", r"\underline{31.00 $\pm$ 0.00}"],
    }
    assert "n = 3 runs" in text and r"\label{tab:mine}" in text
    assert "ResNet-110. Test error in \\%, lower is better: mean of the last 10 epochs" in text


def test_equal_means_share_their_rank():
    """5.7 and 5.7004 are printed alike."""
    found = cells_of(
        latex(table(row("a", 5.7, seeds=(0,)), row("b", 5.7004, seeds=(0,)), row("c", 6.0, seeds=(0,))))
    )
    assert found["a"] == found["b"] == [r"\textbf{5.70}"] and found["c"] == [r"\underline{6.00}"]


def test_only_finished_cells_of_equal_n_are_compared_and_n_is_printed_where_it_differs():
    text = latex(
        table(
            row("cross_entropy", 6.0, 6.2, 6.1),
            row("isda", 1.0),  # one of three seeds
            row("focal", 2.0, seeds=(0,)),  # whole, but of one seed
            row("lq", 6.3, 6.3, 6.3),
            row("center"),
        )
    )
    assert cells_of(text) == {
        "Method": ["CIFAR-10"],
        "Cross-entropy": [r"\textbf{6.10 $\pm$ 0.10} (3)"],
        "ISDA": ["1.00 (1 of 3)"],
        "Focal loss": ["2.00 (1)"],
        "Lq loss": [r"\underline{6.30 $\pm$ 0.00} (3)"],
        "Center loss": ["--"],
    }
    assert "their number n in parentheses" in text and "-- not run" in text
    alone = latex(table(row("cross_entropy", 6.0, 6.2, 6.1), row("isda")))
    assert "textbf" not in alone and "Bold" not in alone  # nothing to compare with


def test_networks_are_rows_where_there_is_one_method():
    text = latex(table(*(row("isda", 6.0, 6.1, 6.2, model=name) for name in ("resnet32", "wrn28_10"))))
    assert list(cells_of(text)) == ["Network", "ResNet-32", "Wide-ResNet-28-10"]


def test_sizes_stand_across_while_there_is_room():
    few = latex(table(*(row("isda", 6.0, size=size) for size in (500, 1000))))
    assert cells_of(few)["Method"] == ["500 images", "1,000 images"]
    many = latex(table(*(row("isda", 6.0, size=size) for size in (1, 2, 3, 4, 5))))
    assert cells_of(many)["Method"] == ["CIFAR-10"] and r"\textit{5 images}" in many


def test_notes_marks_and_published_values_stand_below():
    paired = Paired({0: -1.0, 1: -1.1}, "cross_entropy", holm_p=0.01)
    published = Published(6.5, 0.2, checked=False)
    text = latex(
        table(
            row("cross_entropy", 6.0, 6.2, seeds=(0, 1), published=published),
            row("isda", 5.0, 5.1, seeds=(0, 1), paired=paired, cautions=("a caution",), label="ISDA (ours)"),
            row("isda", 9.0, seeds=(), planned=False, deviations=("2 epochs, not 160",)),
            notes=("A note.",),
        )
    )
    own, other = text.split(r"\end{table}")[:2]
    assert cells_of(own)["ISDA (ours)"] == [
        r"\textbf{5.05 $\pm$ 0.07}\textsuperscript{*,a}",
        "--",
    ]
    assert cells_of(own)["Cross-entropy"][1] == r"6.50 $\pm$ 0.20$^\dagger$"
    for note in ("differs from Cross-entropy", "Published: a paper.", "a: a caution.", "A note."):
        assert note in own
    assert "a: 2 epochs, not 160." in other and r"\label{tab:mine-deviating}" in other


def test_a_group_that_two_floats_share_has_one_best():
    rows = [row(f"method {i}", 50.0 - i, seeds=(0,)) for i in range(60)]
    text = latex(table(*rows))
    assert text.count(r"\begin{table}") == 2 and text.count(r"\textbf") == 1
    assert [line for line in text.splitlines() if "textbf" in line] == [r"method 59 & \textbf{-9.00} \\"]
    assert text.count(r"\label{tab:mine") == len(set(re.findall(r"\\label\{.*?\}", text)))


def awkward():
    """Long names and specials everywhere, in many rows and columns."""
    rows = [
        row(
            f"{name} {i}",
            *(12.34, 23.45, 34.56),
            dataset=f"{name} {column}",
            model=name,
            cautions=(name,),
            published=Published(1.0, math.pi, True),
        )
        for name in LONG_NAMES
        for i in range(3)
        for column in range(3)
    ]
    return table(*rows, title=" ".join(LONG_NAMES), notes=tuple(LONG_NAMES))


def many_groups():
    """Many networks of two methods: the space between groups counts too."""
    rows = [row(method, 12.34, model=f"network {i}") for i in range(14) for method in ("one", "two")]
    return table(*rows, title="A title of several lines in a narrow column, " * 3)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("columns", ["onecolumn", "twocolumn"])
@pytest.mark.parametrize("kind", ["committed", "awkward", "groups"])
def test_every_table_compiles_and_fits_the_page(tmp_path, columns, kind):
    texts = [path.read_text() for path in COMMITTED]
    if kind != "committed":
        texts = [latex(awkward() if kind == "awkward" else many_groups())]
    assert texts
    head = rf"\documentclass[{columns}]{{article}}\usepackage{{booktabs,graphicx}}\begin{{document}}"
    body = "\n\\clearpage\n".join(texts)
    (tmp_path / "t.tex").write_text(f"{head}\n{body}\n\\end{{document}}\n")
    command = ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "t.log").read_text(errors="replace")
    assert not re.findall(r"Overfull.*|.*too large for page.*|.*multiply defined.*", log)
