"""Rates of decisions by chance, for each criterion: simulated runs without any effect."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

import numpy as np

from isda_bench.reporting.criteria import (
    FAILS,
    HOLDS,
    Decision,
    Effects,
    at_most,
    decide,
    falling,
    larger,
    lowest,
    over_settings,
)
from isda_bench.reporting.inference import Floats

DRAWS = 10_000
STD = 0.35
"""Standard deviation over seeds of an error, in points."""
CORRELATIONS = (0.0, 0.5)
"""Between the methods' errors with one seed."""


class Rates(NamedTuple):
    """Shares of simulated results, the larger of those for `CORRELATIONS`.

    Attributes:
        holds: in which the claim is said to hold.
        fails: in which it is said not to hold.
        setting_holds: the same in a single setting, the largest of all settings.
        setting_fails: in which it is said not to hold in a single setting, the largest of all settings.
    """

    holds: float
    fails: float
    setting_holds: float
    setting_fails: float

    def __str__(self) -> str:
        shares = tuple(f"{100 * share:.1f}%" for share in self)
        return (
            f"holds {shares[0]}, does not hold {shares[1]}; in a single setting at most {shares[2]} and "
            f"{shares[3]}"
        )


Draw = Callable[[tuple[int, ...]], Floats]
"""Shape (..., methods, n) -> errors; methods are correlated."""


@cache
def of_lowest(settings: tuple[tuple[int, int, int], ...], draws: int = DRAWS) -> Rates:
    """For "ours is the lowest"; a setting is (our methods, others, seeds)."""

    def setting(draw: Draw, ours: int, others: int, n: int) -> Effects:
        errors = draw((ours + others, n))
        return lowest(errors[:, :ours], errors[:, ours:])

    return _rates([lambda draw, s=s: setting(draw, *s) for s in settings], draws)  # type: ignore[misc]


@cache
def of_larger(settings: tuple[tuple[int, int], ...], draws: int = DRAWS) -> Rates:
    """For "gains more here than there"; a setting is (seeds here, seeds there)."""

    def gains(draw: Draw, n: int) -> Floats:
        errors = draw((2, n))
        return errors[:, 0] - errors[:, 1]

    def setting(draw: Draw, here: int, there: int) -> Effects:
        return larger(gains(draw, here), gains(draw, there))

    return _rates([lambda draw, s=s: setting(draw, *s) for s in settings], draws)  # type: ignore[misc]


@cache
def of_falling(settings: tuple[tuple[tuple[int, ...], int], ...], draws: int = DRAWS) -> Rates:
    """For "gains more with fewer images"; a setting is (sizes, seeds)."""

    def setting(draw: Draw, sizes: tuple[int, ...], n: int) -> Effects:
        gains = [errors[:, 0] - errors[:, 1] for errors in (draw((2, n)) for _ in sizes)]
        return falling(np.stack(gains, 1), sizes)

    return _rates([lambda draw, s=s: setting(draw, *s) for s in settings], draws)  # type: ignore[misc]


@cache
def of_limit(settings: tuple[int, ...], draws: int = DRAWS) -> Rates:
    """For "at most this much": two methods whose true difference is the limit; a setting is its seeds."""

    def setting(draw: Draw, n: int) -> Effects:
        errors = draw((2, n))
        return at_most(errors[:, 0] - errors[:, 1], 0.0)

    return _rates([lambda draw, n=n: setting(draw, n) for n in settings], draws)  # type: ignore[misc]


def _rates(settings: Iterable[Callable[[Draw], Effects]], draws: int) -> Rates:
    found = []
    for correlation in CORRELATIONS:
        rng = np.random.default_rng(0)

        def draw(shape: tuple[int, ...], rng: np.random.Generator = rng, r: float = correlation) -> Floats:
            shared = rng.standard_normal((draws, 1, shape[-1]))
            own = rng.standard_normal((draws, *shape))
            return STD * (np.sqrt(r) * shared + np.sqrt(1 - r) * own)

        decisions = [decide(setting(draw)) for setting in settings]
        verdicts, contrary = (np.stack(part, -1) for part in zip(*decisions, strict=True))
        claim = over_settings(Decision(verdicts, contrary))
        shares = [(verdicts == verdict).mean(0).max() for verdict in (HOLDS, FAILS)]
        found.append([(claim == HOLDS).mean(), (claim == FAILS).mean(), *shares])
    return Rates(*(float(share) for share in np.max(found, axis=0)))
