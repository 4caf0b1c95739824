"""Tests, intervals and power for errors of runs that are paired by their seed.

Each function works along the last axis and keeps those before it, so that simulations are vectorised. NaN
stands for "no p": below two values, or without any variance. Only scipy.special is used: scipy.stats takes a
second to import.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import nctdtr, stdtr, stdtrit

LEVEL = 0.05
"""Of every test; the intervals cover 1 - LEVEL."""
POWER = 0.8
"""At which the smallest difference to be found is printed."""
NO_VARIANCE = 1e-9
"""Points of error below which a standard deviation is rounding: one image in a million is 1e-4 points."""

Floats = NDArray[np.float64]


def paired_p(differences: ArrayLike) -> Floats:
    """Two-sided p of the paired t-test: of the hypothesis that the mean difference is 0.

    Args:
        differences: (..., n), one a common seed.

    Returns:
        (...); NaN below two differences or without variance.
    """
    values = np.asarray(differences, float)
    mean, error = _mean_and_error(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * stdtr(values.shape[-1] - 1, -np.abs(mean / error)))


def interval(differences: ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Bounds of the t interval of the mean difference, for this comparison alone.

    Args:
        differences: (..., n), one a common seed.
        level: the interval covers 1 - level.

    Returns:
        Two of (...); NaN below two differences or without variance.
    """
    values = np.asarray(differences, float)
    mean, error = _mean_and_error(values)
    n = values.shape[-1]
    half = error * (stdtrit(n - 1, 1 - level / 2) if n > 1 else np.nan)
    return mean - half, mean + half


def welch_p(ours: ArrayLike, theirs: ArrayLike) -> Floats:
    """Two-sided p of Welch's t-test, which does not use the pairing.

    Args:
        ours: (..., n).
        theirs: (..., m).

    Returns:
        (...); NaN below two values each, or where neither has any variance.
    """
    difference, error, freedom = _welch(ours, theirs)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(2 * stdtr(freedom, -np.abs(difference) / error))


def welch_interval(ours: ArrayLike, theirs: ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Bounds of Welch's interval of the difference of two means, the first less the second.

    Args:
        ours: (..., n).
        theirs: (..., m).
        level: the interval covers 1 - level.

    Returns:
        Two of (...); NaN where `welch_p` is.
    """
    difference, error, freedom = _welch(ours, theirs)
    half = error * stdtrit(freedom, 1 - level / 2)
    return difference - half, difference + half


def holm(p_values: ArrayLike) -> Floats:
    """Holm's adjusted p-values of one family, which control the chance of any false rejection.

    Args:
        p_values: (..., m); NaN: no test, not counted.

    Returns:
        The same shape; NaN stays.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, axis=-1)  # NaN last
    tests = np.isfinite(p).sum(-1, keepdims=True)
    steps = np.maximum(tests - np.arange(p.shape[-1]), 1)
    scaled = np.minimum(np.take_along_axis(p, order, -1) * steps, 1)
    rising = np.fmax.accumulate(scaled, axis=-1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, rising, -1)
    return np.where(np.isfinite(p), adjusted, np.nan)


def power(difference: float, std: float, n: int, level: float = LEVEL) -> float:
    """The chance that the two-sided paired t-test finds a true difference: the noncentral t, exactly.

    Args:
        difference: the true mean, in points.
        std: standard deviation of the differences.
        n: common seeds, at least 2.
        level: of the test; LEVEL / m at Holm's first step of m.
    """
    return _chance_to_find(difference / std * math.sqrt(n), n - 1, level)


def detectable(std: float, n: int, level: float = LEVEL) -> float:
    """The smallest true difference that n common seeds find with a chance of `POWER`, in points.

    Args:
        std: standard deviation of the differences.
        n: common seeds.
        level: as in `power`.

    Returns:
        NaN below two seeds or without variance.
    """
    if n < 2 or not std > NO_VARIANCE:
        return math.nan
    return std / math.sqrt(n) * _found_shift(n - 1, level)


def welch_detectable(ours: ArrayLike, theirs: ArrayLike, level: float = LEVEL) -> float:
    """The smallest true difference of two means that Welch's test finds with a chance of `POWER`.

    Args:
        ours: (n,), values with the spread to expect.
        theirs: (m,).
        level: of the test.

    Returns:
        NaN where `welch_p` is.
    """
    _, error, freedom = _welch(ours, theirs)
    return math.nan if np.isnan(error) else float(error) * _found_shift(float(freedom), level)


def _chance_to_find(shift: float, freedom: float, level: float) -> float:
    """The chance that a two-sided t-test finds a true mean of `shift` standard errors: the noncentral t."""
    threshold = stdtrit(freedom, 1 - level / 2)
    wrong_side = np.nan_to_num(nctdtr(freedom, shift, -threshold))  # NaN where it is too small for the series
    return float(1 - nctdtr(freedom, shift, threshold) + wrong_side)


def _found_shift(freedom: float, level: float) -> float:
    """The smallest shift, in standard errors, that is found with a chance of `POWER`."""
    low, high = 0.0, 1.0
    while _chance_to_find(high, freedom, level) < POWER:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _chance_to_find(middle, freedom, level) < POWER else (low, middle)
    return high


def _welch(ours: ArrayLike, theirs: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Difference of the means, its standard error and the degrees of freedom, (...) each.

    The last two are NaN below two values each, or where neither has any variance.
    """
    (mean, error), (other_mean, other_error) = (_mean_and_error(np.asarray(x, float)) for x in (ours, theirs))
    n, m = np.shape(ours)[-1], np.shape(theirs)[-1]
    # one side without variance leaves the other's
    a, b = (np.nan_to_num(each**2) for each in (error, other_error))
    known = (a + b > 0) & (min(n, m) > 1) & np.isfinite(mean - other_mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1))
    return mean - other_mean, np.where(known, np.sqrt(a + b), np.nan), np.where(known, freedom, np.nan)


def _mean_and_error(values: Floats) -> tuple[Floats, Floats]:
    """The mean and its standard error, NaN below two values or without variance."""
    n = values.shape[-1]
    mean = values.mean(-1)
    if n < 2:
        return mean, np.full(mean.shape, np.nan)
    std = values.std(-1, ddof=1)
    return mean, np.where(std > NO_VARIANCE, std, np.nan) / math.sqrt(n)
