r"""Text from elsewhere (names of runs, data sets, classes, devices) in each format: one function a format.

What is not printable, a line break or a cursor movement, is shown as its escape sequence in all of them. The
terminal's own function is `runtime.terminal.printable`, which rooms below this one use too.
"""

import re
import unicodedata
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
    "±": r"$\pm$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
}
_LATEX |= {  # what pdflatex does not know by itself
    "−": "$-$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\rightarrow$",
    "–": "--",
    "—": "---",
    "…": "...",
    **{digit: f"$_{i}$" for i, digit in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    **{digit: f"$^{i}$" for i, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}
_GREEK = {"lamda": "lambda", "final sigma": "varsigma", "omicron": "mathrm{o}"}
"""Unicode's names of small letters where LaTeX's differ."""
_CAPITALS = ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega")
_ACCENTS = "\u0300\u0301\u0302\u0303\u0308"
"""Grave, acute, circumflex, tilde, diaeresis: pdflatex sets letters of one of these in every font."""
_LONG = 24
"""Letters of a word that a line of notes can do without breaking."""
_FORMULA = re.compile(r"\s*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)")


def html_text(text: str) -> str:
    """For an element's content or a quoted attribute; pages made with Jinja's autoescape need not call it."""
    return str(escape(printable(text)))


def latex_text(text: str) -> str:
    """For running text and table cells, for pdflatex."""
    return "".join(map(_latex_letter, printable(text)))


def latex_breakable(text: str) -> str:
    """For paragraphs: a long word (a run's name, say) may be broken after signs, else after every letter."""
    return re.sub(r"\S+|\s+", lambda found: _breakable(found[0]), printable(text))


def _breakable(word: str) -> str:
    letters = [_latex_letter(letter) for letter in word]
    if len(word) <= _LONG:
        return "".join(letters)
    everywhere = max(map(len, re.split(r"[^a-zA-Z0-9]+", word))) > _LONG
    return "".join(
        written + r"\allowbreak{}" * (everywhere or not letter.isalnum())
        for letter, written in zip(word, letters, strict=True)
    )


def _latex_letter(letter: str) -> str:
    if letter.isascii() or letter in _LATEX:
        return _LATEX.get(letter, letter)
    name = unicodedata.name(letter, "").lower()
    if name.startswith("greek small letter ") and " with " not in name:
        word = name.removeprefix("greek small letter ")
        return rf"$\{_GREEK.get(word, word)}$"
    if name.startswith("greek capital letter "):
        word = name.removeprefix("greek capital letter ").replace("lamda", "lambda").capitalize()
        return rf"$\{word}$" if word in _CAPITALS else f"(U+{ord(letter):04X})"
    base, *accents = list(unicodedata.normalize("NFD", letter))
    known = base.isascii() and base.isalpha() and len(accents) == 1 and accents[0] in _ACCENTS
    return letter if known or letter in "ßæøåœÆØÅŒ" else f"(U+{ord(letter):04X})"


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


def markdown_rows(rows: list[list[str]]) -> str:
    """A header and rows of plain text as a Markdown table."""
    rows = [[markdown_text(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
