"""The page to listen to: one folder that opens from disk, with curves, scores, players, spectrograms and residuals."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comparison.figures import plots
from comparison.figures.drawing import PLOTS, draw_all
from comparison.figures.spectrograms import energy_picture, picture_top, save_picture, spectrogram
from comparison.figures.spectrum import draw_points, picture_name
from comparison.numbers import tables
from comparison.numbers.points import MEASURES, Point, points_of, shown_measures
from comparison.page.chart import chart_of
from comparison.page.choice import Column, choose_columns, choose_files
from comparison.page.listening_test import PARTS, flac_text, templates
from comparison.results import Codec, Result, Store, faults
from measures.time_structure import LONG
from nsc.coding.interface import Signal
from utilities import atomic_write, load_speech

MOST_SPECTRA = 2  # of other codecs, where there is no model of ours


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
    environment = templates()
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
    used |= {cell[kind] for file in files for cell in file["cells"] for kind in ("spectrogram", "residual", "energy")}
    for path in [*output.glob("sounds/*.js"), *output.glob("pictures/*.webp")]:
        if path.relative_to(output).as_posix() not in used:
            path.unlink()


def _listed_file(
    output: Path, number: int, name: str, columns: Sequence[Column], measures: Sequence[str]
) -> dict[str, Any]:
    """One row of the page, whose sounds and pictures are written on the way."""
    results = [next(each for each in column.point.results if each.file == name) for column in columns if column.point]
    first = results[0]
    reference = load_speech(Path(first.corpus) / name)
    signals = [reference, *(load_speech(result.decoded) for result in results)]
    coded = json.dumps([flac_text(signal) for signal in signals])
    atomic_write(output / "sounds" / f"{number}.js", f"sounds[{number}] = {coded};\n")
    cells = [
        _cell(output, f"{number}-{column.label}", signal, reference, result)
        | {"scores": _scores(column.point, result, measures) if result else {}}
        for column, result, signal in zip(columns, [None, *results], signals, strict=True)
    ]
    return {"name": name, "speaker": first.speaker, "seconds": first.seconds, "cells": cells}


def _cell(output: Path, name: str, signal: Signal, reference: Signal, result: Result | None) -> dict[str, Any]:
    top = picture_top(reference)
    stem = f"pictures/{re.sub(r'[^A-Za-z0-9.]+', '-', name)}"
    shown = spectrogram(signal, top)
    save_picture(output / f"{stem}.webp", shown)
    cell: dict[str, Any] = {
        "kbps": f"{result.kbps:.1f} kbps" if result else "uncompressed",
        "spectrogram": f"{stem}.webp",
        "residual": "",
        "energy": "",
        "width": shown.shape[1],
        "height": shown.shape[0],
    }
    if result and len(signal) == len(reference):
        save_picture(output / f"{stem}-residual.webp", spectrogram(signal - reference, top))
        cell["residual"] = f"{stem}-residual.webp"
        if len(signal) >= LONG:
            save_picture(output / f"{stem}-energy.webp", energy_picture(reference, signal))
            cell["energy"] = f"{stem}-energy.webp"
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


def _summary(points: Sequence[Point]) -> str:
    files = {result.file for point in points for result in point.results}
    speakers = {result.speaker for point in points for result in point.results}
    return f"{len(files)} files of {len(speakers)} speakers."


def _versions(codecs: Sequence[Codec]) -> str:
    found = {f"{name} {version}": None for codec in codecs for name, version in codec.versions.items()}
    return ", ".join(found)
