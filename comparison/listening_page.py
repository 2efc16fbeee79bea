"""The page to listen to: one folder that opens from disk, with curves, scores, players, spectrograms and residuals."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from comparison import plots, tables
from comparison.curves import MEASURES, Curves, Point, curves_of, points_of, shown_measures
from comparison.drawing import PLOTS, draw_all
from comparison.results import Codec, Result, Store, faults
from comparison.rows import SEXES, row_of
from comparison.spectrum import draw_points, picture_name
from constants import SAMPLE_RATE
from nsc.coding.interface import Signal
from nsc.errors import UserError
from utilities import atomic_write, load_speech

PARTS = Path(__file__).parent / "page"
PICTURE_WINDOW = 400  # samples, 25 ms
PICTURE_HOP = 160  # samples, 10 ms: 100 columns a second
PICTURE_BANDS = 128
PICTURE_RANGE_DB = 80.0  # below the reference's loudest bin
PICTURE_QUALITY = 70
MOST_COLUMNS = 12  # unless the user names more
MOST_SPECTRA = 2  # of other codecs, where there is no model of ours
DEFAULT_COLUMNS = (
    *(f"opus-{application}-cbr-{kbps}" for kbps in (12, 16, 24) for application in ("audio", "voip")),
    "amr-wb-12.65",
    "amr-wb-23.85",
)


class Column(NamedTuple):
    """One column of the page: the reference, or a codec at a layer."""

    label: str
    kind: str
    point: Point | None


def write_page(store: Store, patterns: Sequence[str] = (), num_files: int = 8, title: str = "Speech codecs") -> Path:
    """Writes index.html with plots/, sounds/ and pictures/ into the store's folder.

    Args:
        store: results.
        patterns: codecs to listen to, by label or name; none: ours and a choice of the others near our rates.
        num_files: test files to listen to, spread over the speakers.
        title: of the page.

    Returns:
        The page.

    Raises:
        UserError: there are no results, nothing matches a pattern, or a library is missing.
    """
    environment = _templates()
    codecs, results = store.codecs(), store.all()
    points = points_of(codecs, results)
    columns = choose_columns(points, patterns)
    files = choose_files(columns, num_files)
    measures = shown_measures(points)
    draw_all(store)
    drawn = [column.point for column in columns if column.point]
    draw_points([point for point in drawn if point.codec.kind == "model"] or drawn[:MOST_SPECTRA], points, store.output)
    listed = [_listed_file(store.output, number, name, columns, measures) for number, name in enumerate(files)]
    page = environment.get_template("index.html.jinja").render(
        title=title,
        summary=_summary(points),
        notes=tables.NOTES,
        style=(PARTS / "style.css").read_text(),
        script="\n".join((PARTS / name).read_text() for name in ("player.js", "chart.js")),
        chart=chart_of(points, measures),
        plots=_inline_plots(store, measures),
        noise=_inline_spectra(store, columns),
        bits=[path.relative_to(store.output).as_posix() for path in sorted(store.output.glob(f"{PLOTS}/bits_*.png"))],
        measures=[{"name": name, "title": MEASURES[name].title} for name in measures],
        codecs=columns,
        files=listed,
        record=codecs,
        versions=_versions(codecs),
        faults=faults(results),
    )
    atomic_write(store.output / "index.html", page)
    _remove_unused(store.output, listed)
    return store.output / "index.html"


def _remove_unused(output: Path, files: Sequence[dict[str, Any]]) -> None:
    """Takes away what an earlier page played or showed and this one does not."""
    used = {f"sounds/{number}.js" for number in range(len(files))}
    used |= {cell[kind] for file in files for cell in file["cells"] for kind in ("spectrogram", "residual")}
    for path in [*output.glob("sounds/*.js"), *output.glob("pictures/*.webp")]:
        if path.relative_to(output).as_posix() not in used:
            path.unlink()


def _templates() -> Any:
    try:
        import jinja2
    except ImportError:
        raise UserError(f"expected jinja2, found none: {plots.INSTALL}") from None
    return jinja2.Environment(loader=jinja2.FileSystemLoader(PARTS), autoescape=True, undefined=jinja2.StrictUndefined)


def choose_columns(points: Sequence[Point], patterns: Sequence[str]) -> list[Column]:
    """The reference, then the codecs that match; without patterns ours, and others at rates near ours.

    Raises:
        UserError: a pattern matches none.
    """
    for pattern in patterns:
        if not any(_matches(point, [pattern]) for point in points):
            labels = ", ".join(point.label for point in points)
            raise UserError(f"expected a measured codec, found '{pattern}'; there are {labels}")
    ours = [point for point in points if point.codec.kind == "model"]
    peers = [point for point in points if point.codec.kind == "peer"]
    wanted = [point for point in points if _matches(point, patterns)]
    chosen = wanted or (ours + [point for point in peers if point.codec.name in DEFAULT_COLUMNS])[:MOST_COLUMNS]
    columns = [Column(point.label, point.codec.kind, point) for point in chosen]
    return [Column("reference", "reference", None), *columns]


def _matches(point: Point, patterns: Sequence[str]) -> bool:
    return any(fnmatch(text, pattern) for pattern in patterns for text in (point.label, point.codec.name))


def choose_files(columns: Sequence[Column], count: int) -> list[str]:
    """Names of files that every column has, one per speaker as long as there are speakers.

    Raises:
        UserError: no file was coded by all.
    """
    coded = [{result.file: result for result in column.point.results} for column in columns if column.point]
    common = sorted(set.intersection(*(set(each) for each in coded))) if coded else []
    if not common:
        raise UserError("expected a file that all codecs of the page have coded, found none; measure them on the same")
    turns: dict[str, int] = {}
    order = []
    for name in common:
        speaker = coded[0][name].speaker
        turns[speaker] = turns.get(speaker, -1) + 1
        order.append((turns[speaker], name))
    firsts = [name for turn, name in order if turn == 0]
    names = firsts if count <= len(firsts) else [name for _, name in sorted(order)]
    count = min(count, len(names))
    return [names[place * len(names) // count] for place in range(count)]


def _listed_file(
    output: Path, number: int, name: str, columns: Sequence[Column], measures: Sequence[str]
) -> dict[str, Any]:
    """One row of the page, whose sounds and pictures are written on the way."""
    results = [next(each for each in column.point.results if each.file == name) for column in columns if column.point]
    first = results[0]
    reference = load_speech(Path(first.corpus) / name)
    signals = [reference, *(load_speech(result.decoded) for result in results)]
    atomic_write(output / "sounds" / f"{number}.js", _sounds(number, signals))
    cells = [
        _cell(output, number, column, result, signal, reference, measures)
        for column, result, signal in zip(columns, [None, *results], signals, strict=True)
    ]
    return {"name": name, "speaker": first.speaker, "seconds": first.seconds, "cells": cells}


def _cell(
    output: Path,
    number: int,
    column: Column,
    result: Result | None,
    signal: Signal,
    reference: Signal,
    measures: Sequence[str],
) -> dict[str, Any]:
    top = picture_top(reference)
    stem = f"pictures/{number}-{re.sub(r'[^A-Za-z0-9.]+', '-', column.label)}"
    shown = spectrogram(signal, top)
    _save_picture(output / f"{stem}.webp", shown)
    cell: dict[str, Any] = {
        "kbps": f"{result.kbps:.1f} kbps" if result else "uncompressed",
        "scores": _scores(column.point, result, measures) if result else {},
        "spectrogram": f"{stem}.webp",
        "residual": "",
        "width": shown.shape[1],
        "height": shown.shape[0],
    }
    if result and len(signal) == len(reference):
        _save_picture(output / f"{stem}-residual.webp", spectrogram(signal - reference, top))
        cell["residual"] = f"{stem}-residual.webp"
    return cell


def _scores(point: Point | None, result: Result, measures: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Value and text of each measure that this file has."""
    found = {}
    for name in measures:
        value = result.measures.get(name, math.nan)
        if point and math.isfinite(value):
            text = f"{value:.{MEASURES[name].digits}f}"
            found[name] = {"value": value, "text": text if point.comparable(name) else f"({text})"}
    return found


def _sounds(number: int, signals: Sequence[Signal]) -> str:
    """A script that holds the signals as FLAC in base64; a page opened from disk may load nothing else."""
    return f"sounds[{number}] = {json.dumps([_flac(signal) for signal in signals])};\n"


def _flac(signal: Signal) -> str:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, signal, SAMPLE_RATE, subtype="PCM_16", format="FLAC")
    return base64.b64encode(buffer.getvalue()).decode()


def _decibels(signal: Signal) -> NDArray[np.float64]:
    """Log power [201, frames] of 25 ms every 10 ms."""
    signal = np.pad(signal, (0, max(0, PICTURE_WINDOW - len(signal))))  # the shortest file is one window
    _, _, spectrum = scipy.signal.stft(signal, nperseg=PICTURE_WINDOW, noverlap=PICTURE_WINDOW - PICTURE_HOP)
    return 20 * np.log10(np.abs(spectrum) + 1e-9)


def picture_top(reference: Signal) -> float:
    """The level at which pictures of a file are brightest, in dB."""
    return float(_decibels(reference).max())


def spectrogram(signal: Signal, top: float) -> NDArray[np.uint8]:
    """Spectrogram in colours [128, frames, 3], high frequencies at the top, from `top` dB down."""
    import matplotlib

    decibels = _decibels(signal)
    bands = np.linspace(len(decibels) - 1, 0, PICTURE_BANDS).round().astype(int)
    shade = np.clip(1 + (decibels[bands] - top) / PICTURE_RANGE_DB, 0, 1)
    return (255 * matplotlib.colormaps["magma"](shade)[..., :3]).round().astype(np.uint8)


def _save_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=PICTURE_QUALITY)
    atomic_write(path, buffer.getvalue())


def _inline_plots(store: Store, measures: Sequence[str]) -> list[dict[str, str]]:
    titles = {f"loss_{name}": f"{MEASURES[name].title} over lost groups" for name in measures}
    return _inline(store, titles)


def _inline_spectra(store: Store, columns: Sequence[Column]) -> list[dict[str, str]]:
    return _inline(store, {picture_name(column.point): column.label for column in columns if column.point})


def _inline(store: Store, titles: Mapping[str, str]) -> list[dict[str, str]]:
    paths = {stem: store.output / PLOTS / f"{stem}.svg" for stem in titles}
    return [
        {"title": titles[stem], "svg": _with_own_names(plots.as_inline(path.read_text()), stem)}
        for stem, path in paths.items()
        if path.is_file()
    ]


def _with_own_names(svg: str, stem: str) -> str:
    """Names within the picture made its own: several pictures in one page share theirs."""
    return re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{stem}-", svg)


def chart_of(points: Sequence[Point], measures: Sequence[str]) -> dict[str, Any]:
    """Data of the page's figure and table: every codec's scores over all files, and over each group of them.

    A group is a sex and a part of the corpus, `sex|part`, either of which may be empty for all.
    """
    curves = curves_of(points)
    families = {id(point): name for name, curve in curves.items() for point in curve}
    colours = plots.colours_of(curves)
    parts = ["", *sorted({result.collection for point in points for result in point.results})]
    sexes = [sex for sex in SEXES if any(result.sex == sex for point in points for result in point.results)]
    groups = {
        f"{sex}|{part}": [_group_row(point.part(partial(_belongs, sex, part)), measures) for point in points]
        for sex in ["", *sexes]
        for part in (parts if len(parts) > 2 else [""])
    }
    codecs = [
        {"label": point.label, "family": families[id(point)], "kind": point.codec.kind, "delay": point.delay_ms}
        | {"fair": [name for name in measures if point.comparable(name)]}
        for point in points
    ]
    return {
        "measures": {name: {"title": MEASURES[name].title, "digits": MEASURES[name].digits} for name in measures},
        "codecs": codecs,
        "groups": groups,
        "families": [
            {"name": name, "colour": colours[name], "quiet": _has_better_twin(name, curves)} for name in curves
        ],
        "sexes": [{"value": sex, "name": SEXES[sex]} for sex in sexes],
        "parts": parts[1:] if len(parts) > 2 else [],
        "headings": ["codec", "kbps", "delay ms", *(MEASURES[name].title for name in measures), "worst", "flagged"],
    }


def _has_better_twin(family: str, curves: Curves) -> bool:
    """Whether a curve is not shown at first: a constant rate where the variable one is there."""
    return family.endswith(" CBR") and f"{family.removesuffix('CBR')}VBR" in curves


def _belongs(sex: str, part: str, result: Result) -> bool:
    return sex in ("", result.sex) and part in ("", result.collection)


def _group_row(point: Point | None, measures: Sequence[str]) -> dict[str, Any] | None:
    """Rate, scores and the table's cells of a codec over a group of files."""
    if not point:
        return None
    row = row_of(point)
    first = measures[0] if measures else ""
    intervals = {name: row.scores[name] for name in measures if name in row.scores}
    worst = row.worst.get(first, math.nan)
    cells = [
        (row.label, row.label),
        (f"{row.kbps:.2f}", row.kbps),
        (tables.delay_text(row), row.delay_ms or ""),
        *((tables.value_text(row, name), intervals[name].mean if name in intervals else "") for name in measures),
        (f"{worst:.{MEASURES[first].digits}f}" if math.isfinite(worst) else tables.NOTHING, worst),
        (str(row.flagged), row.flagged),
    ]
    return {
        "kbps": row.kbps,
        "scores": {
            name: [each.mean, each.half_width if math.isfinite(each.half_width) else 0]
            for name, each in intervals.items()
            if math.isfinite(each.mean)
        },
        "cells": [
            {"text": text, "value": value if not isinstance(value, float) or math.isfinite(value) else ""}
            for text, value in cells
        ],
    }


def _summary(points: Sequence[Point]) -> str:
    files = {result.file for point in points for result in point.results}
    speakers = {result.speaker for point in points for result in point.results}
    return f"{len(files)} files of {len(speakers)} speakers."


def _versions(codecs: Sequence[Codec]) -> str:
    found = {f"{name} {version}": None for codec in codecs for name, version in codec.versions.items()}
    return ", ".join(found)
