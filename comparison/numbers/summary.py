"""Summary of a folder of results, as numbers that are kept with the code and made into documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from comparison.kept import Kept
from comparison.numbers.curves import Curves, Versus, bd_rate, curves_of, differences_of
from comparison.numbers.points import Point, points_of, shown_measures
from comparison.results import Codec, Result, faults


class BdRate(NamedTuple):
    """How much more or less rate one of our curves needs for equal quality, and at which of its rates."""

    ours: str
    other: str
    measure: str
    percent: float
    lowest: float = math.nan  # kbps of ours where both curves reach the same quality
    highest: float = math.nan


@dataclass(frozen=True)
class Summary:
    """Of all codecs on the same files.

    Attributes:
        files: how many were coded.
        speakers: how many speak in them.
        points: every codec at every layer.
        differences: ours against the others at equal rate.
        bd_rates: ours against the others at equal quality.
        commands: of the others, by name.
        versions: of the programs that coded.
        corpus: name of the test speech.
        left_out: why codecs, judges and files are missing, by name.
        faults: what failed, counted.
        minutes: of speech.
    """

    files: int
    speakers: int
    points: Sequence[Point]
    differences: Sequence[Versus]
    bd_rates: Sequence[BdRate]
    commands: dict[str, list[str]]
    versions: dict[str, str]
    corpus: str = ""
    left_out: dict[str, str] = field(default_factory=dict)
    faults: Sequence[str] = ()
    minutes: float = math.nan

    def extent(self, speakers: str = "speakers") -> str:
        """How much was coded, and by whom it is spoken."""
        text = f"{self.files} files of {self.speakers} {speakers}"
        return text if math.isnan(self.minutes) else f"{text} ({self.minutes:.1f} min)"


def summary_of(kept: Kept) -> Summary:
    """The summary of results."""
    codecs = kept.codecs
    points = points_of(codecs, kept.results)
    curves = curves_of(points)
    results = [result for point in points for result in point.results]
    return Summary(
        files=len({result.file for result in results}),
        speakers=len({result.speaker for result in results}),
        points=points,
        differences=differences_of(points, curves),
        bd_rates=bd_rates_of(points, curves),
        commands={codec.name: list(codec.commands) for codec in codecs if codec.commands},
        versions=_versions(codecs) | dict(kept.judges),
        corpus=kept.corpus,
        left_out=dict(kept.left_out),
        faults=faults(kept.results),
        minutes=sum({result.file: result.seconds for result in results}.values()) / 60,
    )


def points_of_parts(kept: Kept) -> list[tuple[str, Point]]:
    """Points of every codec on each kind of sounds, and on each language where a kind has several, with its name."""
    names = sorted({result.part for result in kept.results})
    kinds = dict.fromkeys(name.partition(", ")[0] for name in names)
    several = [kind for kind in kinds if sum(name.partition(", ")[0] == kind for name in names) > 1]
    points = points_of(kept.codecs, kept.results)
    return [
        (name, part)
        for name in sorted({*kinds, *(name for name in names if name.partition(", ")[0] in several)})
        for point in points
        if (part := point.part(partial(_is_in, name)))
    ]


def _is_in(part: str, result: Result) -> bool:
    return result.part == part or result.part.startswith(f"{part}, ")


def _versions(codecs: Sequence[Codec]) -> dict[str, str]:
    return {name: version for codec in codecs for name, version in codec.versions.items()}


def bd_rates_of(points: Sequence[Point], curves: Curves) -> list[BdRate]:
    """Every curve of ours against every one of the others that shares some quality with it."""
    ours = [name for name, curve in curves.items() if curve[0].codec.kind == "model"]
    others = [name for name, curve in curves.items() if curve[0].codec.kind == "peer"]
    return [
        BdRate(name, other, measure, *saving)
        for name in ours
        for measure in shown_measures(points)
        for other in others
        if (saving := bd_rate(curves[name], curves[other], measure)) is not None
    ]
