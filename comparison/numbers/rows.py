"""A point of a curve as a row of numbers: for tables, the page, and the results that are kept with the code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from comparison.numbers.curves import (
    BY_BAND,
    MEASURES,
    Curves,
    Difference,
    Point,
    difference_at_equal_rate,
    shown_measures,
)
from comparison.results import Result
from measures.intervals import Interval

WOMEN, MEN = "F", "M"
LEAST_SHARE = 0.005  # of packets in a band, to be named
BAND_NAMES = [name for names in BY_BAND.values() for name in names]
SEXES = {WOMEN: "women", MEN: "men"}


@dataclass(frozen=True)
class Row:
    """One codec at one layer over all files.

    Attributes:
        label: for people.
        name: of the codec.
        family: of the curve.
        kind: peer or model.
        layer: 0 for a peer.
        kbps: measured.
        delay_ms: algorithmic delay, 0 where it is not known.
        files: how many were scored.
        flagged: files of which PESQ says something else with silence around them.
        waveform: waveform measures can be compared.
        scores: mean over speakers of each measure with its 95 % interval.
        by_sex: the same for women (F) and men (M), where the corpus distinguishes them.
        worst: of each measure, its worst file.
        bands: mean over speakers of each value of a band with its 95 % interval.
        coded: the band that it codes, or the share of packets in each.
    """

    label: str
    name: str
    family: str
    kind: str
    layer: int
    kbps: float
    delay_ms: float
    files: int
    flagged: int
    waveform: bool
    scores: Mapping[str, Interval]
    by_sex: Mapping[str, Mapping[str, Interval]]
    worst: Mapping[str, float]
    bands: Mapping[str, Interval] = field(default_factory=dict)
    coded: str = ""

    def comparable(self, measure: str) -> bool:
        """Whether the measure may be compared with other codecs'."""
        return self.waveform or not MEASURES[measure].waveform


def row_of(point: Point) -> Row:
    """The row of a point."""
    names = [name for name in MEASURES if name in point.intervals]
    parts = {sex: point.part(partial(_is_of, sex)) for sex in SEXES}
    return Row(
        label=point.label,
        name=point.codec.name,
        family=point.codec.family,
        kind=point.codec.kind,
        layer=point.layer,
        kbps=point.kbps,
        delay_ms=point.delay_ms,
        files=len(point.results),
        flagged=sum(result.misaligned for result in point.results),
        waveform=point.codec.waveform and not point.codec.high_pass,
        scores={name: point.intervals[name] for name in names},
        by_sex={sex: {name: part.intervals[name] for name in names} for sex, part in parts.items() if part},
        worst={name: _worst(point, name) for name in names},
        coded=_coded_band(point),
        bands={name: point.intervals[name] for name in BAND_NAMES if name in point.intervals},
    )


def _coded_band(point: Point) -> str:
    """The band by the packets' own headers, over all files by their duration, or that of the codec."""
    told = [result for result in point.results if result.bands]
    seconds = sum(result.seconds for result in told)
    names = dict.fromkeys(name for result in told for name in result.bands)
    shares = {name: sum(each.bands.get(name, 0) * each.seconds for each in told) / seconds for name in names}
    kept = {name: round(100 * share) for name, share in shares.items() if share >= LEAST_SHARE}
    if len(kept) < 2:
        return next(iter(kept), point.codec.band)
    return ", ".join(f"{name} {share} %" for name, share in sorted(kept.items(), key=lambda item: -item[1]))


def _is_of(sex: str, result: Result) -> bool:
    return result.sex == sex


def _worst(point: Point, measure: str) -> float:
    values = [value for each in point.results if not math.isnan(value := each.measures.get(measure, math.nan))]
    worst = max if MEASURES[measure].less_is_better else min
    return worst(values, default=math.nan)


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
