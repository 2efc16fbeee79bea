"""From results to rate-distortion curves: points with intervals, differences at equal rate, BD-rate."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.interpolate import PchipInterpolator

from comparison.results import Codec, Result
from measures.measures import Interval, mean_with_interval


@dataclass(frozen=True)
class Measure:
    """How a measure is shown; those that compare waveforms suffer from a high-pass that nobody hears."""

    title: str
    digits: int
    less_is_better: bool = False
    waveform: bool = False


MEASURES = {
    "pesq_wb": Measure("PESQ-WB", 2),
    "pesq_wb_padded": Measure("PESQ-WB padded", 2),
    "visqol": Measure("ViSQOL", 2),
    "stoi": Measure("STOI", 3),
    "si_sdr": Measure("SI-SDR dB", 1, waveform=True),
    "snr": Measure("SNR dB", 1, waveform=True),
    "lsd": Measure("LSD dB", 2, less_is_better=True),
}
FEWEST_FOR_BD = 2  # points of a curve


@dataclass(frozen=True)
class Point:
    """One codec at one layer over all files.

    Attributes:
        codec: what coded.
        layer: 0 for a peer.
        kbps: all bits over all seconds.
        results: of its files.
        intervals: mean over speakers of each measure, with its 95 % interval.
    """

    codec: Codec
    layer: int
    kbps: float
    results: tuple[Result, ...]
    intervals: Mapping[str, Interval]

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.codec.label}, layer {self.layer}" if self.layer else self.codec.label

    def has(self, measure: str) -> bool:
        """Whether any file has a value."""
        return measure in self.intervals and math.isfinite(self.intervals[measure].mean)

    def comparable(self, measure: str) -> bool:
        """Whether the measure may stand beside that of other codecs: others than the original's may not."""
        other = self.codec.high_pass or not self.codec.waveform
        return not (other and MEASURES[measure].waveform)


Curves = dict[str, list[Point]]


def points_of(codecs: Sequence[Codec], results: Sequence[Result], loss: float = 0.0) -> list[Point]:
    """Points of all codecs and layers at one loss; files that failed are left out."""
    known = {codec.name: codec for codec in codecs}
    groups: defaultdict[tuple[str, int], list[Result]] = defaultdict(list)
    for result in results:
        if not result.error and result.loss == loss:
            groups[result.codec, result.layer].append(result)
    found = [_point(known[name], layer, group) for (name, layer), group in groups.items()]
    return sorted(found, key=lambda point: (point.codec.kind, point.codec.family, point.kbps))


def _point(codec: Codec, layer: int, results: Sequence[Result]) -> Point:
    speakers = [result.speaker for result in results]
    names = dict.fromkeys(name for result in results for name in result.measures)
    intervals = {
        name: mean_with_interval([result.measures.get(name, math.nan) for result in results], speakers)
        for name in names
    }
    seconds = sum(result.seconds for result in results)
    kbps = sum(result.bits for result in results) / seconds / 1000 if seconds else math.nan
    return Point(codec, layer, kbps, tuple(results), intervals)


def curves_of(points: Sequence[Point]) -> Curves:
    """Points joined by rate: a model's layers, the models of one label at each layer, a peer's rates."""
    models = Counter(point.codec.family for point in points if point.layer == 1)
    found: Curves = defaultdict(list)
    for point in points:
        name = point.codec.family
        several = models[name] > 1 and any(each.layer > 1 for each in points if each.codec.family == name)
        found[f"{name}, layer {point.layer}" if several else name].append(point)
    return {name: sorted(each, key=lambda point: point.kbps) for name, each in found.items()}


def difference_at_equal_rate(point: Point, curve: Sequence[Point], measure: str) -> Interval | None:
    """How much a point is above a curve at the point's rate, over speakers; None outside of the curve's rates.

    The curve is interpolated linearly between the two points about the rate, file by file.
    """
    if not all(each.comparable(measure) and each.has(measure) for each in (point, *curve)):
        return None
    for below, above in pairwise(curve):
        if below.kbps <= point.kbps <= above.kbps:
            share = (point.kbps - below.kbps) / (above.kbps - below.kbps)
            return _difference(point, below, above, share, measure)
    return None


def _difference(point: Point, below: Point, above: Point, share: float, measure: str) -> Interval:
    low, high = ({each.file: each.measures[measure] for each in end.results} for end in (below, above))
    common = [each for each in point.results if each.file in low and each.file in high]
    values = [each.measures[measure] - (1 - share) * low[each.file] - share * high[each.file] for each in common]
    return mean_with_interval(values, [each.speaker for each in common])


def bd_rate(curve: Sequence[Point], reference: Sequence[Point], measure: str) -> float | None:
    """Mean difference of rate at equal quality in per cent, negative where `curve` needs less.

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
    return float(100 * np.expm1(mean))


def _rate_over_quality(curve: Sequence[Point], measure: str) -> PchipInterpolator | None:
    if len(curve) < FEWEST_FOR_BD or not all(each.has(measure) and each.comparable(measure) for each in curve):
        return None
    sign = -1 if MEASURES[measure].less_is_better else 1
    quality = np.array([sign * each.intervals[measure].mean for each in curve])
    if np.any(np.diff(quality) <= 0):
        return None
    return PchipInterpolator(quality, np.log([each.kbps for each in curve]))


def shown_measures(points: Sequence[Point]) -> list[str]:
    """Measures that any point has, in the order in which they are shown."""
    return [name for name in MEASURES if any(point.has(name) for point in points)]


def losses_of(results: Sequence[Result]) -> list[float]:
    """Shares of lost groups that were tried, ascending."""
    return sorted({result.loss for result in results if not result.error})
