"""The curves as Markdown, for a paper or a README."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from comparison.numbers.curves import Versus
from comparison.numbers.points import BY_BAND, MEASURES, SEXES, Point
from comparison.numbers.summary import BdRate, Summary
from measures.intervals import Interval

NOTES = (
    "Rates are measured: all bytes of our written file; of the other codecs the bits of their packets, without "
    "container. Intervals are 95 % over speakers. In brackets: the codec high-passes its input or generates another "
    "waveform, so that waveform measures cannot be compared. Padded: with half a second of silence around both "
    "signals; flagged: files whose PESQ changes by more than 0.3 with it. Delay: frame and look-ahead by the codec's "
    "specification. Band: as coded, for Opus by its packets' own headers. Level errors have signs; errors in windows "
    "of 4 and 32 ms are of log band energies in speech."
)
NOTHING = "–"
DIFFERENCE_NOTE = (
    "Difference at equal rate, ours minus the other, speaker by speaker at the rate that ours took for that speaker, "
    f"interpolated between the other's nearest rates ({NOTHING}: outside of its rates, or not to be compared):"
)
BD_NOTE = (
    "BD-rate: how much more (+) or less (-) rate ours needs for equal quality, on average over the range that both "
    f"reach; in brackets the rates of ours where that is ({NOTHING}: none, or a curve that does not rise):"
)


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


def measures_of(points: Sequence[Point]) -> list[str]:
    """Measures that any point has, if only infinite values, in the order in which they are shown."""
    known = {name for point in points for name, each in point.intervals.items() if not math.isnan(each.mean)}
    return [name for name in MEASURES if name in known]


def score_table(points: Sequence[Point]) -> str:
    """Every point with its rate and scores; of the first measure also women, men and the worst file."""
    names = measures_of(points)
    first = names[0] if names else ""
    groups = {title: columns for title, columns in BY_BAND.items() if _any_has(points, columns)}
    headings = ["codec", "kbps", "delay ms", "band"]
    headings += [MEASURES[first].title, *SEXES.values(), "worst file"] if names else []
    headings += [*(MEASURES[name].title for name in names[1:]), *groups, "flagged"]
    return markdown(headings, [_score_row(each, first, names[1:], list(groups.values())) for each in points])


def _score_row(point: Point, first: str, others: Sequence[str], groups: Sequence[Sequence[str]]) -> list[str]:
    parts = [point.of_sex(sex) for sex in SEXES]
    return [
        point.label,
        f"{point.kbps:.2f}",
        delay_text(point),
        point.coded or NOTHING,
        value_text(point, first),
        *(mean_text(part, first) if part else NOTHING for part in parts),
        f"{point.worst(first):.{MEASURES[first].digits}f}".replace("nan", NOTHING),
        *(value_text(point, name) for name in others),
        *(bands_text(point, columns) for columns in groups),
        str(point.flagged),
    ]


def jury_table(points: Sequence[Point]) -> str:
    """Every point with its rate and the scores of every judge, also by bands."""
    names = measures_of(points)
    groups = {title: columns for title, columns in BY_BAND.items() if _any_has(points, columns)}
    headings = ["codec", "kbps", "delay ms", "band", "files", *(MEASURES[name].title for name in names), *groups]
    lines = [
        [
            point.label,
            f"{point.kbps:.2f}" if point.kbps else NOTHING,
            delay_text(point),
            point.coded or NOTHING,
            str(len(point.results)),
            *(value_text(point, name) for name in names),
            *(bands_text(point, columns) for columns in groups.values()),
        ]
        for point in points
    ]
    return markdown(headings, lines)


def part_table(parts: Sequence[tuple[str, Point]]) -> str:
    """Scores of every codec on each part of a corpus, which is named where there are several."""
    names = measures_of([point for _, point in parts])
    named = any(part for part, _ in parts)
    lines = [
        [
            *([part] if named else []),
            point.label,
            str(len(point.results)),
            f"{point.kbps:.2f}",
            delay_text(point),
            *(value_text(point, name) for name in names),
        ]
        for part, point in parts
    ]
    headings = ["codec", "files", "kbps", "delay ms", *(MEASURES[name].title for name in names)]
    return markdown(["sounds", *headings] if named else headings, lines)


def paired_table(found: Sequence[tuple[str, Mapping[str, Interval]]]) -> str:
    """Differences of codecs from another, measure by measure."""
    names = [name for name in MEASURES if any(name in differences for _, differences in found)]
    lines = [
        [
            label,
            *(
                interval_text(differences[name], MEASURES[name].digits, signed=True) if name in differences else NOTHING
                for name in names
            ),
        ]
        for label, differences in found
    ]
    return markdown(["codec", *(MEASURES[name].title for name in names)], lines)


def _any_has(points: Sequence[Point], columns: Sequence[str]) -> bool:
    return any(name in point.intervals for point in points for name in columns)


def bands_text(point: Point, columns: Sequence[str]) -> str:
    """Means of values by bands, from low to high."""
    if not set(columns) <= set(point.intervals):
        return NOTHING
    means = [point.intervals[name].mean for name in columns]
    return " / ".join(f"{mean:{'+' if min(means) < 0 else ''}.1f}" for mean in means)


def mean_text(point: Point, measure: str) -> str:
    """A mean without its interval."""
    mean = point.intervals[measure].mean if measure in point.intervals else math.nan
    return NOTHING if math.isnan(mean) else f"{mean:.{MEASURES[measure].digits}f}"


def delay_text(point: Point) -> str:
    """The algorithmic delay in milliseconds, where it is known."""
    return f"{point.delay_ms:.3g}" if point.delay_ms else NOTHING


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
    return markdown(["ours", "kbps", "measure", *others], rows)


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


def bd_table(found: Sequence[BdRate]) -> str:
    """BD-rate of each of our curves against each of the others."""
    others = list(dict.fromkeys(each.other for each in found))
    cells = {(each.ours, each.measure, each.other): saving_text(each) for each in found}
    rows = [
        [name, MEASURES[measure].title, *(cells.get((name, measure, other), NOTHING) for other in others)]
        for name, measure in dict.fromkeys((each.ours, each.measure) for each in found)
    ]
    return markdown(["ours", "measure", *others], rows)


def saving_text(found: BdRate) -> str:
    """A BD-rate with the rates of ours that it covers."""
    covered = "" if math.isnan(found.lowest) else f" ({found.lowest:.1f} to {found.highest:.1f} kbps)"
    return f"{found.percent:+.0f} %{covered}"


def document(summary: Summary) -> str:
    """All tables with the notes that belong to them."""
    corpus = f"{summary.corpus}: " if summary.corpus else ""
    parts = [f"{corpus}{summary.extent()}. {NOTES}", score_table(summary.points)]
    if summary.differences:
        parts += [DIFFERENCE_NOTE, difference_table(summary.differences)]
    if summary.bd_rates:
        parts += [BD_NOTE, bd_table(summary.bd_rates)]
    return "\n\n".join(parts) + "\n"


def record(summary: Summary) -> str:
    """How every other codec was run, and the releases of all programs."""
    lines = [f"- {name}: " + ", then ".join(f"`{each}`" for each in calls) for name, calls in summary.commands.items()]
    versions = ", ".join(f"{name} {version}" for name, version in summary.versions.items())
    return "\n".join(lines) + f"\n\n{versions}\n" + _absent(summary)


def _absent(summary: Summary) -> str:
    """What is not in the tables, and why."""
    lines = [*(f"- {name}: {reason}" for name, reason in summary.left_out.items()), *(f"- {e}" for e in summary.faults)]
    return "\n## Left out or failed\n\n" + "\n".join(lines) + "\n" if lines else ""


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, without columns in which no row has anything."""
    kept = [place for place in range(len(headers)) if any(row[place] not in ("", NOTHING) for row in rows) or not rows]
    headers, rows = [headers[at] for at in kept], [[row[at] for at in kept] for row in rows]
    return tabulate(rows, headers, "github", disable_numparse=True)
