"""The formulas of a trial's report, each with its source.

Two eyes of one person are not two independent observations. Wherever an interval is given for eyes, there is one
that takes this into account: proportions by the design effect (Rao and Scott), AUC and kappa by drawing
participants, not eyes, in the bootstrap, agreement by counting participants, not eyes, in the standard error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
RESAMPLES = 2000
SEED = 0
BATCH = 200  # resamples at a time, which bounds the memory
LEVELS = (2.5, 97.5)


class Estimate(msgspec.Struct, frozen=True):
    """A value with its 95 % interval; the interval is None where it cannot be computed."""

    value: float
    low: float | None
    high: float | None


class Proportion(msgspec.Struct, frozen=True):
    """``k`` of ``n``. ``value`` and its bounds are None where n is 0. ``low`` and ``high`` are Wilson's interval
    as if all were independent; the clustered bounds are None where each comes from a person of its own."""

    k: int
    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    clustered_low: float | None = None
    clustered_high: float | None = None

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The bounds to state: the clustered ones where there are such."""
        if self.clustered_low is None:
            return self.low, self.high
        return self.clustered_low, self.clustered_high


class Limits(msgspec.Struct, frozen=True):
    """Bias and 95 % limits of agreement with their intervals; ``n`` pairs of ``participants`` people."""

    n: int
    participants: int
    bias: Estimate
    sd: float
    lower: Estimate
    upper: Estimate


class Repeatability(msgspec.Struct, frozen=True):
    """Within-subject SD from ``values`` measurements of ``groups`` subjects measured at least twice, and the
    coefficient of repeatability, which the difference of two measurements exceeds in 5 % of pairs."""

    groups: int
    values: int
    sd: Estimate
    coefficient: Estimate


class Kappa(msgspec.Struct, frozen=True):
    """Cohen's kappa of ``n`` pairs; ``agree`` of them are equal. ``kappa`` is None where chance alone explains
    everything (one rating throughout). ``table[i][j]`` counts rating i of the first and j of the second."""

    n: int
    participants: int
    agree: int
    kappa: Estimate | None
    categories: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]


class Roc(msgspec.Struct, frozen=True):
    """ROC curve from (0, 0) to (1, 1): false-positive rates, sensitivities, and the area with its interval.
    ``dropped`` resamples held one class only and gave no area."""

    n: int
    positive: int
    participants: int
    auc: Estimate
    false_positive: tuple[float, ...]
    sensitivity: tuple[float, ...]
    dropped: int


def wilson(k: float, n: float) -> tuple[float, float]:
    """Score interval without continuity correction (Wilson, JASA 22:209, 1927; method 3 of Newcombe, Stat Med
    17:857, 1998). ``k`` and ``n`` may be effective numbers. Raises ValueError where n is not positive."""
    if not n > 0:
        raise ValueError("an interval of nothing")
    p, z2 = k / n, Z * Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))


def proportion(successes: Sequence[bool], people: Sequence[Hashable]) -> Proportion:
    """The share of successes; ``people`` says whose each is."""
    n, k = len(successes), sum(successes)
    if not n:
        return Proportion(0, 0)
    low, high = wilson(k, n)
    effect = design_effect(successes, people)
    if effect is None:
        return Proportion(k, n, k / n, low, high)
    return Proportion(k, n, k / n, low, high, *wilson(k / effect, n / effect))


def design_effect(successes: Sequence[bool], people: Sequence[Hashable]) -> float | None:
    """By how much the variance of the share exceeds that of independent observations (Rao and Scott, Biometrics
    48:577, 1992), at least 1; None where every observation has a person of its own.

    Where all or none succeed the data say nothing of it: it is then the mean number of observations a person, as
    if each person's were copies of one.
    """
    clusters: dict[Hashable, list[bool]] = {}
    for person, success in zip(people, successes, strict=True):
        clusters.setdefault(person, []).append(success)
    n, m = len(successes), len(clusters)
    if m == n:
        return None
    p = sum(successes) / n
    if p in (0, 1) or m < 2:
        return n / m
    residuals = sum((sum(c) - len(c) * p) ** 2 for c in clusters.values())
    variance = m / (m - 1) * residuals / n**2
    return max(1.0, variance / (p * (1 - p) / n))


def kappa(
    first: Sequence[str], second: Sequence[str], people: Sequence[Hashable], categories: Sequence[str]
) -> Kappa:
    """Unweighted kappa (Cohen, Educ Psychol Meas 20:37, 1960) of ratings out of ``categories``, with the
    percentile bootstrap interval over people; there is none for fewer than two people, or where a resample can
    only repeat perfect agreement."""
    index = {c: i for i, c in enumerate(categories)}
    size = len(categories)
    rows = _rows(people)
    m = len(set(rows))
    tables = np.zeros((m, size, size))
    for row, a, b in zip(rows, first, second, strict=True):
        tables[row, index[a], index[b]] += 1
    table = tables.sum(0)
    n, agree = len(first), int(np.trace(table))
    value = float(_kappas(table[None])[0]) if n else math.nan
    estimate = None
    if not math.isnan(value):
        flat = tables.reshape(m, -1)
        values = _resampled(m, lambda w: _kappas((w @ flat).reshape(-1, size, size)))
        informative = m >= 2 and agree < n
        low, high = _percentiles(values) if informative else (None, None)
        estimate = Estimate(value, low, high)
    counts = tuple(tuple(int(c) for c in row) for row in table)
    return Kappa(n, m, agree, estimate, tuple(categories), counts)


def _kappas(tables: Floats) -> Floats:
    """Kappa of each table (B x C x C); NaN where the agreement expected by chance is complete."""
    n = tables.sum((1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.trace(tables, axis1=1, axis2=2) / n
        expected = (tables.sum(2) * tables.sum(1)).sum(1) / n**2
        values: Floats = np.where(expected < 1 - 1e-12, (observed - expected) / (1 - expected), np.nan)
    return values


def limits(measured: Sequence[float], reference: Sequence[float], people: Sequence[Hashable]) -> Limits | None:
    """Bias and limits of agreement with their t intervals (Bland and Altman, Lancet 327:307, 1986); None for
    fewer than three people. The standard errors, s / sqrt(m) and s * sqrt(3 / m), count people: with one eye each
    they are the published ones, with two they are wider than those of as many independent eyes."""
    m = len(set(people))
    if m < 3:
        return None
    difference = np.asarray(measured, float) - np.asarray(reference, float)
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    t = float(stats.t.ppf(0.975, m - 1))
    of_bias, of_limit = t * sd / math.sqrt(m), t * sd * math.sqrt(3 / m)
    lower, upper = bias - 1.96 * sd, bias + 1.96 * sd
    return Limits(
        n=len(difference),
        participants=m,
        bias=Estimate(bias, bias - of_bias, bias + of_bias),
        sd=sd,
        lower=Estimate(lower, lower - of_limit, lower + of_limit),
        upper=Estimate(upper, upper - of_limit, upper + of_limit),
    )


def repeatability(groups: Sequence[Sequence[float]]) -> Repeatability | None:
    """Within-subject SD: the root of the mean square within groups of a one-way analysis of variance, and
    1.96 * sqrt(2) times it (Bland and Altman 1986; Stat Methods Med Res 8:135, 1999), with chi-square intervals.
    Groups of one say nothing; None where there are only such."""
    repeated = [np.asarray(g, float) for g in groups if len(g) > 1]
    if not repeated:
        return None
    df = sum(len(g) - 1 for g in repeated)
    squares = float(sum(((g - g.mean()) ** 2).sum() for g in repeated))
    sd, low, high = (math.sqrt(squares / d) for d in (df, *stats.chi2.ppf((0.975, 0.025), df)))
    factor = 1.96 * math.sqrt(2)
    return Repeatability(
        groups=len(repeated),
        values=sum(len(g) for g in repeated),
        sd=Estimate(sd, low, high),
        coefficient=Estimate(factor * sd, factor * low, factor * high),
    )


def roc(label: Sequence[bool], score: Sequence[float], people: Sequence[Hashable]) -> Roc | None:
    """The empirical curve and its area, with the percentile bootstrap interval over people, both eyes of whom are
    drawn together. None where a class is missing."""
    from sklearn.metrics import roc_curve

    truth, scores = np.asarray(label, bool), np.asarray(score, float)
    if not (truth.any() and not truth.all()):
        return None
    rows = _rows(people)
    m = len(set(rows))
    false_positive, sensitivity, _ = roc_curve(truth, scores)
    positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)
    difference = scores[positive][:, None] - scores[negative][None, :]
    won = (difference > 0) + 0.5 * (difference == 0)  # Mann and Whitney: a tie is half a pair

    def areas(weights: Floats) -> Floats:
        w_positive, w_negative = weights[:, rows[positive]], weights[:, rows[negative]]
        pairs = w_positive.sum(1) * w_negative.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            area: Floats = ((w_positive @ won) * w_negative).sum(1) / np.where(pairs > 0, pairs, np.nan)
        return area

    value = float(areas(np.ones((1, m)))[0])
    values = _resampled(m, areas)
    low, high = _percentiles(values) if m >= 2 else (None, None)
    return Roc(
        n=len(truth),
        positive=len(positive),
        participants=m,
        auc=Estimate(value, low, high),
        false_positive=tuple(float(x) for x in false_positive),
        sensitivity=tuple(float(x) for x in sensitivity),
        dropped=int(np.isnan(values).sum()),
    )


def _rows(people: Sequence[Hashable]) -> npt.NDArray[np.intp]:
    """Each observation's person as a number from 0."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(p, len(numbers)) for p in people], np.intp)


def _resampled(people: int, statistic: Callable[[Floats], Floats]) -> Floats:
    """A statistic of RESAMPLES resamples of people; it gets how often each was drawn (B x people)."""
    rng = np.random.default_rng(SEED)
    shares = np.full(people, 1 / people)
    batches = [statistic(rng.multinomial(people, shares, BATCH).astype(float)) for _ in range(RESAMPLES // BATCH)]
    return np.concatenate(batches)


def _percentiles(values: Floats) -> tuple[float | None, float | None]:
    known = values[~np.isnan(values)]
    if not len(known):
        return None, None
    low, high = np.percentile(known, LEVELS)
    return float(low), float(high)
