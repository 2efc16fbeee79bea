"""The curves as Markdown, for a paper or a README."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tabulate import tabulate

from comparison.curves import MEASURES, Curves, Point, bd_rate, shown_measures
from comparison.rows import SEXES, Row, Versus, differences_of, row_of
from measures.measures import Interval

NOTES = (
    "Rates are measured: all bytes of our written file; of the other codecs the bits of their packets, without "
    "container. Intervals are 95 % over speakers. In brackets: the codec high-passes its input or generates another "
    "waveform, so that waveform measures cannot be compared. Padded: with half a second of silence around both "
    "signals; flagged: files whose PESQ changes by more than 0.3 by that. Delay: frame and look-ahead by the codec's "
    "specification."
)
NOTHING = "–"


def interval_text(interval: Interval, digits: int, *, signed: bool = False) -> str:
    """A mean with its interval, such as 3.33 ±0.10."""
    if not math.isfinite(interval.mean):
        return "∞" if interval.mean > 0 else NOTHING
    mean = f"{interval.mean:{'+' if signed else ''}.{digits}f}"
    return mean + ("" if math.isnan(interval.half_width) else f" ±{interval.half_width:.{digits}f}")


def value_text(row: Row, measure: str) -> str:
    """A row's value of a measure, in brackets where it cannot be compared."""
    if measure not in row.scores:
        return NOTHING
    text = interval_text(row.scores[measure], MEASURES[measure].digits)
    return text if row.comparable(measure) else f"({text})"


def measures_of(rows: Sequence[Row]) -> list[str]:
    """Measures that any row has, in the order in which they are shown."""
    return [name for name in MEASURES if any(name in row.scores and _known(row.scores[name].mean) for row in rows)]


def _known(value: float) -> bool:
    return not math.isnan(value)


def score_table(rows: Sequence[Row]) -> str:
    """Every row with its rate and scores; of the first measure also women, men and the worst file."""
    names = measures_of(rows)
    first = names[0] if names else ""
    headings = ["codec", "kbps", "delay ms", MEASURES[first].title, *SEXES.values(), "worst file"] if names else []
    headings += [MEASURES[name].title for name in names[1:]]
    return _markdown([*headings, "flagged"], [_score_row(row, first, names[1:]) for row in rows])


def _score_row(row: Row, first: str, others: Sequence[str]) -> list[str]:
    return [
        row.label,
        f"{row.kbps:.2f}",
        delay_text(row),
        value_text(row, first),
        *(mean_text(row.by_sex.get(sex, {}).get(first), first) for sex in SEXES),
        f"{row.worst.get(first, math.nan):.{MEASURES[first].digits}f}".replace("nan", NOTHING),
        *(value_text(row, name) for name in others),
        str(row.flagged),
    ]


def mean_text(interval: Interval | None, measure: str) -> str:
    """A mean without its interval."""
    known = interval is not None and _known(interval.mean)
    return f"{interval.mean:.{MEASURES[measure].digits}f}" if interval and known else NOTHING


def delay_text(row: Row) -> str:
    """The algorithmic delay in milliseconds, where it is known."""
    return f"{row.delay_ms:.0f}" if row.delay_ms else NOTHING


def difference_table(found: Sequence[Versus]) -> str:
    """Each of our points against each peer's curve at the same rate, in total and for women and men."""
    others = list(dict.fromkeys(each.other for each in found))
    cells = {(each.ours, each.measure, each.other): _difference(each) for each in found}
    ours = dict.fromkeys((each.ours, each.kbps, each.measure) for each in found)
    rows = [
        [
            label,
            f"{kbps:.2f}",
            MEASURES[measure].title,
            *(cells.get((label, measure, other), NOTHING) for other in others),
        ]
        for label, kbps, measure in ours
    ]
    return _markdown(["ours", "kbps", "measure", *others], rows)


def _difference(found: Versus) -> str:
    everybody, women, men, _ = found.difference
    digits = MEASURES[found.measure].digits
    text = interval_text(everybody, digits, signed=True)
    apart = ", ".join(
        f"{sex} {interval_text(part, digits, signed=True).partition(' ')[0]}"
        for sex, part in (("women", women), ("men", men))
        if part.speakers
    )
    few = f"{everybody.speakers} of {everybody.speakers + everybody.left_out} speakers" if everybody.left_out else ""
    notes = "; ".join(note for note in (apart, few) if note)
    return f"{text} ({notes})" if notes else text


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


def _peers(curves: Curves) -> list[str]:
    return [name for name, curve in curves.items() if curve[0].codec.kind == "peer" and len(curve) > 1]


def document(points: Sequence[Point], curves: Curves) -> str:
    """All tables with the notes that belong to them."""
    files = {result.file for point in points for result in point.results}
    speakers = {result.speaker for point in points for result in point.results}
    parts = [f"{len(files)} files of {len(speakers)} speakers. {NOTES}", score_table([*map(row_of, points)])]
    if any(point.codec.kind == "model" for point in points) and _peers(curves):
        parts += comparisons(differences_of(points, curves), bd_table(points, curves))
    return "\n\n".join(parts) + "\n"


def comparisons(found: Sequence[Versus], bd_rates: str) -> list[str]:
    """The tables of our models against the others, each after its explanation."""
    return [
        "Difference at equal rate, ours minus the other, speaker by speaker at the rate that ours took for that "
        f"speaker, interpolated between the other's nearest rates ({NOTHING}: outside of its rates, or not to be "
        "compared):",
        difference_table(found),
        "BD-rate: how much more (+) or less (-) rate ours needs for equal quality, on average over the range that both "
        f"reach ({NOTHING}: none, or a curve that does not rise):",
        bd_rates,
    ]


def _markdown(headers: list[str], rows: list[list[str]]) -> str:
    return tabulate(rows, headers, "github", disable_numparse=True)
