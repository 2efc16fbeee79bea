"""From results to rate-distortion curves: points with intervals, differences at equal rate, BD-rate."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator

from comparison.results import Codec, Result
from measures.intervals import Interval, mean_with_interval
from measures.time_structure import BANDS, OCTAVE_COLUMNS


@dataclass(frozen=True)
class Measure:
    """How a measure is shown; those that compare waveforms suffer from an inaudible high-pass."""

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
    "distill_mos": Measure("Distill-MOS", 2),
    "nisqa": Measure("NISQA", 2),
    "warpq": Measure("WARP-Q", 3),
    "plcmos": Measure("PLCMOS", 2),
    "rms_4ms": Measure("4 ms error dB", 1, less_is_better=True),
    "rms_32ms": Measure("32 ms error dB", 1, less_is_better=True),
}
BY_BAND = {
    "4 ms error dB, 4 bands": [f"rms_4ms_{low}" for low, _ in BANDS],
    "32 ms error dB, 4 bands": [f"rms_32ms_{low}" for low, _ in BANDS],
    "level dB, 125 Hz to 8 kHz": list(OCTAVE_COLUMNS),
}  # values of bands that share a cell, from low to high
TALK_MS = 60.0  # of delay, the most for a conversation
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
        return f"{self.codec.label}, layer {self.layer}" if self.layer > 1 else self.codec.label

    @property
    def delay_ms(self) -> float:
        """Algorithmic delay, 0 where it is not known."""
        return max(result.delay_ms for result in self.results)

    def has(self, measure: str) -> bool:
        """Whether any file has a value."""
        return measure in self.intervals and math.isfinite(self.intervals[measure].mean)

    def comparable(self, measure: str) -> bool:
        """Whether the measure may be compared with other codecs': that of another waveform may not."""
        other = self.codec.high_pass or not self.codec.waveform
        return not (other and MEASURES[measure].waveform)

    def part(self, belongs: Callable[[Result], bool]) -> Point | None:
        """The point of some of its files; None where there are none."""
        results = [result for result in self.results if belongs(result)]
        return _point(self.codec, self.layer, results) if results else None


Curves = dict[str, list[Point]]


def points_of(codecs: Sequence[Codec], results: Sequence[Result], loss: float = 0.0) -> list[Point]:
    """Points of all codecs and layers at one loss; files that failed are skipped."""
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
    return Point(codec, layer, _kbps(results), tuple(results), intervals)


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
        speaker: (_kbps(group), float(np.mean([result.measures[measure] for result in group])))
        for speaker, group in groups.items()
    }


def _interpolated(line: Sequence[tuple[float, float]], kbps: float) -> float:
    """The value at a rate between measured ones; nan outside of them."""
    if not line:
        return math.nan
    rates, values = zip(*sorted(line), strict=True)
    return float(np.interp(kbps, rates, values, left=math.nan, right=math.nan))


def _kbps(results: Sequence[Result]) -> float:
    seconds = sum(result.seconds for result in results)
    return sum(result.bits for result in results) / seconds / 1000 if seconds else math.nan


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


def shown_measures(points: Sequence[Point]) -> list[str]:
    """Measures that any point has, in the order in which they are shown."""
    return [name for name in MEASURES if any(point.has(name) for point in points)]


def losses_of(results: Sequence[Result]) -> list[float]:
    """Shares of lost groups that were tried, ascending."""
    return sorted({result.loss for result in results if not result.error})
