"""Decides a claim from numbers: effects with p-values, then one of three verdicts.

All functions keep leading axes, so that `false_positives` simulates the very code that decides. An effect
above 0 speaks for the claim. A comparison decides nothing unless its p is below `LEVEL`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from isda_bench.reporting.inference import LEVEL, Floats, holm, paired_p, welch_p

HOLDS, OPEN, FAILS = 1, 0, -1


class Effects(NamedTuple):
    """Comparisons of one setting.

    Attributes:
        sizes: (..., m), above 0 in favour of the claim.
        p: (..., m), two-sided, adjusted over the m; NaN where there is no test.
    """

    sizes: Floats
    p: Floats


class Decision(NamedTuple):
    """The verdict of a setting on a claim.

    Attributes:
        verdict: (...), `HOLDS` where every comparison favours the claim, `FAILS` where one speaks against it.
        contrary: (...), the smallest p of a comparison that speaks against it; 1 where there is none.
    """

    verdict: Floats
    contrary: Floats


def lowest(ours: ArrayLike, others: ArrayLike) -> Effects:
    """The best of our methods against each other method, paired by seed, with Holm's p over the others.

    Args:
        ours: (..., k, n), errors; of k the one with the lowest mean is compared.
        others: (..., m, n).
    """
    mine, theirs = np.asarray(ours, float), np.asarray(others, float)
    best = mine.mean(-1).argmin(-1)[..., None, None]
    differences = theirs - np.take_along_axis(mine, best, -2)
    return Effects(differences.mean(-1), holm(paired_p(differences)))


def larger(first: ArrayLike, second: ArrayLike) -> Effects:
    """The mean of the first, (..., n), above that of the second, (..., m), by Welch's test."""
    effect = np.asarray(first, float).mean(-1) - np.asarray(second, float).mean(-1)
    return Effects(np.asarray(effect)[..., None], welch_p(first, second)[..., None])


def slopes(gains: ArrayLike, sizes: Sequence[float]) -> Floats:
    """One slope a seed, of gain on log size.

    A seed's subsets lie in each other, so that its gains are not independent: no fit pools them.

    Args:
        gains: (..., sizes, n) in points, a column a seed.
        sizes: numbers of training images, at least two.

    Returns:
        (..., n), in points for a factor of e.
    """
    logs = np.log(np.asarray(sizes, float))
    weights = (logs - logs.mean()) / np.square(logs - logs.mean()).sum()
    return np.asarray(np.einsum("s,...sn->...n", weights, np.asarray(gains, float)))


def falling(gains: ArrayLike, sizes: Sequence[float]) -> Effects:
    """The mean of one slope a seed below 0 by its t interval.

    Args:
        gains: as in `slopes`.
        sizes: as in `slopes`.
    """
    slope = slopes(gains, sizes)
    return Effects(-slope.mean(-1)[..., None], paired_p(slope)[..., None])


def at_most(values: ArrayLike, limit: float) -> Effects:
    """The mean of the values, (..., n), at most `limit`, by the one-sample t-test."""
    room = limit - np.asarray(values, float)
    return Effects(room.mean(-1)[..., None], paired_p(room)[..., None])


def opposite(effects: Effects) -> Effects:
    """Of the opposite claim."""
    return Effects(-effects.sizes, effects.p)


def decide(effects: Effects) -> Decision:
    """The verdict of a setting."""
    sure = effects.p < LEVEL  # never for NaN
    holds = (sure & (effects.sizes > 0)).all(-1)
    fails = (sure & (effects.sizes < 0)).any(-1)
    against = np.where(effects.sizes < 0, np.nan_to_num(effects.p, nan=1.0), 1.0)
    return Decision(np.where(holds, HOLDS, np.where(fails, FAILS, OPEN)), against.min(-1))


def over_settings(decisions: Decision) -> Floats:
    """The claim's verdict from its settings, (..., s) to (...).

    It holds where it holds in all; it fails where it fails in one, the p adjusted over the settings (Holm's
    first step): of many settings one would else fail by chance.
    """
    count = decisions.verdict.shape[-1]
    holds = (decisions.verdict == HOLDS).all(-1)
    fails = decisions.contrary.min(-1) * count < LEVEL
    return np.where(holds, HOLDS, np.where(fails, FAILS, OPEN))
