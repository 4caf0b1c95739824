"""The evidence's own questions: where does ISDA help? Each has planned runs, a criterion and one answer.

The questions and criteria stand in conf/experiment/evidence_*.yaml, committed before the first run. A
question is answered when all its planned runs are finished; before that its numbers are preliminary.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isda_bench.reporting.columns import p_text
from isda_bench.reporting.criteria import FAILS, HOLDS, Effects, decide, falling, larger, slopes
from isda_bench.reporting.inference import (
    LEVEL,
    detectable,
    interval,
    welch_detectable,
    welch_interval,
    welch_p,
)
from isda_bench.reporting.pairing import BASELINE, with_planned_seeds
from isda_bench.reporting.table import Table, TableRow

YES, NO, UNDECIDED, UNANSWERED = "yes", "no", "undecided", "not answered yet"
COVERAGE = f"{100 * (1 - LEVEL):.0f}%"


@dataclass(frozen=True)
class AnsweredQuestion:
    """A question with what its runs say.

    Attributes:
        question: ends with a question mark.
        criterion: what decides it.
        verdict: YES, NO, UNDECIDED, or UNANSWERED while planned runs are missing.
        done: finished runs of those planned.
        planned: runs.
        numbers: a sentence for each effect.
    """

    question: str
    criterion: str
    verdict: str
    done: int
    planned: int
    numbers: tuple[str, ...]


def answered_questions(tables: Mapping[str, Table]) -> list[AnsweredQuestion]:
    """All questions, the most important first. Only the seeds that an experiment plans count.

    Args:
        tables: at least `evidence_sizes`, `evidence_updates`, `evidence_classes`, `evidence_resnet20`,
            `evidence_methods` and `evidence_generators`.
    """
    names = ("sizes", "updates", "classes", "resnet20", "methods", "generators")
    own = [tables[f"evidence_{name}"] for name in names]
    sizes, updates, classes, resnet20, methods, generators = (
        replace(table, lines=tuple(with_planned_seeds(table.lines))) for table in own
    )
    return [
        fewer_samples(sizes, updates),
        *(more_classes(sizes, classes, size, relative) for size in (5000, 500) for relative in (False, True)),
        all_images(resnet20),
        lowest_error(methods),
        generated_images(generators),
    ]


def fewer_samples(sizes: Table, updates: Table) -> AnsweredQuestion:
    """Whether the gain falls with the size of the training set; the sensitivity to the updates beside it."""
    rows = {row.at.train_size or 0: row for row in _isda(sizes)}
    gains = {size: _gains(row) for size, row in sorted(rows.items())}
    seeds = sorted(set.intersection(*map(set, gains.values()))) if gains else []
    numbers = [_gain_text(f"{size:,} images", list(gain.values())) for size, gain in gains.items()]
    for row in _isda(updates):
        label = f"{row.at.train_size:,} images with the updates of 5,000 (no part of the criterion)"
        numbers.append(_gain_text(label, list(_gains(row).values())))
    effects = None
    if len(seeds) > 1 and len(gains) > 1:
        columns = [[gain[s] for s in seeds] for gain in gains.values()]
        effects = falling(columns, list(gains))
        slope = [float(value) for value in slopes(columns, list(gains))]
        label = "slope of the gain over the log of the size:"
        numbers.insert(0, _effect_text(label, slope, "points for e times the images"))
    return _answer(
        "Does ISDA help more where there are fewer samples?",
        f"One slope a seed, gain in points on log size: yes if its {COVERAGE} t interval lies below 0, no if "
        "above 0. Equal epochs confound the size with the number of updates.",
        sizes.lines,
        effects,
        numbers,
    )


def more_classes(sizes: Table, classes: Table, size: int, relative: bool) -> AnsweredQuestion:
    """Whether the gain on CIFAR-100 (5,000 images) is larger than on CIFAR-10 with `size` images.

    Args:
        sizes: of CIFAR-10.
        classes: of CIFAR-100.
        size: 5,000: as many images; 500: as many images a class.
        relative: the gain in percent of the baseline's error instead of in points.
    """
    unit = "percent of the baseline's error" if relative else "points"
    alike = "as many images" if size == 5000 else "as many images a class"
    small = [row for row in sizes.lines if row.at.train_size == size]
    here = _values(_isda(classes), relative)
    there = _values([row for row in _isda(sizes) if row.at.train_size == size], relative)
    numbers = [
        _gain_text("CIFAR-100, 5,000 images", here, unit),
        _gain_text(f"CIFAR-10, {size:,} images", there, unit),
    ]
    effects = None
    if min(len(here), len(there)) > 1:
        effects = larger(here, there)
        numbers.insert(0, _welch_text("gain on CIFAR-100 less that on CIFAR-10", here, there, unit))
    return _answer(
        f"Does ISDA help more where there are more classes, with {alike}, in {unit}?",
        f"Welch's t-test of the seeds' gains, two-sided, {100 * LEVEL:.0f}%.",
        [*classes.lines, *small],
        effects,
        numbers,
    )


def all_images(resnet20: Table) -> AnsweredQuestion:
    """Whether ISDA lowers a ResNet-20's error on all of CIFAR-100."""
    gains = [gain for row in _isda(resnet20) for gain in _gains(row).values()]
    return _answer(
        "Does ISDA help a ResNet-20 on all of CIFAR-100, in 40 epochs?",
        f"Paired t-test on the test errors, two-sided, {100 * LEVEL:.0f}%.",
        resnet20.lines,
        _effect_of_isda(resnet20),
        [_gain_text("50,000 images", gains)],
    )


def lowest_error(methods: Table) -> AnsweredQuestion:
    """Whether any method differs from cross-entropy with 1,000 images; each against it, Holm over all."""
    return _answer(
        "Is ISDA better than cross-entropy with 1,000 images of CIFAR-10, among the other methods?",
        f"Paired t-tests against {BASELINE}, Holm over the methods, {100 * LEVEL:.0f}%.",
        methods.lines,
        _effect_of_isda(methods),
        _each_method(methods),
    )


def generated_images(generators: Table) -> AnsweredQuestion:
    """Whether images of each generator lower the error with as many updates; Holm over the generators."""
    pairs = [row.paired for row in generators.lines if row.planned and row.paired]
    p = [math.nan if pair.holm_p is None else pair.holm_p for pair in pairs]
    return _answer(
        "Do generated images help with 1,000 images of CIFAR-10, with as many updates?",
        f"Paired t-tests against {BASELINE}, Holm over the generators, {100 * LEVEL:.0f}%: yes if each is "
        "better, no if one is worse.",
        generators.lines,
        Effects(np.array([-pair.mean for pair in pairs]), np.array(p)) if pairs else None,
        _each_method(generators),
    )


def markdown_answers(found: Iterable[AnsweredQuestion]) -> str:
    """The answers in Markdown, the answer before its numbers."""
    lines = []
    for answer in found:
        lines.append(f"- **{answer.question}** {answer.verdict.capitalize()}.")
        lines.append(f"  {answer.done} of {answer.planned} planned runs. Criterion: {answer.criterion}")
        lines += [f"  - {text}" for text in answer.numbers]
    return "\n".join(lines) + "\n"


def _answer(
    question: str, criterion: str, rows: Iterable[TableRow], effects: Effects | None, numbers: Sequence[str]
) -> AnsweredQuestion:
    own = [row for row in rows if row.planned]
    planned = sum(len(row.seeds) for row in own)
    done = planned - sum(len(row.missing) for row in own)
    verdict = UNANSWERED
    if done == planned:
        code = int(decide(effects).verdict) if effects is not None else 0
        verdict = {HOLDS: YES, FAILS: NO}.get(code, UNDECIDED)
    return AnsweredQuestion(question, criterion, verdict, done, planned, tuple(numbers))


def _each_method(table: Table) -> list[str]:
    """A sentence for each planned method, the lowest mean error first."""
    rows = [row for row in table.lines if row.planned]
    numbers = []
    for row in sorted(rows, key=lambda row: (math.isnan(row.mean), row.mean)):
        text = f"{row.at.method}: no finished run"
        if row.n:
            text = f"{row.at.method}: {row.mean:.2f}% (n = {row.n})"
        if row.paired:
            text += (
                f", {_with_interval(list(row.paired.differences.values()))} points to {row.paired.baseline}"
            )
            text += f", Holm's p {p_text(row.paired.holm_p)}" if row.paired.holm_p is not None else ""
        numbers.append(text)
    return numbers


def _isda(table: Table) -> list[TableRow]:
    """The planned rows with ISDA alone."""
    return [row for row in table.lines if row.planned and row.at.method.split(" (")[0] == "isda"]


def _effect_of_isda(table: Table) -> Effects | None:
    """Its mean gain, with Holm's p over the table's comparisons."""
    isda = next((row.paired for row in _isda(table)), None)
    if isda is None or isda.holm_p is None:
        return None
    return Effects(np.array([-isda.mean]), np.array([isda.holm_p]))


def _gains(row: TableRow) -> dict[int, float]:
    """Seed -> the baseline's error less ISDA's, in points."""
    return {seed: -d for seed, d in row.paired.differences.items()} if row.paired else {}


def _values(rows: Iterable[TableRow], relative: bool) -> list[float]:
    """The seeds' gains, in points or in percent of the baseline's error."""
    found = []
    for row in rows:
        for seed, gain in _gains(row).items():
            found.append(100 * gain / (row.errors[seed] + gain) if relative else gain)
    return found


def _gain_text(label: str, gains: Sequence[float], unit: str = "points") -> str:
    return _effect_text(f"{label}: gain", gains, unit) if gains else f"{label}: no pair of runs"


def _effect_text(label: str, values: Sequence[float], unit: str) -> str:
    """A mean over seeds with its interval and what so many seeds find."""
    text = f"{label} {_with_interval(values)} {unit}, n = {len(values)}"
    found = detectable(statistics.stdev(values), len(values)) if len(values) > 1 else math.nan
    return text if math.isnan(found) else f"{text}; {len(values)} seeds find {found:.2f} at 80% power"


def _welch_text(label: str, ours: Sequence[float], theirs: Sequence[float], unit: str) -> str:
    """A difference of two means with Welch's interval and p, and what such runs find."""
    text = f"{label}: {statistics.fmean(ours) - statistics.fmean(theirs):+.2f}"
    low, high = (float(bound) for bound in welch_interval(ours, theirs))
    if math.isnan(low):
        return f"{text} {unit}"
    text += f" [{low:+.2f}, {high:+.2f}] {unit}, p {p_text(float(welch_p(ours, theirs)))}"
    text += f", n = {len(ours)} and {len(theirs)}"
    return f"{text}; such runs find {welch_detectable(ours, theirs):.2f} at 80% power"


def _with_interval(values: Sequence[float] | np.ndarray) -> str:
    low, high = (float(bound) for bound in interval(values))
    mean = f"{float(np.mean(values)):+.2f}"
    return mean if math.isnan(low) else f"{mean} [{low:+.2f}, {high:+.2f}]"
