"""The curves as Markdown, for a paper or a README."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tabulate import tabulate

from comparison.curves import (
    MEASURES,
    Curves,
    Point,
    bd_rate,
    difference_at_equal_rate,
    shown_measures,
)
from measures.measures import Interval

NOTES = (
    "Rates are measured: all bytes of our written file; of the other codecs the bits of their packets, without "
    "container. Intervals are 95 % over speakers. In brackets: the codec high-passes its input, so that waveform "
    "measures cannot be compared."
)
NOTHING = "–"


def interval_text(interval: Interval, digits: int, *, signed: bool = False) -> str:
    """A mean with its interval, such as 3.33 ±0.10."""
    if not math.isfinite(interval.mean):
        return "∞" if interval.mean > 0 else NOTHING
    mean = f"{interval.mean:{'+' if signed else ''}.{digits}f}"
    return mean + ("" if math.isnan(interval.half_width) else f" ±{interval.half_width:.{digits}f}")


def value_text(point: Point, measure: str) -> str:
    """A point's value of a measure, in brackets where it cannot be compared."""
    if measure not in point.intervals:
        return NOTHING
    text = interval_text(point.intervals[measure], MEASURES[measure].digits)
    return text if point.comparable(measure) else f"({text})"


def score_table(points: Sequence[Point]) -> str:
    """Every point with its rate and scores."""
    names = shown_measures(points)
    rows = [[point.label, f"{point.kbps:.2f}", *(value_text(point, name) for name in names)] for point in points]
    return _markdown(["codec", "kbps", *(MEASURES[name].title for name in names)], rows)


def difference_table(points: Sequence[Point], curves: Curves) -> str:
    """Each of our points against each peer's curve at the same rate."""
    ours, peers = _ours(points), _peers(curves)
    rows = [
        [
            point.label,
            f"{point.kbps:.2f}",
            MEASURES[name].title,
            *(_difference(point, curves[peer], name) for peer in peers),
        ]
        for point in ours
        for name in shown_measures(points)
    ]
    return _markdown(["ours", "kbps", "measure", *peers], _without_empty(rows, 3))


def _difference(point: Point, curve: Sequence[Point], measure: str) -> str:
    found = difference_at_equal_rate(point, curve, measure)
    return interval_text(found, MEASURES[measure].digits, signed=True) if found else NOTHING


def bd_table(points: Sequence[Point], curves: Curves) -> str:
    """BD-rate of each of our curves against each peer's."""
    ours = [name for name, curve in curves.items() if curve[0].codec.kind == "model"]
    peers = _peers(curves)
    rows = [
        [name, MEASURES[measure].title, *(_bd_text(bd_rate(curves[name], curves[peer], measure)) for peer in peers)]
        for name in ours
        for measure in shown_measures(points)
    ]
    return _markdown(["ours", "measure", *peers], _without_empty(rows, 2))


def _bd_text(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.0f} %"


def _without_empty(rows: list[list[str]], first: int) -> list[list[str]]:
    return [row for row in rows if any(cell != NOTHING for cell in row[first:])]


def _ours(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if point.codec.kind == "model"]


def _peers(curves: Curves) -> list[str]:
    return [name for name, curve in curves.items() if curve[0].codec.kind == "peer" and len(curve) > 1]


def document(points: Sequence[Point], curves: Curves) -> str:
    """All tables with the notes that belong to them."""
    files = {result.file for point in points for result in point.results}
    speakers = {result.speaker for point in points for result in point.results}
    parts = [f"{len(files)} files of {len(speakers)} speakers. {NOTES}", score_table(points)]
    if _ours(points) and _peers(curves):
        parts += _comparisons(points, curves)
    return "\n\n".join(parts) + "\n"


def _comparisons(points: Sequence[Point], curves: Curves) -> list[str]:
    return [
        "Difference at equal rate, ours minus the other, interpolated between its two nearest rates "
        f"({NOTHING}: outside of its rates, or not to be compared):",
        difference_table(points, curves),
        "BD-rate: how much more (+) or less (-) rate ours needs for equal quality, on average over the range that both "
        f"reach ({NOTHING}: none, or a curve that does not rise):",
        bd_table(points, curves),
    ]


def _markdown(headers: list[str], rows: list[list[str]]) -> str:
    return tabulate(rows, headers, "github", disable_numparse=True)
