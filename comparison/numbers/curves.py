"""From points to rate-distortion curves: differences at equal rate, BD-rate."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator

from comparison.numbers.points import MEASURES, Point, kbps_of, shown_measures
from comparison.results import Result
from measures.intervals import Interval, mean_with_interval

FEWEST_FOR_BD = 2  # points of a curve

Curves = dict[str, list[Point]]


def curves_of(points: Sequence[Point]) -> Curves:
    """Points joined by rate: a model's layers, the models of one label at each layer, a peer's rates."""
    models = Counter(point.codec.family for point in points if point.layer == 1)
    found: Curves = defaultdict(list)
    for point in points:
        name = point.codec.family
        several = models[name] > 1 and any(each.layer > 1 for each in points if each.codec.family == name)
        found[f"{name}, layer {point.layer}" if several else name].append(point)
    return {name: sorted(each, key=lambda point: point.kbps) for name, each in found.items()}


class Difference(NamedTuple):
    """How much a codec is above another at equal rate: means over speakers, and the speaker for whom it is least."""

    everybody: Interval
    women: Interval
    men: Interval
    worst: float


def difference_at_equal_rate(point: Point, curve: Sequence[Point], measure: str) -> Difference | None:
    """How much a point is above a curve at equal rate, in pairs of each speaker; None outside of the curve's rates.

    Codecs of variable rate give each speaker another one. So the curve of each speaker, score over measured rate on the
    files that all have, is interpolated linearly at the rate that the point took for this speaker. Speakers whose rate
    the curve does not reach are skipped and counted; where they are most, there is no difference.
    """
    if not all(each.comparable(measure) and each.has(measure) for each in (point, *curve)):
        return None
    files = set.intersection(*({result.file for result in each.results} for each in (point, *curve)))
    ours, *others = (_by_speaker(each, measure, files) for each in (point, *curve))
    values = {
        speaker: value - _interpolated([other[speaker] for other in others if speaker in other], kbps)
        for speaker, (kbps, value) in ours.items()
    }
    sexes = {result.speaker: result.sex for result in point.results}
    everybody, women, men = (
        mean_with_interval([values[name] for name in names], names)
        for names in (list(values), *([name for name in values if sexes[name] == sex] for sex in "FM"))
    )
    if everybody.speakers <= everybody.left_out:
        return None
    found = [value for value in values.values() if not math.isnan(value)]
    return Difference(everybody, women, men, (max if MEASURES[measure].less_is_better else min)(found))


def paired_differences(point: Point, other: Point) -> dict[str, Interval]:
    """How much a point is above another on the files that both have, in pairs of each speaker, whatever their rates."""
    files = {result.file for result in point.results} & {result.file for result in other.results}
    found = {}
    for name in (name for name in MEASURES if point.has(name) and other.has(name)):
        ours, theirs = (_by_speaker(each, name, files) for each in (point, other))
        speakers = [speaker for speaker in ours if speaker in theirs]
        values = [ours[speaker][1] - theirs[speaker][1] for speaker in speakers]
        found[name] = mean_with_interval(values, speakers)
    return found


def _by_speaker(point: Point, measure: str, files: Container[str]) -> dict[str, tuple[float, float]]:
    """Kbps and mean of a measure of each speaker."""
    groups: defaultdict[str, list[Result]] = defaultdict(list)
    for result in point.results:
        if result.file in files and math.isfinite(result.measures.get(measure, math.nan)):
            groups[result.speaker].append(result)
    return {
        speaker: (kbps_of(group), float(np.mean([result.measures[measure] for result in group])))
        for speaker, group in groups.items()
    }


def _interpolated(line: Sequence[tuple[float, float]], kbps: float) -> float:
    """The value at a rate between measured ones; nan outside of them."""
    if not line:
        return math.nan
    rates, values = zip(*sorted(line), strict=True)
    return float(np.interp(kbps, rates, values, left=math.nan, right=math.nan))


class Saving(NamedTuple):
    """Mean difference of rate at equal quality in per cent, and the rates of the curve that it covers, in kbps."""

    percent: float
    lowest: float
    highest: float


def bd_rate(curve: Sequence[Point], reference: Sequence[Point], measure: str) -> Saving | None:
    """Mean difference of rate at equal quality, negative where `curve` needs less.

    Bjontegaard's measure (VCEG-M33, 2001) with monotone piecewise cubic interpolation of log rate over quality. None
    where a curve has too few points or does not rise, or the two share no quality.
    """
    ours, theirs = _rate_over_quality(curve, measure), _rate_over_quality(reference, measure)
    if ours is None or theirs is None:
        return None
    low, high = max(ours.x[0], theirs.x[0]), min(ours.x[-1], theirs.x[-1])
    if low >= high:
        return None
    mean = (ours.integrate(low, high) - theirs.integrate(low, high)) / (high - low)
    return Saving(float(100 * np.expm1(mean)), *(float(np.exp(ours(quality))) for quality in (low, high)))


def _rate_over_quality(curve: Sequence[Point], measure: str) -> PchipInterpolator | None:
    if len(curve) < FEWEST_FOR_BD or not all(each.has(measure) and each.comparable(measure) for each in curve):
        return None
    sign = -1 if MEASURES[measure].less_is_better else 1
    quality = np.array([sign * each.intervals[measure].mean for each in curve])
    if np.any(np.diff(quality) <= 0):
        return None
    return PchipInterpolator(quality, np.log([each.kbps for each in curve]))


@dataclass(frozen=True)
class Versus:
    """One of our points against the curve of another codec at equal rate."""

    ours: str
    kbps: float
    other: str
    measure: str
    difference: Difference


def differences_of(points: Sequence[Point], curves: Curves) -> list[Versus]:
    """Every one of our points against every curve of the others that has its rates."""
    others = {name: curve for name, curve in curves.items() if curve[0].codec.kind == "peer" and len(curve) > 1}
    return [
        Versus(point.label, point.kbps, name, measure, difference)
        for point in points
        if point.codec.kind == "model"
        for measure in shown_measures(points)
        for name, curve in others.items()
        if (difference := difference_at_equal_rate(point, curve, measure))
    ]
