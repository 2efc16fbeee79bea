"""Where a codec's noise is: noise-to-signal ratio and level error per octave band, in speech and in pauses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from comparison.figures import plots
from comparison.numbers.points import MEN, SEXES, WOMEN, Point, points_of
from comparison.results import Result, Store
from constants import SAMPLE_RATE
from measures.intervals import Interval, mean_with_interval
from nsc.errors import UserError
from utilities import load_speech

WINDOW = 512  # samples, 32 ms, a frame every half of it
CENTRES = (63, 125, 250, 500, 1000, 2000, 4000, 8000)  # Hz, octaves; the last ends at half the sample rate
PAUSE_DB = 35.0  # frames so far below the loud ones of their file are pauses
LOUD_PERCENTILE = 95
FEWEST_FRAMES = 5  # of speech or pause in a file, for its bands to count
HEADROOM_DB = 4.0  # of a picture beyond its lines; wide intervals of few speakers are cut there
FLOOR = 1e-12  # of power: digital silence has no ratio
PARTS = ("speech", "pauses")
OPUS = "opus-audio-*"  # it does not high-pass its input
COLOURS = {WOMEN: plots.OURS[0], MEN: plots.OURS[1], "": plots.OURS[3]}

Signal = NDArray[np.floating]
Bands = NDArray[np.float64]


class Spectrum(NamedTuple):
    """Of one file, in dB [bands], NaN where a band or part is empty.

    noise: power of the difference of decoded and original over that of the original.
    level: power of the decoded over that of the original.
    """

    noise: Bands
    level: Bands


def band_of_bins() -> NDArray[np.int64]:
    """The octave band [257] of each bin of a frame; -1 below the lowest."""
    frequencies = np.arange(WINDOW // 2 + 1) * SAMPLE_RATE / WINDOW
    lowest = np.array(CENTRES) / math.sqrt(2)
    return np.searchsorted(lowest, frequencies, side="right") - 1


def spectra(reference: Signal, decoded: Signal) -> dict[str, Spectrum]:
    """Noise and level of a decoded signal [n] by octave bands, in speech and in pauses.

    Args:
        reference: signal before coding, 16 kHz.
        decoded: signal after it, aligned.
    """
    powers = [_power(each) for each in (reference, decoded, decoded - reference)]
    levels = 10 * np.log10(powers[0].sum(axis=0) + FLOOR)
    pause = levels < np.percentile(levels, LOUD_PERCENTILE) - PAUSE_DB
    return {part: _ratios(powers, frames) for part, frames in zip(PARTS, (~pause, pause), strict=True)}


def _power(signal: Signal) -> Bands:
    """Power [bands, frames]."""
    _, _, spectrum = scipy.signal.stft(signal, nperseg=WINDOW)
    bands = band_of_bins()
    power = np.abs(spectrum) ** 2
    return np.stack([power[bands == band].sum(axis=0) for band in range(len(CENTRES))])


def _ratios(powers: Sequence[Bands], frames: NDArray[np.bool_]) -> Spectrum:
    if np.count_nonzero(frames) < FEWEST_FRAMES:
        empty = np.full(len(CENTRES), math.nan)
        return Spectrum(empty, empty)
    original, coded, noise = (power[:, frames].sum(axis=1) + FLOOR for power in powers)
    return Spectrum(10 * np.log10(noise / original), 10 * np.log10(coded / original))


class Averages(NamedTuple):
    """Means over speakers [bands] with 95 % intervals of `noise` and `level`, by part of speech."""

    noise: Mapping[str, Sequence[Interval]]
    level: Mapping[str, Sequence[Interval]]


def averages(results: Sequence[Result]) -> Averages:
    """Averages over decoded files, each speaker counting once."""
    found = [spectra(load_speech(Path(each.corpus) / each.file), load_speech(Path(each.decoded))) for each in results]
    speakers = [result.speaker for result in results]

    def mean(part: str, kind: int) -> list[Interval]:
        values = np.array([each[part][kind] for each in found])
        return [mean_with_interval(values[:, band].tolist(), speakers) for band in range(len(CENTRES))]

    noise, level = ({part: mean(part, kind) for part in PARTS} for kind in (0, 1))
    return Averages(noise, level)


def draw_spectra(store: Store, patterns: Sequence[str], beside: str) -> list[Path]:
    """Draws a picture per codec into plots/ of the store's folder.

    Args:
        store: results.
        patterns: codecs, by label or name; none: ours.
        beside: pattern of codecs, of which the one of the nearest rate is drawn alongside.

    Returns:
        The pictures as PNG.

    Raises:
        UserError: there are no results, or none that match.
    """
    points = points_of(store.codecs(), store.all())
    chosen = [point for point in points if _is_chosen(point, patterns)]
    if not chosen:
        labels = ", ".join(point.label for point in points)
        raise UserError(f"expected a measured codec, found none for '{' '.join(patterns)}'; there are {labels}")
    return draw_points(chosen, points, store.output, beside)


def draw_points(chosen: Sequence[Point], points: Sequence[Point], output: Path, beside: str = OPUS) -> list[Path]:
    """Draws a picture of each chosen point with the nearest rate of those that match a pattern alongside."""
    others = [point for point in points if fnmatch(point.codec.name, beside)]
    return [_draw(point, _nearest(point, others), output / "plots") for point in chosen]


def picture_name(point: Point) -> str:
    """Name of a point's picture without its ending."""
    return "spectrum_" + "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in point.label)


def _is_chosen(point: Point, patterns: Sequence[str]) -> bool:
    if not patterns:
        return point.codec.kind == "model"
    return any(fnmatch(text, pattern) for pattern in patterns for text in (point.label, point.codec.name))


def _nearest(point: Point, others: Sequence[Point]) -> Point | None:
    kept = [other for other in others if other.codec.name != point.codec.name]
    return min(kept, key=lambda other: abs(math.log(other.kbps / point.kbps)), default=None)


def _draw(point: Point, other: Point | None, folder: Path) -> Path:
    figure, axes = plots.matplotlib_figure(11, 7, nrows=2, ncols=2, sharex=True)
    for drawn, style in ((point, "-"), (other, "--")):
        for sex, results in _by_sex(drawn.results if drawn else ()).items():
            assert drawn  # without it there are no results
            name = f"{drawn.label} ({drawn.kbps:.1f} kbps), {SEXES.get(sex, 'all')}"
            _draw_lines(axes, averages(results), name, COLOURS[sex], style)
    for row, part in zip(axes, PARTS, strict=True):
        _label(row, part, point)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=9)
    return plots.save(figure, folder / picture_name(point))


def _by_sex(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results of women and of men; of all under an empty name where the corpus does not give it."""
    found = {sex: [result for result in results if result.sex == sex] for sex in SEXES}
    if any(found.values()):
        return {sex: group for sex, group in found.items() if group}
    return {"": list(results)} if results else {}


def _draw_lines(axes: Any, found: Averages, name: str, colour: str, style: str) -> None:
    places = np.arange(len(CENTRES))
    for row, part in zip(axes, PARTS, strict=True):
        for cell, intervals in zip(row, (found.noise[part], found.level[part]), strict=True):
            means, widths = (np.array([each[field] for each in intervals]) for field in (0, 1))
            cell.plot(places, means, style, color=colour, marker="o", markersize=4, label=name)
            if style == "-":
                cell.fill_between(places, means - widths, means + widths, color=colour, alpha=0.15, linewidth=0)


def _label(row: Any, part: str, point: Point) -> None:
    fair = "" if point.codec.waveform and not point.codec.high_pass else ", waveforms not comparable"
    for cell, title in zip(row, (f"noise to signal in {part}{fair}", f"level error in {part}"), strict=True):
        cell.set_title(title, fontsize=10)
        cell.axhline(0, color=plots.INK, linewidth=0.6)
        cell.set_xticks(range(len(CENTRES)), [f"{each}" if each < 1000 else f"{each // 1000}k" for each in CENTRES])
        cell.set_ylabel("dB")
        cell.grid(alpha=0.25)
        drawn = np.concatenate([line.get_ydata() for line in cell.get_lines()] or [np.zeros(1)])
        cell.set_ylim(np.nanmin(drawn) - HEADROOM_DB, np.nanmax(drawn) + HEADROOM_DB)
        if part == PARTS[-1]:
            cell.set_xlabel("octave band, Hz")
