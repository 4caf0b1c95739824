"""A table's comparisons in words, a line each: better, worse, or no significant difference."""

from typing import NamedTuple

from isda_bench.experiments.selection import CHOSEN
from isda_bench.reporting.columns import mean_and_std, p_text
from isda_bench.reporting.inference import LEVEL
from isda_bench.reporting.table import Paired, Table, TableRow

BETTER, WORSE, OPEN = "better", "worse", "open"
WIDE = 2.0
"""Points from which on an interval is printed with one decimal."""


class Answer(NamedTuple):
    """A comparison in words.

    Attributes:
        kind: BETTER, WORSE (than the baseline, by Holm's p) or OPEN.
        subject: what is compared, where: 'isda against cross_entropy, resnet8 on digits, 200 images'.
        text: the finding with its numbers.
    """

    kind: str
    subject: str
    text: str


def answers(table: Table) -> list[Answer]:
    """One for each line that is compared with its baseline: the experiment's own first."""
    compared = [line for line in table.lines if line.paired is not None]
    several = len({setting_text(table, line) for line in table.lines}) > 1
    found = []
    for line in sorted(compared, key=lambda line: not line.planned):
        assert line.paired is not None
        kind, text = _finding(line.paired)
        place = [setting_text(table, line)] if several else []
        subject = f"{line.method} against {line.paired.baseline}"
        found.append(Answer(kind, ", ".join([subject, *place]), text))
    return found


def headline(table: Table) -> str:
    """The table's answer in a sentence."""
    found = answers(table)
    if not found:
        return _without_comparison(table)
    if len(found) == 1:
        return f"{found[0].subject}: {found[0].text}"
    if all(answer.kind == OPEN for answer in found):
        return f"no significant difference in any of {len(found)} comparisons"
    counts = {kind: sum(answer.kind == kind for answer in found) for kind in (BETTER, WORSE, OPEN)}
    texts = {BETTER: "better than the baseline", WORSE: "worse", OPEN: "without a significant difference"}
    parts = [f"{count} {texts[kind]}" for kind, count in counts.items() if count]
    return f"{len(found)} comparisons: {', '.join(parts)}"


def setting_text(table: Table, line: TableRow) -> str:
    """'resnet8 on cifar10, 1,000 images, cutout': where the line stands, without its method."""
    at = line.at
    parts = [f"{table.label(at.model)} on {table.label(at.dataset)}"]
    parts += [f"{at.train_size:,} images"] if at.train_size else []
    parts += [at.augment] if at.augment != "standard" else []
    parts += ["images drawn anew for each seed"] if at.resample else []
    return ", ".join([*parts, *line.deviations])


def seeds_text(count: int) -> str:
    """'1 seed', '3 seeds'."""
    return f"{count} seed{'s' if count != 1 else ''}"


def _finding(paired: Paired) -> tuple[str, str]:
    seeds = seeds_text(paired.n)
    bounds = paired.interval
    if bounds is None:
        reason = "one seed gives no test" if paired.n == 1 else "no test without variance"
        return OPEN, f"undecided, {seeds}, {paired.mean:.2f} points; {reason}"
    decimals = 1 if bounds[1] - bounds[0] >= WIDE else 2
    mean, low, high = (_signed(value, decimals) for value in (paired.mean, *bounds))
    numbers = f"{seeds}, {mean} [{low}, {high}]"
    if paired.holm_p is None or paired.holm_p >= LEVEL:
        return OPEN, f"no significant difference, {numbers} points"
    kind = BETTER if paired.mean < 0 else WORSE
    p = p_text(paired.holm_p)
    return kind, f"{kind}, {numbers} points, Holm's p {p if p.startswith('<') else f'= {p}'}"


def _signed(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _without_comparison(table: Table) -> str:
    with_runs = [line for line in table.lines if line.errors]
    if not with_runs:
        return "nothing has run yet"
    choices = sum(line.planned and line.note == CHOSEN for line in with_runs)
    if table.split == "validation" and choices:
        return f"{choices} {'choice' if choices == 1 else 'choices'} made on held-out images"
    where = {setting_text(table, line) for line in with_runs}
    if len(where) > 1 or len(with_runs) == 1:
        return "no comparison yet: no method and its baseline have runs of the same seed"
    best = min(with_runs, key=lambda line: line.mean)
    error = mean_and_std(best.mean, best.std).replace("+-", "±")
    return f"lowest {table.split} error so far: {best.method}, {error} % ({seeds_text(best.n)})"
