"""What an evaluation found: its files, their summary, and the rate by three counts."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from measures.intervals import mean_with_interval
from measures.measures import MEASURES
from runs.saved_model import SavedModel
from utilities import atomic_write

RATES = ("kbps", "payload_kbps", "ideal_kbps", "training_kbps", "paper_style_kbps")
LARGEST_GAP = 0.01  # of the payload above the ideal code length; a larger one is a fault of coder or tables
# Of training's estimate above the ideal code length. Contexts save up to 16 %; more tells that training steered by a
# rate that the model's symbols do not have.
LARGEST_EXCESS = 0.3
RED, PLAIN = "\033[31m", "\033[0m"


@dataclass
class FileResult:
    """One file at one rate and depth.

    asked_kbps: of models for any rate, what was asked for; nan for the model's own rate.
    written, decoded: paths of the .nsc file and of the speech decoded from it within the output folder.
    kbps: all bytes of the .nsc file over its duration, 1000 bits per second.
    payload_kbps: bytes of LPC and codes over the duration. ideal_kbps: their ideal code length.
    training_kbps: the training loss's estimate of it, see `kinds.kind.Estimate`.
    bits: ideal code length of each part in bits per frame. entropies: the same in bits per symbol.
    byte_counts: of header, framing, gain and each part; they add up to the .nsc file.
    """

    file: str
    speaker: str
    depth: int
    seconds: float
    written: str
    decoded: str
    kbps: float
    payload_kbps: float
    ideal_kbps: float
    paper_style_kbps: float
    bits: dict[str, float]
    entropies: dict[str, float]
    byte_counts: dict[str, int]
    asked_kbps: float = math.nan
    training_kbps: float = math.nan
    measures: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Flat, for a CSV file."""
        flat = asdict(self)
        prefixes = {"bits": "bits ", "entropies": "entropy ", "byte_counts": "bytes ", "measures": ""}
        for group, prefix in prefixes.items():
            flat |= {prefix + name: value for name, value in flat.pop(group).items()}
        return flat | {"failures": "; ".join(self.failures.values())}


def summary(results: Sequence[FileResult]) -> list[dict[str, Any]]:
    """One row per rate and depth: rates weighted by duration, measures as mean over speakers with 95 % intervals."""
    groups: dict[tuple[str, int], list[FileResult]] = {}
    for each in sorted(results, key=lambda each: (each.asked_kbps, each.depth)):
        groups.setdefault((str(each.asked_kbps), each.depth), []).append(each)
    return [_depth_summary(group) for group in groups.values()]


def _depth_summary(results: Sequence[FileResult]) -> dict[str, Any]:
    seconds = np.array([each.seconds for each in results])
    speakers = [each.speaker for each in results]

    def mean(values: Sequence[float]) -> float:
        return float(np.average(values, weights=seconds))

    row: dict[str, Any] = {
        "asked_kbps": results[0].asked_kbps,
        "depth": results[0].depth,
        "files": len(results),
        "speakers": len(set(speakers)),
        **{name: mean([getattr(each, name) for each in results]) for name in RATES},
        "largest_gap": max(_gap(each.payload_kbps, each.ideal_kbps) for each in results),
    }
    for part in results[0].byte_counts:
        row[f"kbps {part}"] = 8 * sum(each.byte_counts[part] for each in results) / seconds.sum() / 1000
    for part in results[0].bits:
        row[f"bits {part}"] = mean([each.bits[part] for each in results])
        row[f"entropy {part}"] = mean([each.entropies[part] for each in results])
    for name in results[0].measures:
        interval = mean_with_interval([each.measures[name] for each in results], speakers)
        row |= {
            name: interval.mean,
            f"{name}_interval": interval.half_width,
            f"{name}_left_out": interval.left_out,
        }
    return row


def table(results: Sequence[FileResult]) -> str:
    """The summary for a terminal."""
    rows = []
    for row in summary(results):
        parts = [key.removeprefix("kbps ") for key in row if key.startswith("kbps ")]
        rows.append(
            {
                "depth": row["depth"],
                "kbps": f"{row['kbps']:.2f}",
                "paper-style": "" if math.isnan(row["paper_style_kbps"]) else f"{row['paper_style_kbps']:.2f}",
                "PESQ-WB": _shown(row, "pesq_wb", 2),
                "STOI": _shown(row, "stoi", 3),
                "SNR dB": _shown(row, "snr", 2),
                "SI-SDR dB": _shown(row, "si_sdr", 2),
                "kbps by part": " + ".join(f"{row[f'kbps {part}']:.2f} {part}" for part in parts),
                "skipped": _skipped(row),
            }
        )
    empty = [name for name in rows[0] if not any(row[name] for row in rows)]
    rows = [{name: value for name, value in row.items() if name not in empty} for row in rows]
    return tabulate(rows, headers="keys", stralign="right", disable_numparse=True)


def rate_check(results: Sequence[FileResult], *, colour: bool = False) -> str:
    """Training's estimate of the rate of LPC and codes, their ideal code length and their bytes, one line per depth.

    Args:
        results: of an evaluation.
        colour: prints a gap above `LARGEST_GAP` in red; else it is reported in words only.
    """
    return "\n".join(_rate_line(row, colour=colour) for row in summary(results))


def _rate_line(row: Mapping[str, Any], *, colour: bool) -> str:
    found = _gap(row["payload_kbps"], row["ideal_kbps"])
    shown = f"{100 * found:+.2f} %, at most {100 * row['largest_gap']:+.2f} % in a file"
    if found > LARGEST_GAP:
        shown += f", more than the {100 * LARGEST_GAP:g} % of a sound coder"
        shown = f"{RED}{shown}{PLAIN}" if colour else shown
    excess = _gap(row["training_kbps"], row["ideal_kbps"])
    estimate = "information"
    if excess > LARGEST_EXCESS:
        estimate = f"{100 * excess:.0f} % above the ideal: what tau steered by is not what these symbols cost"
        estimate = f"{RED}{estimate}{PLAIN}" if colour else estimate
    return (
        f"rate check, depth {row['depth']}: training's estimate {row['training_kbps']:.2f} ({estimate}),"
        f" ideal code length {row['ideal_kbps']:.2f}, payload {row['payload_kbps']:.2f} kbps ({shown});"
        f" {row['kbps']:.2f} kbps with gain and framing"
    )


def _gap(payload: float, ideal: float) -> float:
    """Relative excess of a payload over its ideal code length."""
    return payload / ideal - 1 if ideal else 0.0


def _shown(row: dict[str, Any], name: str, digits: int) -> str:
    """A mean with its interval; a single speaker has none."""
    half_width = row[f"{name}_interval"]
    return f"{row[name]:.{digits}f}" + ("" if np.isnan(half_width) else f" ±{half_width:.{digits}f}")


def _skipped(row: dict[str, Any]) -> str:
    """How many files have no value of a measure, such as '2 stoi'."""
    counts = {name: row[f"{name}_left_out"] for name in MEASURES}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def write_results(results: Sequence[FileResult], left_out: Sequence[str], model: SavedModel, folder: Path) -> None:
    """Writes scores.csv and summary.json."""
    deepest = max(results, key=lambda each: each.depth)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(deepest.row()), restval="")
    writer.writeheader()
    writer.writerows(each.row() for each in results)
    atomic_write(folder / "scores.csv", buffer.getvalue())
    report = {
        "model": model.digest,
        "stage": model.stage,
        "depths": [_without_nan(row) for row in summary(results)],
        "left_out": list(left_out),
        "failures": [f"{each.decoded}: {reason}" for each in results for reason in each.failures.values()],
    }
    atomic_write(folder / "summary.json", json.dumps(report, indent=2) + "\n")


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}
