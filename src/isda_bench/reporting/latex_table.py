r"""A table in LaTeX as papers print it: \input it, with the packages booktabs and graphicx; edit nothing."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from isda_bench.reporting.columns import mean_and_std, measure_text, published_text, top5_text
from isda_bench.reporting.display_names import display_name
from isda_bench.reporting.escape import latex_breakable, latex_comment, latex_text
from isda_bench.reporting.grid import Grid, GridGroup, GridRow, grid
from isda_bench.reporting.inference import LEVEL
from isda_bench.reporting.table import Table, TableRow, marks_of
from isda_bench.reporting.table_notes import assumption_notes, source_notes
from isda_bench.storage.records import PROTOCOLS

PAGE = 44
"""Rows of a float without notes: it is no taller than a page, also in two columns."""
NOTE_LETTERS, NOTE_HEIGHT = 62, 0.85
"""Letters of a line of notes in a narrow column, and its height in rows."""
GROUP_HEIGHT = 1.5
"""A group's heading and the space above it, in rows."""
FEWEST_ROWS = 12
ROOM, ROOM_WITH_PUBLISHED = 4, 2
"""Columns across; runs that deviate have data sets alone there."""
DASH = "--"
BEST, SECOND = r"\textbf{%s}", r"\underline{%s}"


def latex(table: Table) -> str:
    """The table's own cells, then the runs that deviate from them, in floats of their own."""
    own = [line for line in table.lines if line.planned]
    deviating = [line for line in table.lines if not line.planned]
    floats = _floats(table, own, table.title, "")
    if deviating:
        floats += _floats(table, deviating, f"{table.title}: runs with other settings", "-deviating")
    head = f"% {table.name}: \\usepackage{{booktabs,graphicx}}; made by isda-bench tables"
    return "\n".join([latex_comment(head), *floats]) + "\n"


def _floats(table: Table, lines: list[TableRow], title: str, suffix: str) -> list[str]:
    """One float, or several where one would be taller than a page."""
    part = replace(table, lines=tuple(lines))
    room = ROOM_WITH_PUBLISHED if any(line.published for line in lines) else ROOM
    layout = grid(part, lines, 0 if suffix else room)
    styles = {cell: style for group in layout.groups for cell, style in _styles(group.rows).items()}
    found = []
    pages = _pages(layout.groups, _room(_Page(part, layout, styles).notes()))
    for number, groups in enumerate(pages):
        shown = [line for group in groups for row in group.rows for line in row.cells.values()]
        page = _Page(replace(part, lines=tuple(shown)), replace(layout, groups=groups), styles)
        label = re.sub(r"[^\w-]", "-", table.name, flags=re.ASCII) + suffix
        more = f" ({number + 1} of {len(pages)})" if len(pages) > 1 else ""
        found.append(page.text(f"{title}{more}", label + f"-{number + 1}" * (number > 0)))
    return found


def _room(notes: list[str]) -> int:
    """Rows for which there is room on a page above these notes."""
    lines = sum(1 + len(note) // NOTE_LETTERS for note in notes)
    return max(FEWEST_ROWS, int(PAGE - NOTE_HEIGHT * lines))


def _pages(groups: list[GridGroup], most: int) -> list[list[GridGroup]]:
    """The groups of each float, of at most so many rows; one that is longer is cut."""
    pages: list[list[GridGroup]] = [[]]
    room: float = most
    for group in groups:
        rows = group.rows
        while rows:
            if room < min(len(rows), most) + GROUP_HEIGHT and room < most:
                pages.append([])
                room = most
            fitting, rows = rows[:most], rows[most:]
            pages[-1].append(replace(group, rows=fitting))
            room -= len(fitting) + GROUP_HEIGHT
    return pages


class _Page:
    """One float.

    Args:
        table: with the lines of this float alone.
        layout: of these lines.
        styles: cell -> how its value is set.
    """

    def __init__(self, table: Table, layout: Grid, styles: dict[str, str]) -> None:
        self.table, self.layout, self.styles = table, layout, styles
        self.marks = marks_of(map(_footnote, table.lines))
        finished = [line for line in table.lines if line.errors]
        self.counts = sorted({line.n for line in finished})
        self.counted = len(self.counts) > 1 or any(line.missing for line in finished)
        self.subcolumns = self._subcolumns()

    def text(self, title: str, label: str) -> str:
        """The float."""
        columns = len(self.layout.columns) * len(self.subcolumns)
        notes = [rf"{latex_breakable(note)}\par" for note in self.notes()]
        box = [r"\par\smallskip", r"\parbox{\linewidth}{\scriptsize\raggedright", *notes, "}"]
        return "\n".join(
            [
                r"\begin{table}[tbp]",
                r"\centering",
                rf"\caption{{{latex_breakable(self._caption(title))}}}",
                rf"\label{{tab:{label}}}",
                r"\par\smallskip\footnotesize",
                r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
                rf"\begin{{tabular}}{{l{'c' * columns}}}",
                r"\toprule",
                *self._header(),
                r"\midrule",
                *self._body(columns),
                r"\bottomrule",
                r"\end{tabular}}",
                *(box if notes else []),
                r"\end{table}",
            ]
        )

    def _subcolumns(self) -> dict[str, Callable[[TableRow], str]]:
        """Header -> cell, of what is printed for each column; what is empty everywhere is left out."""
        found: dict[str, Callable[[TableRow], str]] = {
            "published": lambda line: latex_text(published_text(line.published)),
            "also published": lambda line: latex_text(published_text(line.also_published)),
            "top-5": lambda line: latex_text(measure_text(line, "top5_error")),
            "published top-5": lambda line: latex_text(top5_text(line)),
        }
        filled = {name: text for name, text in found.items() if any(map(text, self.table.lines))}
        if not any(line.published and line.published.top5_error for line in self.table.lines):
            filled.pop("top-5", None)
        return {"ours": self._own, **filled}

    def _header(self) -> list[str]:
        columns = [latex_text(column) for column in self.layout.columns]
        width = len(self.subcolumns)
        if width == 1:
            return [" & ".join([self.layout.stub, *columns]) + r" \\"]
        spans = [rf"\multicolumn{{{width}}}{{c}}{{{column}}}" for column in columns]
        starts = [2 + width * i for i in range(len(columns))]
        rules = "".join(rf"\cmidrule(lr){{{start}-{start + width - 1}}}" for start in starts)
        below = [latex_text(name) for name in self.subcolumns] * len(columns)
        return [" & ".join(["", *spans]) + r" \\", rules, " & ".join([self.layout.stub, *below]) + r" \\"]

    def _body(self, columns: int) -> list[str]:
        lines = []
        for number, group in enumerate(self.layout.groups):
            if number:
                lines.append(r"\addlinespace")
            if group.heading:
                lines.append(
                    rf"\multicolumn{{{columns + 1}}}{{l}}{{\textit{{{latex_text(group.heading)}}}}} \\"
                )
            lines += [self._row(row) for row in group.rows]
        return lines

    def _row(self, row: GridRow) -> str:
        texts = [latex_text(row.label)]
        for column in self.layout.columns:
            line = row.cells.get(column)
            for name, text in self.subcolumns.items():
                cell = (text(line) if line else "") or DASH
                texts.append(self._styled(cell, line) if line and line.errors and name == "ours" else cell)
        return " & ".join(texts) + r" \\"

    def _own(self, line: TableRow) -> str:
        return latex_text(mean_and_std(line.mean, line.std)) if line.errors else ""

    def _styled(self, cell: str, line: TableRow) -> str:
        """Our value with its style, the number of runs and its marks."""
        mark = self.marks.get(_footnote(line), "")
        raised = ",".join(filter(None, ("*" * _differs(line), mark)))
        whole = f"{line.n} of {line.n + len(line.missing)}" if line.missing else str(line.n)
        count = f" ({whole})" if self.counted else ""
        return (
            self.styles.get(line.cell, "%s").replace("%s", cell)
            + count
            + (rf"\textsuperscript{{{raised}}}" if raised else "")
        )

    def _caption(self, title: str) -> str:
        about = ", ".join(self.layout.everywhere)
        what = PROTOCOLS[self.table.protocol]
        sentences = [
            f"{title}{'' if title.endswith(('?', '.', '!')) else '.'}",
            f"{about}." if about else "",
            f"{self.table.split.capitalize()} error in %, lower is better: {what}{self._over_runs()}.",
        ]
        if any(line.cell in self.styles for line in self.table.lines):
            among = " in each group" if len(self.layout.groups) > 1 else ""
            sentences.append(f"Bold: lowest of a column{among}; underlined: second lowest.")
        return " ".join(filter(None, sentences))

    def _over_runs(self) -> str:
        if not self.counts:
            return ""
        if self.counted:
            return ", mean ± standard deviation over runs, their number n in parentheses"
        (n,) = self.counts
        return f", n = {n} runs, mean ± standard deviation" if n > 1 else ", n = 1 run"

    def notes(self) -> list[str]:
        """The notes below it."""
        lines = self.table.lines
        cells = len(self.layout.columns) * sum(len(group.rows) for group in self.layout.groups)
        notes = (
            [f"{DASH} not run or not planned."] if sum(bool(line.errors) for line in lines) < cells else []
        )
        baselines = dict.fromkeys(line.paired.baseline for line in lines if line.paired and _differs(line))
        if baselines:
            notes.append(
                f"* differs from {' or '.join(map(display_name, baselines))}: paired t-test over common "
                f"seeds, two-sided, p < {LEVEL} by Holm's method."
            )
        notes += source_notes(self.table) + assumption_notes(self.table)
        notes += self.table.notes
        return notes + [f"{mark}: {text}." for text, mark in self.marks.items()]


def _styles(rows: Sequence[GridRow]) -> dict[str, str]:
    """Cell -> style, for the lowest and the second lowest mean of each column."""
    columns: dict[str, list[TableRow]] = {}
    for row in rows:
        for column, line in row.cells.items():
            columns.setdefault(column, []).append(line)
    return {cell: style for lines in columns.values() for cell, style in _ranked(lines).items()}


def _ranked(lines: Sequence[TableRow]) -> dict[str, str]:
    """The styles of a column's finished cells.

    Those with fewer runs than the others are not compared: a single run may be lucky. Means that are printed
    alike are equal.
    """
    finished = [line for line in lines if line.errors and not line.missing]
    most = max((line.n for line in finished), default=0)
    means = {line.cell: round(line.mean, 2) for line in finished if line.n == most}
    if len(means) < 2:
        return {}
    ranked = sorted(set(means.values()))[:2]
    styles = dict(zip(ranked, (BEST, SECOND), strict=False))
    return {cell: styles[mean] for cell, mean in means.items() if mean in styles}


def _differs(line: TableRow) -> bool:
    """Whether the line's method differs from its baseline, by Holm's p."""
    return bool(line.paired and line.paired.holm_p is not None and line.paired.holm_p < LEVEL)


def _footnote(line: TableRow) -> str:
    """The footnote of a cell; empty where it has no run."""
    return "; ".join(filter(None, (line.footnote, line.remark))) if line.errors else ""
