"""What a sweep found: a table of means over repetitions, and a figure of scores over measured rates."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from comparison.peers.published import PESQ_ON_TIMIT
from constants import LPC_ORDER
from scripts.sweep.grid import Grid
from scripts.sweep.points import Scored

SCORES = (
    ("kbps", "kbps", 2),
    ("pesq_wb", "PESQ-WB", 3),
    ("stoi", "STOI", 4),
    ("si_sdr", "SI-SDR dB", 2),
    ("snr", "SNR dB", 2),
)
COLOURS = ("#e69f00", "#0072b2", "#d1495b", "#009e73", "#56b4e9", "#cc79a7")
STYLES = ("-", "--", "-.", ":")
GREY = "#7d8590"
CODEBOOK = "lpc/000"  # of the LSF levels in a saved model


def document(grid: Grid, models: Sequence[Scored]) -> str:
    """The results as Markdown: a row for every model and stage, mean and standard deviation over repetitions."""
    rows = [_row(grid, group) for group in _repeated(grid, models).values()]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True) + "\n"


def _repeated(grid: Grid, models: Sequence[Scored]) -> dict[tuple[str, ...], list[Scored]]:
    """Models that differ only by repetition, by stage."""
    found: dict[tuple[str, ...], list[Scored]] = {}
    for model in models:
        found.setdefault((*grid.apart(model.point), model.stage), []).append(model)
    return found


def _row(grid: Grid, models: Sequence[Scored]) -> dict[str, str]:
    first = models[0]
    row = {axis: label for axis, label in first.point.labels.items() if axis != grid.repeat} | {"stage": first.stage}
    if grid.repeat:
        row[f"{grid.repeat}s"] = str(len(models))
    for name, title, digits in SCORES:
        row[title] = _over(models, lambda each, name=name: each.scores.get(name), digits)  # type: ignore[misc]
    if grid.details:
        row["parameters"] = _over(models, lambda each: parameters(each.run), 0)
        row["soft-hard gap"] = _over(models, _gap, 4)
        row["LSF levels moved"] = _over(models, lambda each: moved_levels(each.run), 3)
    return row


def _over(models: Sequence[Scored], value: Callable[[Scored], float | None], digits: int) -> str:
    """Mean and standard deviation, nothing where a value is missing."""
    values = [each for each in map(value, models) if each is not None]
    if len(values) < len(models):
        return ""
    spread = f" ±{np.std(values, ddof=1):.{digits}f}" if len(values) > 1 and digits else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def _gap(model: Scored) -> float | None:
    """RMS of soft mixture less hard decision of the first codec's codes, as the run's last validation found it."""
    journal = model.run.parents[1] / "doc" / f"{model.run.name}.jsonl"
    events = [event for event in map(json.loads, journal.read_text().splitlines()) if event["event"] == "validated"]
    gap = events[-1].get("gap_codec_1")
    return None if gap is None else float(gap)


def moved_levels(run: Path) -> float | None:
    """RMS distance of the LSF levels from where training began, in steps between neighbouring levels."""
    from kinds.samples.front_end import lsf_codebook

    with np.load(_weights(run)) as arrays:
        if CODEBOOK not in arrays:
            return None
        start = lsf_codebook().astype(np.float64).reshape(LPC_ORDER, -1)
        moved = (arrays[CODEBOOK].reshape(start.shape) - start) / (start[:, 1:2] - start[:, :1])
        return float(np.sqrt(np.mean(np.square(moved))))


def parameters(run: Path) -> int:
    """Numbers that the run's model holds besides its tables."""
    from runs.saved_model import TABLE_PREFIX

    with np.load(_weights(run)) as arrays:
        return sum(arrays[name].size for name in arrays if not name.startswith(TABLE_PREFIX))


def _weights(run: Path) -> Path:
    return max((run / "stages").glob("*/model.npz"), key=lambda path: path.stat().st_mtime)


def draw(grid: Grid, models: Sequence[Scored], path: Path) -> None:
    """PESQ-WB and SNR over kbps: a line for each combination of the grid's `curves`, at the better stage."""
    from comparison.figures.plots import matplotlib_figure

    figure, (pesq, snr) = matplotlib_figure(11, 4.6, ncols=2)
    curves: dict[tuple[str, ...], list[Scored]] = {}
    for model in models:
        curves.setdefault(tuple(model.point.labels[axis] for axis in grid.curves), []).append(model)
    colours = {
        name: COLOURS[place % len(COLOURS)] for place, name in enumerate(dict.fromkeys(key[:1] for key in curves))
    }
    styles = {name: STYLES[place % len(STYLES)] for place, name in enumerate(dict.fromkeys(key[1:] for key in curves))}
    for axes, measure in ((pesq, "pesq_wb"), (snr, "snr")):
        for key, found in curves.items():
            look = {"color": colours[key[:1]], "linestyle": styles[key[1:]], "marker": "o"}
            axes.plot(*np.array(_best(grid, found, measure)).T, label=", ".join(key) or grid.name, **look)
        axes.set_xlabel("kbps of whole files")
    for style, (name, points) in zip(STYLES, PESQ_ON_TIMIT.items(), strict=False) if grid.published else ():
        look = {"color": GREY, "linestyle": style, "marker": "."}
        pesq.plot(*np.array(points).T, label=f"{name} (TIMIT)", linewidth=1, **look)
    pesq.set_ylabel("PESQ-WB")
    snr.set_ylabel("SNR, dB")
    snr.legend(*pesq.get_legend_handles_labels(), fontsize=7, loc="lower right")  # where rates leave room
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _best(grid: Grid, models: Sequence[Scored], measure: str) -> list[tuple[float, float]]:
    """(kbps, value) of the better stage of each model, means over repetitions, rising."""
    better: dict[tuple[str, ...], tuple[float, float]] = {}
    for key, group in _repeated(grid, models).items():
        kbps, value = (float(np.mean([each.scores[name] for each in group])) for name in ("kbps", measure))
        if value > better.get(key[:-1], (0.0, -np.inf))[1]:
            better[key[:-1]] = kbps, value
    return sorted(better.values())
