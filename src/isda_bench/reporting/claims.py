"""The paper's claims against the records: each holds, does not hold, or is undecided.

A claim is looked at in every setting (network, data set, ...) that the tables have; its verdict comes from
the paper's own settings alone, others are reported beside it. `CLAIMS` is the table of claims; criteria.py
decides.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from isda_bench.reporting import evidence as find
from isda_bench.reporting.criteria import FAILS as FAILS_CODE
from isda_bench.reporting.criteria import HOLDS as HOLDS_CODE
from isda_bench.reporting.criteria import Decision, decide, over_settings
from isda_bench.reporting.escape import markdown_text
from isda_bench.reporting.evidence import COMPETITIVE, ENOUGH_RUNS, NEGLIGIBLE, Case
from isda_bench.reporting.false_positives import (
    CORRELATIONS,
    DRAWS,
    STD,
    Rates,
    of_falling,
    of_larger,
    of_limit,
    of_lowest,
)
from isda_bench.reporting.inference import LEVEL
from isda_bench.reporting.table import Table

HOLDS, FAILS, OPEN = "holds", "does not hold", "undecided"
WORDS = {HOLDS_CODE: HOLDS, FAILS_CODE: FAILS}


@dataclass(frozen=True)
class Evidence:
    """A claim in one setting.

    Attributes:
        setting: network, data set, deviations.
        verdict: HOLDS, FAILS or OPEN.
        numbers: what decided it.
        planned: whether it is a setting of the paper's.
        known: whether it has enough runs to be looked at.
        contrary: the smallest p against the claim; null: 0 where it fails, else 1.
    """

    setting: str
    verdict: str
    numbers: str
    planned: bool
    known: bool = True
    contrary: float | None = None


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, its criterion, and its evidence.

    Attributes:
        statement: of the paper.
        criterion: in words.
        evidence: of each setting.
        chance: how often the criterion decides by chance; None where the plan has no such setting.
    """

    statement: str
    criterion: str
    evidence: tuple[Evidence, ...]
    chance: Rates | None = None

    @property
    def verdict(self) -> str:
        """From the paper's own settings."""
        planned = [e for e in self.evidence if e.planned]
        if not planned:
            return OPEN
        codes = {word: code for code, word in WORDS.items()}
        verdicts = np.array([codes.get(e.verdict, 0) for e in planned])
        contrary = np.array([_contrary(e) for e in planned])
        return WORDS.get(int(over_settings(Decision(verdicts, contrary))), OPEN)


class Row(NamedTuple):
    """A row of the table of claims.

    Attributes:
        statement: of the paper.
        criterion: in words.
        table: the experiment that it is about.
        cases: its settings with their effects, from the table and the records.
        chance: rates of false positives for settings like these.
    """

    statement: str
    criterion: str
    table: str
    cases: Callable[[Table, pd.DataFrame], list[Case]]
    chance: Callable[[Sequence[Case]], Rates]


CLAIMS = (
    Row(
        "ISDA has a lower error than every other method.",
        "The lowest mean error of all planned methods is ISDA's, plain or with dropout, and the paired "
        f"t-test against each other method has a Holm-adjusted p below {LEVEL}; it fails where another "
        f"method is lower by such a p; {ENOUGH_RUNS} common seeds of all.",
        "comparison",
        find.of_lowest_error,
        lambda cases: of_lowest(tuple(case.design for case in cases)),
    ),
    Row(
        "ISDA gains more on CIFAR-100 than on CIFAR-10.",
        "For each network the mean paired gain in points is larger there, by Welch's t-test of the gains at "
        f"{LEVEL}; {ENOUGH_RUNS} common seeds each.",
        "journal_table_2",
        find.of_both_data_sets,
        lambda cases: of_larger(tuple(case.design for case in cases)),
    ),
    Row(
        "Center loss is competitive with ISDA on CIFAR-10 only.",
        f"Its mean error is at most {COMPETITIVE} points above ISDA's on CIFAR-10 and more than that on "
        f"CIFAR-100, by the paired t-test at {LEVEL}; {ENOUGH_RUNS} common seeds.",
        "comparison",
        find.of_center_loss,
        lambda cases: of_limit(tuple(case.design[0] for case in cases)),
    ),
    Row(
        "ISDA gains more with fewer training samples.",
        "The mean of one slope a seed (paired gain in points on the log of the training size) is negative "
        f"and its {100 * (1 - LEVEL):.0f}% t interval excludes 0; all sizes (of deviating runs at least 3), "
        f"{ENOUGH_RUNS} common seeds.",
        "small_data",
        find.of_training_sizes,
        lambda cases: of_falling(tuple((case.design[:-1], case.design[-1]) for case in cases)),
    ),
    Row(
        "ISDA's additional cost is negligible.",
        "The mean time that ISDA adds, over pairs of runs on one kind of GPU that differ in the loss alone, "
        f"is below {100 * NEGLIGIBLE:.0f}%, by the t-test of the log ratios at {LEVEL}; {ENOUGH_RUNS} pairs.",
        "journal_table_2",
        find.of_cost,
        lambda cases: of_limit(tuple(case.design[0] for case in cases)),
    ),
)


def check_claims(tables: dict[str, Table], records: pd.DataFrame) -> list[Claim]:
    """All claims.

    Args:
        tables: at least `comparison`, `journal_table_2` and `small_data`, by name.
        records: as read_records gives them; for the cost.
    """
    claims = []
    for row in CLAIMS:
        cases = row.cases(tables[row.table], records)
        planned = [case for case in cases if case.planned and case.design]
        chance = row.chance(planned) if planned else None
        criterion = f"{row.criterion} A claim of several settings fails by a p adjusted over them."
        claims.append(Claim(row.statement, criterion, tuple(map(_evidence, cases)), chance))
    return claims


def markdown_claims(claims: Iterable[Claim]) -> str:
    """The claims with their evidence, in Markdown; settings of which nothing has run are counted only."""
    parts = []
    for claim in claims:
        parts.append(f"- **{claim.statement}** {claim.verdict.capitalize()}.")
        parts.append(f"  Criterion: {claim.criterion}")
        parts += [f"  {line}" for line in chance_text(claim)]
        parts += [f"  - {_text(e)}" for e in claim.evidence if e.known]
        lacking = [e for e in claim.evidence if not e.known]
        parts += [f"  - {_text(e)}" for e in lacking if len(lacking) <= 4]
        if len(lacking) > 4:
            parts.append(f"  - not enough runs in {len(lacking)} more settings")
    return "\n".join(parts) + "\n"


def chance_text(claim: Claim) -> list[str]:
    """The rates of false positives, as a sentence; none where the plan has no such setting."""
    if claim.chance is None:
        return []
    correlations = " and ".join(f"{value:g}" for value in CORRELATIONS)
    return [
        f"Decided by chance, in {DRAWS:,} simulated results without any effect, or at the limit (planned "
        f"runs, standard deviation {STD} points, correlation {correlations} between methods): {claim.chance}."
    ]


def _evidence(case: Case) -> Evidence:
    found = Evidence(case.setting, OPEN, case.numbers, case.planned, known=case.effects is not None)
    if case.effects is None:
        return found
    decision = decide(case.effects)
    verdict = WORDS.get(int(decision.verdict), OPEN)
    return replace(found, verdict=verdict, contrary=float(decision.contrary))


def _contrary(evidence: Evidence) -> float:
    if evidence.contrary is None:
        return 0.0 if evidence.verdict == FAILS else 1.0
    return evidence.contrary


def _text(evidence: Evidence) -> str:
    outside = "" if evidence.planned else " (not the paper's setting)"
    return markdown_text(f"{evidence.setting}{outside}: {evidence.verdict}; {evidence.numbers}.")
