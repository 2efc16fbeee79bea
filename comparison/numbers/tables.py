"""The curves as Markdown, for a paper or a README."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from comparison.numbers.curves import BY_BAND, MEASURES
from comparison.numbers.rows import SEXES, Row, Versus
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
    groups = {title: columns for title, columns in BY_BAND.items() if _any_has(rows, columns)}
    headings = ["codec", "kbps", "delay ms", "band"]
    headings += [MEASURES[first].title, *SEXES.values(), "worst file"] if names else []
    headings += [*(MEASURES[name].title for name in names[1:]), *groups, "flagged"]
    return markdown(headings, [_score_row(row, first, names[1:], list(groups.values())) for row in rows])


def _score_row(row: Row, first: str, others: Sequence[str], groups: Sequence[Sequence[str]]) -> list[str]:
    return [
        row.label,
        f"{row.kbps:.2f}",
        delay_text(row),
        row.coded or NOTHING,
        value_text(row, first),
        *(mean_text(row.by_sex.get(sex, {}).get(first), first) for sex in SEXES),
        f"{row.worst.get(first, math.nan):.{MEASURES[first].digits}f}".replace("nan", NOTHING),
        *(value_text(row, name) for name in others),
        *(bands_text(row, columns) for columns in groups),
        str(row.flagged),
    ]


def jury_table(rows: Sequence[Row]) -> str:
    """Every row with its rate and the scores of every judge, also by bands."""
    names, groups = measures_of(rows), {title: columns for title, columns in BY_BAND.items() if _any_has(rows, columns)}
    headings = ["codec", "kbps", "delay ms", "band", "files", *(MEASURES[name].title for name in names), *groups]
    lines = [
        [
            row.label,
            f"{row.kbps:.2f}" if row.kbps else NOTHING,
            delay_text(row),
            row.coded or NOTHING,
            str(row.files),
            *(value_text(row, name) for name in names),
            *(bands_text(row, columns) for columns in groups.values()),
        ]
        for row in rows
    ]
    return markdown(headings, lines)


def part_table(parts: Sequence[tuple[str, Row]]) -> str:
    """Scores of every codec on each part of a corpus."""
    names = measures_of([row for _, row in parts])
    lines = [
        [
            part,
            row.label,
            str(row.files),
            f"{row.kbps:.2f}",
            delay_text(row),
            *(value_text(row, name) for name in names),
        ]
        for part, row in parts
    ]
    return markdown(["sounds", "codec", "files", "kbps", "delay ms", *(MEASURES[name].title for name in names)], lines)


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


def _any_has(rows: Sequence[Row], columns: Sequence[str]) -> bool:
    return any(name in row.bands for row in rows for name in columns)


def bands_text(row: Row, columns: Sequence[str]) -> str:
    """Means of values by bands, from low to high."""
    if not set(columns) <= set(row.bands):
        return NOTHING
    signs = "+" if any(row.bands[name].mean < 0 for name in columns) else ""
    return " / ".join(f"{row.bands[name].mean:{signs}.1f}" for name in columns)


def mean_text(interval: Interval | None, measure: str) -> str:
    """A mean without its interval."""
    known = interval is not None and _known(interval.mean)
    return f"{interval.mean:.{MEASURES[measure].digits}f}" if interval and known else NOTHING


def delay_text(row: Row) -> str:
    """The algorithmic delay in milliseconds, where it is known."""
    return f"{row.delay_ms:.3g}" if row.delay_ms else NOTHING


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
    parts = [f"{corpus}{summary.extent()}. {NOTES}", score_table(summary.rows)]
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
