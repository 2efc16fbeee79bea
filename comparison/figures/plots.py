"""Curves as pictures: quality over rate and over loss, as PNG and as SVG that takes the page's colour of text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from comparison.numbers.curves import Curves
from comparison.numbers.points import MEASURES, Point
from measures.intervals import Interval
from nsc.errors import UserError
from utilities import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INSTALL = "pip install 'neural-speech-coding[report]'"
OURS = ("#d1495b", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")
PEERS = (
    *("#7d8590", "#a06cae", "#5fa777", "#c08a3e", "#6c9bd1", "#b5838d"),
    *("#8f8f4f", "#2f6f73", "#8a5a3c", "#c77fb3", "#3f5f9f"),
)
PEER_MARKERS = "sD^vPX<"
RATE_TICKS = (3, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 128, 256)  # kbps
INK = "#010203"  # placeholder of the colour of text, see `as_inline`
PNG_DPI = 110
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def matplotlib_figure(width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure in inches with its axes, without any window.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise UserError(f"expected matplotlib, found none: {INSTALL}") from None
    matplotlib.use("Agg")
    matplotlib.rcParams.update(STYLE)
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(width, height), layout="constrained", **options)


def colours_of(curves: Curves) -> dict[str, str]:
    """Strong colours for our curves, quiet ones for the others."""
    ours = [name for name, curve in curves.items() if curve[0].codec.kind == "model"]
    peers = [name for name in curves if name not in ours]
    return {name: OURS[place % len(OURS)] for place, name in enumerate(ours)} | {
        name: PEERS[place % len(PEERS)] for place, name in enumerate(peers)
    }


def draw_rate_distortion(curves: Curves, measure: str, folder: Path) -> Path:
    """Quality over measured kbps with 95 % intervals over speakers.

    Returns:
        The PNG; the SVG is next to it.
    """
    figure, axes = matplotlib_figure(8.2, 4.6)
    _draw_curves(axes, curves, measure)
    figure.legend(loc="outside right center", fontsize=9)
    return save(figure, folder / f"rate_{measure}")


def draw_jury(curves: Curves, measures: Sequence[str], folder: Path) -> Path:
    """Quality over measured kbps by several judges, side by side.

    Returns:
        The PNG; the SVG is next to it.
    """
    figure, axes = matplotlib_figure(4.4 * len(measures), 4.4, ncols=len(measures), squeeze=False)
    for each, measure in zip(axes[0], measures, strict=True):
        _draw_curves(each, curves, measure)
    handles = dict(zip(*reversed(axes[0][0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, fontsize=9)
    return save(figure, folder / "rate_jury")


def _draw_curves(axes: Any, curves: Curves, measure: str) -> None:
    colours = colours_of(curves)
    for place, (name, curve) in enumerate(curves.items()):
        kept = [point for point in curve if point.has(measure)]
        if kept:
            _draw_curve(axes, name, kept, measure, colours[name], place)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = [tick for tick in RATE_TICKS if low <= tick <= high]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("kbps, measured")
    axes.set_ylabel(MEASURES[measure].title + (" (less is better)" if MEASURES[measure].less_is_better else ""))
    axes.grid(alpha=0.25)


def _draw_curve(axes: Any, name: str, points: Sequence[Point], measure: str, colour: str, place: int) -> None:
    ours = points[0].codec.kind == "model"
    fair = points[0].comparable(measure)
    intervals = [point.intervals[measure] for point in points]
    axes.errorbar(
        [point.kbps for point in points],
        [interval.mean for interval in intervals],
        yerr=np.nan_to_num([interval.half_width for interval in intervals]),
        label=name if fair else f"{name} (high-passed: not comparable)",
        color=colour,
        marker="o" if ours else PEER_MARKERS[place % len(PEER_MARKERS)],
        markersize=6 if ours else 4.5,
        linewidth=2.2 if ours else 1.2,
        linestyle="-" if fair else ":",
        alpha=1 if fair else 0.55,
        markerfacecolor=colour if fair else "none",
        capsize=2,
        elinewidth=0.9,
        zorder=3 if ours else 2,
    )


def draw_loss(by_loss: Mapping[float, Sequence[Point]], measure: str, folder: Path) -> Path:
    """Quality of each of our layers over the share of lost groups.

    Args:
        by_loss: our points at each loss.
        measure: its name.
        folder: gets the PNG and the SVG.
    """
    figure, axes = matplotlib_figure(7.2, 4.2)
    labels = sorted({point.label for points in by_loss.values() for point in points})
    for place, label in enumerate(labels):
        kept = [(loss, point) for loss, points in sorted(by_loss.items()) for point in points if point.label == label]
        intervals = [point.intervals[measure] for _, point in kept]
        axes.errorbar(
            [100 * loss for loss, _ in kept],
            [interval.mean for interval in intervals],
            yerr=np.nan_to_num([interval.half_width for interval in intervals]),
            label=f"{label} ({kept[0][1].kbps:.1f} kbps)",
            color=OURS[place % len(OURS)],
            marker="o",
            linewidth=2,
            capsize=2,
            elinewidth=0.9,
        )
    axes.set_xticks([100 * loss for loss in sorted(by_loss)])
    axes.set_xlabel("lost groups, per cent (Gilbert channel)")
    axes.set_ylabel(MEASURES[measure].title)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside upper center", fontsize=9)
    return save(figure, folder / f"loss_{measure}")


def draw_ratings(intervals: Mapping[str, Interval], folder: Path) -> Path:
    """Ratings of a listening test, one line a sound, with 95 % intervals over listeners."""
    figure, axes = matplotlib_figure(7.2, 0.9 + 0.35 * len(intervals))
    for place, (name, interval) in enumerate(intervals.items()):
        width = 0 if np.isnan(interval.half_width) else interval.half_width
        colour = PEERS[0] if name.startswith(("anchor", "reference")) else OURS[1]
        axes.errorbar(interval.mean, place, xerr=width, fmt="o", color=colour, capsize=3, markersize=6)
    axes.set_yticks(range(len(intervals)), list(intervals))
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("rating: bad, poor, fair, good, excellent in steps of 20")
    axes.set_xticks(range(0, 101, 20))
    axes.grid(alpha=0.25, axis="x")
    return save(figure, folder / "ratings")


def save(figure: Figure, path: Path) -> Path:
    """Writes PNG on white and SVG on nothing, and closes the figure."""
    from matplotlib import pyplot

    options: dict[str, dict[str, Any]] = {
        "png": {"dpi": PNG_DPI, "facecolor": "white"},
        # without metadata the same numbers give the same file
        "svg": {"transparent": True, "metadata": dict.fromkeys(("Date", "Creator", "Format", "Type"))},
    }
    for kind, given in options.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, **given)
        atomic_write(path.with_suffix(f".{kind}"), buffer.getvalue())
    pyplot.close(figure)
    return path.with_suffix(".png")


def as_inline(svg: str) -> str:
    """An SVG for use within a page: without a prologue, in the page's colour of text and as wide as its place."""
    start = svg.index("<svg")
    head, _, rest = svg[start:].partition(">")
    kept = [word for word in head.split("\n") if word]
    plain = " ".join(kept)
    for name in ("width", "height"):
        before, sign, after = plain.partition(f' {name}="')
        plain = before + after.partition('"')[2] if sign else plain
    return f'{plain} role="img">{rest}'.replace(INK, "currentColor")
