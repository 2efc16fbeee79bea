"""Where the bits of a file go: bits per frame of every part over time, and how its quantisers' bins are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from comparison.figures import plots
from comparison.figures.spectrograms import PICTURE_HOP, picture_top, spectrogram
from constants import HOP, SAMPLE_RATE
from nsc.coding.interface import Signal
from utilities import load_speech

if TYPE_CHECKING:
    from runs.saved_model import SavedModel

MOST_BINS_NAMED = 12


class Allocation(NamedTuple):
    """Bits that a model spends on a file.

    bits: ideal code length of each part as a file codes it, gain included, float64 [frames] by part.
    counts: how often each bin of each part's codebook was chosen, int64 [bins] by part.
    frame_seconds: new speech of a frame.
    """

    bits: dict[str, NDArray[np.float64]]
    counts: dict[str, NDArray[np.int64]]
    frame_seconds: float = HOP / SAMPLE_RATE


def allocate(model: SavedModel, signal: Signal) -> Allocation:
    """Codes a signal [n] of 16 kHz with all layers and counts."""
    import nsc

    data = nsc.encode(signal, model.coding)
    lengths, symbols = model.coding.code_lengths(data), model.coding.symbols(data)
    counts = {
        part.name: np.bincount(symbols[part.name].reshape(-1), minlength=part.alphabet)
        for part in model.cascade.parts()
    }
    return Allocation(lengths.bits, counts, lengths.frame_seconds)


def codebooks(model: SavedModel) -> dict[str, NDArray[np.float32]]:
    """Where the bins of each part lie: [bins], or [bins, dimensions] of a vector quantiser."""
    return model.kind.codebooks(model.cascade)


def draw_bits(model: SavedModel, paths: Sequence[Path], folder: Path) -> list[str]:
    """Draws the bits of the first file, and the bins that all files together use.

    Args:
        model: what codes.
        paths: speech.
        folder: gets bits_<model>_<file>.png and .svg.

    Returns:
        Lines for a terminal: the picture, bits per frame by part, dead bins by name.
    """
    signals = [load_speech(path) for path in paths]
    allocations = [allocate(model, signal) for signal in signals]
    counts = {name: np.sum([each.counts[name] for each in allocations], axis=0) for name in allocations[0].counts}
    first = allocations[0]
    path = _draw(signals[0], first, counts, folder / f"bits_{model.digest}_{paths[0].stem}")
    spent = ", ".join(f"{name} {values.mean():.1f}" for name, values in allocations[0].bits.items())
    return [
        str(path),
        f"{paths[0].name}: bits per frame of {1000 * first.frame_seconds:.0f} ms: {spent}",
        *_bin_lines(counts, codebooks(model)),
    ]


def _bin_lines(counts: dict[str, NDArray[np.int64]], books: dict[str, NDArray[np.float32]]) -> list[str]:
    lines = []
    for name, used in counts.items():
        shares = used[used > 0] / used.sum()
        entropy = float(-np.sum(shares * np.log2(shares)))
        dead = np.flatnonzero(used == 0)
        named = ", ".join(_bin_text(place, books[name][place]) for place in dead[:MOST_BINS_NAMED])
        more = f" and {len(dead) - MOST_BINS_NAMED} more" if len(dead) > MOST_BINS_NAMED else ""
        lines.append(
            f"{name}: {len(used) - len(dead)} of {len(used)} bins used, {entropy:.2f} bits per symbol without context"
            + (f"; never used: {named}{more}" if len(dead) else "")
        )
    return lines


def _bin_text(place: int, value: NDArray[np.float32]) -> str:
    return f"{place} (at {float(value):.3f})" if np.ndim(value) == 0 else str(place)


def _draw(signal: Signal, allocation: Allocation, counts: dict[str, NDArray[np.int64]], path: Path) -> Path:
    heights = [1.6, 1.6, *[1.0] * len(counts)]
    figure, axes = plots.matplotlib_figure(10, 1.5 * sum(heights), nrows=len(heights), height_ratios=heights)
    seconds = len(signal) / SAMPLE_RATE
    colours = ["#9aa4ae", *plots.OURS]
    shown = spectrogram(signal, picture_top(signal))
    width = (shown.shape[1] - 0.5) * PICTURE_HOP / SAMPLE_RATE
    axes[0].imshow(shown, aspect="auto", extent=(-0.5 * PICTURE_HOP / SAMPLE_RATE, width, 0, SAMPLE_RATE / 2000))
    axes[0].set_ylabel("kHz")
    axes[0].set_xlim(0, seconds)
    axes[0].tick_params(labelbottom=False)
    _draw_over_time(axes[1], allocation, colours, seconds)
    for place, (name, used) in enumerate(counts.items()):
        _draw_bins(axes[2 + place], name, used, colours[1 + place])
    figure.align_ylabels(axes)
    return plots.save(figure, path)


def _draw_over_time(axes: Any, allocation: Allocation, colours: Sequence[str], seconds: float) -> None:
    bits = allocation.bits
    frames = len(next(iter(bits.values())))
    times = np.arange(frames + 1) * allocation.frame_seconds
    floor = np.zeros(frames)
    for colour, (name, values) in zip(colours, bits.items(), strict=False):
        axes.stairs(floor + values, times, baseline=floor, fill=True, color=colour, label=name)
        floor = floor + values
    axes.set_xlim(0, seconds)
    axes.set_ylabel("bits per frame")
    axes.set_xlabel("seconds")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)


def _draw_bins(axes: Any, name: str, used: NDArray[np.int64], colour: str) -> None:
    """Share of each bin on a logarithmic scale; dead ones are crosses on the floor."""
    shares = used / used.sum()
    lowest = shares[shares > 0].min() / 3
    axes.bar(np.arange(len(used)), np.maximum(shares, lowest * (shares > 0)), width=0.9, color=colour)
    dead = np.flatnonzero(used == 0)
    if len(dead):  # a line without points, not clipped, spoils the layout
        axes.plot(dead, np.full(len(dead), lowest), "x", color=plots.INK, markersize=4, clip_on=False)
    axes.set_yscale("log")
    axes.set_ylim(lowest, 1)
    axes.set_xlim(-1, len(used))
    axes.set_ylabel("share")
    axes.set_xlabel(f"bins of {name}" + (f", {len(dead)} never used (crosses)" if len(dead) else ", all used"))
