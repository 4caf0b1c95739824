"""The evidence's questions: answered by the criterion, and only when all planned runs are finished."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from isda_bench.experiments.coordinates import Coordinates
from isda_bench.reporting.questions import (
    NO,
    UNANSWERED,
    UNDECIDED,
    YES,
    all_images,
    answered_questions,
    fewer_samples,
    generated_images,
    lowest_error,
    markdown_answers,
    more_classes,
)
from isda_bench.reporting.table import Paired, Table, TableRow

SIZES = (500, 1000, 2500, 5000)


def table(name, gains, *, missing=0, holm_p=None):
    """A table with cross-entropy at 50% and ISDA better by these gains.

    Args:
        name: of the experiment.
        gains: (data set, images) -> gain of each seed.
        missing: seeds of each row without a finished run.
        holm_p: of ISDA's comparison.
    """
    rows = []
    for (dataset, size), values in gains.items():
        seeds = tuple(range(len(values) + missing))
        errors = {seed: 50.0 - gain for seed, gain in enumerate(values)}
        place = Coordinates(dataset, "resnet8", "standard", size, "cross_entropy", "test", resample=True)
        differences = {seed: -gain for seed, gain in enumerate(values)}
        paired = Paired(differences, "cross_entropy", holm_p=holm_p) if values else None
        rows.append(TableRow(f"ce{dataset}{size}", place, True, seeds, dict.fromkeys(errors, 50.0)))
        isda = place._replace(method="isda (strength=0.25)")
        rows.append(TableRow(f"isda{dataset}{size}", isda, True, seeds, errors, paired=paired))
    return Table(name, "", "last_10", "", tuple(rows))


def sizes(slope, seeds=12, noise=0.2, **settings):
    rng = np.random.default_rng(3)
    gains = {("cifar10", n): list(slope * np.log(n / 500) + noise * rng.normal(size=seeds)) for n in SIZES}
    return table("evidence_sizes", gains, **settings)


UPDATES = table("evidence_updates", {("cifar10", 1000): [0.5, 0.7, 0.6]})


@pytest.mark.parametrize("slope, verdict", [(-1.0, YES), (1.0, NO), (0.0, UNDECIDED)])
def test_the_slope_decides_whether_fewer_samples_gain_more(slope, verdict):
    found = fewer_samples(sizes(slope), UPDATES)
    assert found.verdict == verdict
    assert (found.done, found.planned) == (96, 96)
    assert len(found.numbers) == 1 + 4 + 1
    assert "updates of 5,000" in found.numbers[-1] and "+0.60 [+0.35, +0.85]" in found.numbers[-1]


def test_the_printed_slope_is_the_least_squares_one():
    found = sizes(-1.0)
    gains = np.array([[-d for d in r.paired.differences.values()] for r in found.lines if r.paired])
    slope = np.polyfit(np.log(SIZES), gains, 1)[0]
    low, high = stats.t.interval(0.95, 11, slope.mean(), stats.sem(slope))
    words = (
        f"{slope.mean():+.2f} [{low:+.2f}, {high:+.2f}] points for e times the images, n = 12; 12 seeds find"
    )
    assert words in fewer_samples(found, UPDATES).numbers[0]


def test_nothing_is_answered_before_all_planned_runs_are_finished():
    found = fewer_samples(sizes(-1.0, seeds=11, missing=1), UPDATES)
    assert found.verdict == UNANSWERED and (found.done, found.planned) == (88, 96)


def test_runs_that_deviate_count_for_nothing():
    own = sizes(-1.0)
    other = tuple(replace(row, planned=False, cell="x" + row.cell) for row in sizes(1.0).lines)
    both = replace(own, lines=own.lines + other)
    assert fewer_samples(both, UPDATES) == fewer_samples(own, UPDATES)


@pytest.mark.parametrize("relative", [False, True])
def test_classes_are_compared_by_welch(relative):
    rng = np.random.default_rng(1)
    small = rng.normal(0, 0.3, 12)
    large = small[:10] + 1 + rng.normal(0, 0.01, 10)
    ten = table("evidence_sizes", {("cifar10", 5000): list(small), ("cifar10", 500): list(small + 1)})
    hundred = table("evidence_classes", {("cifar100", 5000): list(large)})
    found = more_classes(ten, hundred, 5000, relative)
    assert found.verdict == YES and (found.done, found.planned) == (44, 44)
    expected = 100 * large.mean() / 50 if relative else large.mean()
    assert f"gain {expected:+.2f}" in found.numbers[1]
    other = 100 * small / 50 if relative else small
    ours = 100 * large / 50 if relative else large
    low, high = stats.ttest_ind(ours, other, equal_var=False).confidence_interval(0.95)
    unit = "percent of the baseline's error" if relative else "points"
    assert (
        f"{ours.mean() - other.mean():+.2f} [{low:+.2f}, {high:+.2f}] {unit}, p < 0.001, n = 10 and 12"
        in found.numbers[0]
    )
    assert more_classes(ten, hundred, 500, relative).verdict == UNDECIDED


def test_isda_among_the_methods_is_decided_by_holms_p():
    methods = {("cifar10", 1000): [1.0, 1.1, 0.9]}
    assert lowest_error(table("evidence_methods", methods, holm_p=0.01)).verdict == YES
    assert lowest_error(table("evidence_methods", methods, holm_p=0.2)).verdict == UNDECIDED
    worse = {("cifar10", 1000): [-1.0, -1.1, -0.9]}
    assert lowest_error(table("evidence_methods", worse, holm_p=0.01)).verdict == NO


@pytest.mark.parametrize(
    "gains, p, verdict",
    [
        ((1.0, 0.5), (0.01, 0.04), YES),
        ((1.0, 0.5), (0.01, 0.2), UNDECIDED),
        ((1.0, -0.5), (0.01, 0.04), NO),
        ((1.0, 0.5), (0.01, None), UNDECIDED),
    ],
)
def test_generated_images_help_where_each_generator_is_better(gains, p, verdict):
    row = table("evidence_generators", {("cifar10", 1000): [1.0, 1.1, 0.9]}).lines[1]
    rows = tuple(
        replace(row, cell=str(gain), paired=Paired(dict.fromkeys(range(3), -gain), "cross_entropy", holm_p=q))
        for gain, q in zip(gains, p, strict=True)
    )
    found = generated_images(Table("evidence_generators", "", "last_10", "", rows))
    assert found.verdict == verdict and (found.done, found.planned) == (6, 6)


def test_seeds_of_other_experiments_do_not_count():
    """Twelve seeds of a cell that the sizes share with the methods: of these five are planned."""
    found = table("evidence_methods", {("cifar10", 1000): [1.0, 1.1, 0.9, 5.0, 1.0, -9.0, -9.0]})
    five = tuple(replace(row, seeds=tuple(range(5))) for row in found.lines)
    empty = {("cifar10", size): [] for size in SIZES}
    tables = {
        f"evidence_{name}": table(name, empty)
        for name in ("sizes", "updates", "classes", "resnet20", "generators")
    }
    answer = answered_questions({**tables, "evidence_methods": replace(found, lines=five)})[-2]
    assert (answer.done, answer.planned) == (10, 10)
    p = stats.ttest_1samp([1.0, 1.1, 0.9, 5.0, 1.0], 0).pvalue
    assert any("48.20% (n = 5), -1.80 [" in text and f"Holm's p {p:.3f}" in text for text in answer.numbers)


@pytest.mark.parametrize("gain, holm_p, verdict", [(1.5, 0.01, YES), (-1.5, 0.01, NO), (0.1, 0.6, UNDECIDED)])
def test_all_images_are_answered_by_the_paired_test(gain, holm_p, verdict):
    gains = [gain - 0.1, gain, gain + 0.1]
    found = all_images(table("evidence_resnet20", {("cifar100", None): gains}, holm_p=holm_p))
    assert (found.verdict, found.done, found.planned) == (verdict, 6, 6)
    assert f"gain {gain:+.2f} [" in found.numbers[0]


def test_the_page_has_the_answer_before_its_numbers():
    empty = {("cifar10", size): [] for size in SIZES}
    tables = {
        "evidence_sizes": table("evidence_sizes", empty, missing=12),
        "evidence_updates": table("evidence_updates", {("cifar10", 1000): []}, missing=12),
        "evidence_classes": table("evidence_classes", {("cifar100", 5000): []}, missing=10),
        "evidence_resnet20": table("evidence_resnet20", {("cifar100", None): []}, missing=5),
        "evidence_methods": table("evidence_methods", {("cifar10", 1000): []}, missing=5),
        "evidence_generators": table("evidence_generators", {("cifar10", 1000): []}, missing=3),
    }
    page = markdown_answers(answered_questions(tables))
    assert page.count(UNANSWERED.capitalize()) == 8
    assert "0 of 96 planned runs" in page and "no pair of runs" in page
