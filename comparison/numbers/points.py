"""One codec at one layer over all files of a comparison, as every curve and table shows it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from comparison.results import Codec, Result
from measures.intervals import Interval, mean_with_interval
from measures.time_structure import BANDS, OCTAVE_COLUMNS

WOMEN, MEN = "F", "M"
SEXES = {WOMEN: "women", MEN: "men"}
LEAST_SHARE = 0.005  # of packets in a band, to be named


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

    @property
    def coded(self) -> str:
        """The band by the packets' own headers, over all files by their duration, or that of the codec."""
        told = [result for result in self.results if result.bands]
        seconds = sum(result.seconds for result in told)
        names = dict.fromkeys(name for result in told for name in result.bands)
        shares = {name: sum(each.bands.get(name, 0) * each.seconds for each in told) / seconds for name in names}
        kept = {name: round(100 * share) for name, share in shares.items() if share >= LEAST_SHARE}
        if len(kept) < 2:
            return next(iter(kept), self.codec.band)
        return ", ".join(f"{name} {share} %" for name, share in sorted(kept.items(), key=lambda item: -item[1]))

    @property
    def flagged(self) -> int:
        """Files of which PESQ says something else with silence around them."""
        return sum(result.misaligned for result in self.results)

    def worst(self, measure: str) -> float:
        """Of the file that scores least, nan where none has a value."""
        values = [value for each in self.results if not math.isnan(value := each.measures.get(measure, math.nan))]
        return (max if MEASURES[measure].less_is_better else min)(values, default=math.nan)

    def of_sex(self, sex: str) -> Point | None:
        """The point of women's (F) or men's (M) files; None where the corpus does not distinguish them."""
        return self.part(lambda result: result.sex == sex)

    def part(self, belongs: Callable[[Result], bool]) -> Point | None:
        """The point of some of its files; None where there are none."""
        results = [result for result in self.results if belongs(result)]
        return _point(self.codec, self.layer, results) if results else None


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
    return Point(codec, layer, kbps_of(results), tuple(results), intervals)


def shown_measures(points: Sequence[Point]) -> list[str]:
    """Measures that any point has, in the order in which they are shown."""
    return [name for name in MEASURES if any(point.has(name) for point in points)]


def losses_of(results: Sequence[Result]) -> list[float]:
    """Shares of lost groups that were tried, ascending."""
    return sorted({result.loss for result in results if not result.error})


def kbps_of(results: Sequence[Result]) -> float:
    """All bits over all seconds, in 1000 bits per second."""
    seconds = sum(result.seconds for result in results)
    return sum(result.bits for result in results) / seconds / 1000 if seconds else math.nan
