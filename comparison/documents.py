"""README, docs and figures, made of the results that are kept with the code, so that they cannot differ from these."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from comparison.coders import EVEN_STEPS
from comparison.kept import ROOT, TABLE, Kept, digest, read_kept
from comparison.numbers import tables
from comparison.numbers.curves import curves_of
from comparison.numbers.points import MEASURES, TALK_MS, Point, points_of
from comparison.numbers.summary import Summary, points_of_parts, summary_of
from measures.time_structure import OCTAVE_COLUMNS
from nsc.errors import UserError
from utilities import atomic_write

START, END = "<!-- results: written by report.py tables -->\n", "<!-- end of results -->"
FIGURE_KEY = "results"  # of a figure's metadata, the hash of the results that it shows
SHOWN = (
    *("lyra-*", "evs-9.6", "evs-16.4", "evs-24.4", "lc3-24", "lc3-32"),
    *(f"amr-wb-{kbps}" for kbps in ("8.85", "15.85", "23.85")),
)
OPUS_SHOWN = (6, 9, 12, 16, 24, 32)  # kbps asked for
OPUS = ("opus-av-audio-vbr", "opus-audio-vbr")  # the newest that was measured
OPUS_CURVES = ("Opus (av) audio VBR", "Opus audio VBR")
JUDGES = ("pesq_wb", "distill_mos", "nisqa", "warpq", "visqol", "stoi", "si_sdr", "rms_4ms")
PLOTTED = ("pesq_wb", "distill_mos", "nisqa", "warpq", "visqol", "stoi")  # the first three that were measured


class Places(NamedTuple):
    """Where results and documents lie.

    results: folder of the table.
    """

    results: Path = ROOT / "results"
    document: Path = ROOT / "docs" / "results.md"
    readme: Path = ROOT / "README.md"
    figure: Path = ROOT / "docs" / "rate_pesq_wb.png"
    jury: Path = ROOT / "docs" / "rate_jury.png"

    def others(self) -> list[Kept]:
        """Results on other sounds, each in a folder of its own."""
        return [read_kept(path.parent) for path in sorted(self.results.glob(f"*/{TABLE}"))]


def write_documents(places: Places) -> list[Path]:
    """Writes the tables into README and docs, and the figures; returns what was written.

    Raises:
        UserError: there are no results, or a document has no marks.
    """
    kept = read_kept(places.results)
    summary = summary_of(kept)
    contents = {places.document: document(summary, places.others()), places.readme: short_document(summary)}
    written = {path: with_content(path, content) for path, content in contents.items()}
    for path, text in written.items():
        atomic_write(path, text)
    return [*written, *_draw(kept, places)]


def document(summary: Summary, others: Sequence[Kept] = ()) -> str:
    """All tables, the figure, other sounds, and how the others were run."""
    figure = "![PESQ-WB over measured kbps](rate_pesq_wb.png)\n\n"
    parts = "".join(map(_other_sounds, others))
    return f"{tables.document(summary)}\n{figure}{parts}## How the others were run\n\n{tables.record(summary)}\n"


def _other_sounds(kept: Kept) -> str:
    """A section on sounds that no model was trained on, with differences at equal rate where Opus has several."""
    summary = summary_of(kept)
    paired = equal_rate(summary, [point for point in summary.points if point.codec.kind == "model"])
    title = kept.corpus[:1].upper() + kept.corpus[1:]
    about = summary.extent("speakers, players or recordings")
    table = tables.part_table(points_of_parts(kept))
    return f"## {title}\n\n{about}, none of which a model was trained on.\n\n{table}\n\n{paired}"


def short_document(summary: Summary) -> str:
    """The README's tables: ours for talking beside some others, what differs at equal rate, and ours for files."""
    ours = [each for each in summary.points if each.codec.kind == "model" and EVEN_STEPS not in each.codec.family]
    talking = [point for point in ours if point.delay_ms <= TALK_MS]
    files = [point for point in ours if point not in talking]
    title = f"At most {TALK_MS:.0f} ms of delay"
    parts = [_part(title, [*talking, *_others(summary)], summary), equal_rate(summary, talking)] if talking else []
    return "".join([*parts, _part("Files, in long groups", files, summary)])


def _others(summary: Summary) -> list[Point]:
    """A choice of the other codecs near our rates."""
    peers = [point for point in summary.points if point.codec.kind == "peer"]
    newest = next((name for name in OPUS if any(each.codec.name.startswith(name) for each in peers)), OPUS[-1])
    patterns = [*SHOWN, *(f"{newest}-{kbps}" for kbps in OPUS_SHOWN)]
    return [point for point in peers if any(fnmatch(point.codec.name, each) for each in patterns)]


def _part(title: str, points: Sequence[Point], summary: Summary) -> str:
    """A table with its caption."""
    points = sorted(points, key=lambda point: point.kbps)
    names = [name for name in JUDGES if name in tables.measures_of(points)]
    headings = ["codec", "kbps", "delay ms", "band", *(MEASURES[name].title for name in names), "level dB"]
    table = tables.markdown(headings, [_line(point, names) for point in points])
    corpus = f"{summary.corpus}, " if summary.corpus else ""
    caption = (
        f"**{title}**: {corpus}{summary.extent('test speakers')},\n"
        "means over speakers with 95 % intervals. Band: as coded. Level: of the octave where it is furthest off.\n\n"
    )
    return f"{caption}{table}\n\n"


def _line(point: Point, names: Sequence[str]) -> list[str]:
    label = f"**{point.label}**" if point.codec.kind == "model" else point.label
    values = [tables.value_text(point, name) for name in names]
    band = point.coded or tables.NOTHING
    return [label, f"{point.kbps:.2f}", tables.delay_text(point), band, *values, _worst_level(point)]


def _worst_level(point: Point) -> str:
    levels = [point.intervals[name].mean for name in OCTAVE_COLUMNS if name in point.intervals]
    return f"{max(levels, key=abs):+.1f}" if levels else tables.NOTHING


def equal_rate(summary: Summary, ours: Sequence[Point]) -> str:
    """What ours score above the newest Opus at equal rate by every judge."""
    newest = next((name for name in OPUS_CURVES if any(each.other == name for each in summary.differences)), "")
    found = {
        (each.ours, each.measure): tables.interval_text(
            each.difference.everybody, MEASURES[each.measure].digits, signed=True
        )
        for each in summary.differences
        if each.other == newest and each.ours in {point.label for point in ours}
    }
    if not found:
        return ""
    names = [name for name in JUDGES if any(measure == name for _, measure in found)]
    rows = [
        [point.label, f"{point.kbps:.2f}", *(found.get((point.label, name), tables.NOTHING) for name in names)]
        for point in ours
        if any((point.label, name) in found for name in names)
    ]
    table = tables.markdown(["codec", "kbps", *(MEASURES[name].title for name in names)], rows)
    title = f"At equal rate, ours minus {newest}, in pairs of each speaker (errors in dB: less is better):"
    return f"{title}\n\n{table}\n\n"


def with_content(path: Path, content: str) -> str:
    """The text of a document with other content between its two marks.

    Raises:
        UserError: it has no marks.
    """
    before, start, rest = path.read_text().partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise UserError(f"expected the marks {START.strip()} and {END} in {path.name}, found none; put them there")
    return before + START + content + END + after


def _draw(kept: Kept, places: Places) -> list[Path]:
    """The figures, each with the hash of the results in its metadata."""
    import tempfile

    from comparison.figures import plots

    points = points_of(kept.codecs, kept.results)
    talking = [point for point in points if point.delay_ms <= TALK_MS]
    judges = [name for name in PLOTTED if any(point.has(name) for point in talking)][:3]
    with tempfile.TemporaryDirectory() as folder:
        _stamp(plots.draw_rate_distortion(curves_of(points), "pesq_wb", Path(folder)), places.figure, places)
        _stamp(plots.draw_jury(curves_of(talking), judges, Path(folder)), places.jury, places)
    return [places.figure, places.jury]


def _stamp(drawn: Path, path: Path, places: Places) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    known, buffer = PngInfo(), io.BytesIO()
    known.add_text(FIGURE_KEY, digest(places.results))
    with Image.open(drawn) as picture:
        picture.save(buffer, "PNG", pnginfo=known, optimize=True)
    atomic_write(path, buffer.getvalue())
