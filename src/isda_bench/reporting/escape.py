r"""Text from elsewhere (names of runs, data sets, classes, devices) in each format: one function a format.

What is not printable, a line break or a cursor movement, is shown as its escape sequence in all of them. The
terminal's own function is `runtime.terminal.printable`, which rooms below this one use too.
"""

import re
from typing import Any

from markupsafe import escape

from isda_bench.runtime.terminal import printable, printable_lines

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    " +- ": r" $\pm$ ",
    "±": r"$\pm$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
}
_LATEX_TOKEN = re.compile("|".join(map(re.escape, sorted(_LATEX, key=len, reverse=True))))
_FORMULA = re.compile(r"\s*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)")


def html_text(text: str) -> str:
    """For an element's content or a quoted attribute; pages made with Jinja's autoescape need not call it."""
    return str(escape(printable(text)))


def latex_text(text: str) -> str:
    """For running text and table cells; ` +- ` becomes a plus-minus sign, the daggers footnote marks."""
    return _LATEX_TOKEN.sub(lambda found: _LATEX[found[0]], printable(text))


def latex_comment(text: str) -> str:
    """For the rest of a line after %."""
    return printable(text)


def markdown_text(text: str) -> str:
    """For a paragraph, a list item or a table's cell, on one line.

    Escaped is what would begin markup: tags and entities, columns, code, images and links, emphasis, headings
    and lists. Underscores within words mark nothing up and stay; so do those of the key _target_,
    which committed tables have.
    """
    text = re.sub(r"\\(?=[!-/:-@\[-`{-~])", r"\\\\", printable(text).strip())
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    text = re.sub(r"\](?=[(\[:])", r"\]", text)
    text = re.sub(r"^([#>=~]|[+-](?= |$)|--)", r"\\\1", text)
    text = re.sub(r"^(\d+)([.)])(?= |$)", r"\1\\\2", text)
    return re.sub(
        r"[|`*]|(?<![^\W_])_(?!target_)|(?<!_target)_(?![^\W_])", lambda found: f"\\{found[0]}", text
    )


def figure_label(text: str) -> str:
    """For a text of matplotlib's: a pair of dollars is no formula. What is escaped stays as it is."""
    return re.sub(r"(?<!\\)\$", r"\\$", printable_lines(text))


def escape_labels(figure: Any) -> None:
    """Makes sure that no text of a matplotlib figure is a formula; called before it is laid out."""
    for label in figure.findobj(lambda artist: hasattr(artist, "set_text")):
        label.set_text(figure_label(label.get_text()))


def csv_cell(value: object) -> str:
    """For a cell that csv.writer quotes: text that a spreadsheet would take for a formula begins with '."""
    text = printable(str(value))
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
