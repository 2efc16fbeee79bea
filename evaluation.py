"""Mode 0: scores and rates of a saved model on test speakers, at every depth of its cascade."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

import feed_forward
from constants import GAIN_LEVELS, SAMPLE_RATE
from dataset import SpeechFile
from entropy_model import code_lengths, paper_style_kbps
from errors import UserError
from measures import MEASURES, mean_with_interval, score_files
from saved_model import SavedModel
from utilities import atomic_write, load_speech, save_speech

SHORTEST = SAMPLE_RATE // 4  # samples; PESQ needs a quarter of a second


@dataclass
class FileResult:
    """One file at one depth.

    kbps: ideal code length of all parts and the gains of the file over its duration, 1000 bits a second.
    bits: ideal code length of each part in bits a frame. entropies: the same in bits a symbol.
    decoded: path of the decoded file within the output folder.
    """

    file: str
    speaker: str
    depth: int
    seconds: float
    decoded: str
    kbps: float
    paper_style_kbps: float
    bits: dict[str, float]
    entropies: dict[str, float]
    measures: dict[str, float]
    failures: dict[str, str]

    def row(self) -> dict[str, Any]:
        """Flat, for a CSV file."""
        flat = asdict(self)
        for group in ("bits", "entropies", "measures"):
            prefix = {"bits": "bits ", "entropies": "entropy ", "measures": ""}[group]
            flat |= {prefix + name: value for name, value in flat.pop(group).items()}
        return flat | {"failures": "; ".join(self.failures.values())}


def evaluate(model: SavedModel, files: Sequence[SpeechFile], folder: Path) -> list[FileResult]:
    """Codes every file by hard decisions, writes the decoded speech of every depth and scores it.

    Args:
        model: a stage of a saved run.
        files: speech of speakers that the model was not trained on.
        folder: gets depth_1/, depth_2/ ... with decoded files, scores.csv and summary.json.

    Raises:
        UserError: none of the files can be used.
    """
    results: list[FileResult] = []
    references: list[feed_forward.Signal] = []
    left_out: list[str] = []
    for file, name in tqdm(list(zip(files, output_names(files), strict=True)), "coding", unit="file", disable=None):
        try:
            signal = _load_measurable(file.path)
        except UserError as error:
            left_out.append(str(error))
            tqdm.write(f"left out: {error}", file=sys.stderr)
            continue
        coded = _code_file(model, file, name, signal, folder)
        results += coded
        references += [signal] * len(coded)
    if not results:
        raise UserError("none of the test files could be coded; the lines above say why")
    scores = score_files(
        [(reference, folder / each.decoded) for reference, each in zip(references, results, strict=True)]
    )
    for each, found in zip(results, scores, strict=True):
        each.measures, each.failures = found.values, found.failures
    _write(results, left_out, model, folder)
    return results


def _load_measurable(path: Path) -> feed_forward.Signal:
    signal = load_speech(path)
    if len(signal) < SHORTEST:
        seconds = SHORTEST / SAMPLE_RATE
        raise UserError(f"{path}: expected at least {seconds} s, found {len(signal) / SAMPLE_RATE:.3f} s")
    return signal


def output_names(files: Sequence[SpeechFile]) -> list[str]:
    """A name for each decoded file, <speaker>/<recording>.wav, no two alike and none outside of its folder."""
    names: dict[str, None] = {}  # in order
    for file in files:
        first = name = f"{_file_name(file.speaker)}/{_file_name(file.path.stem)}"
        count = 1
        while name in names:
            count += 1
            name = f"{first}-{count}"
        names[name] = None
    return [f"{name}.wav" for name in names]


def _file_name(text: str) -> str:
    return re.sub(r"[^\w+.-]|^\.+", "-", text)


def _code_file(
    model: SavedModel, file: SpeechFile, name: str, signal: feed_forward.Signal, folder: Path
) -> list[FileResult]:
    depth = len(model.cascade.codecs)
    coded = feed_forward.encode(model.cascade, signal, depth)
    lengths = code_lengths(coded.symbols, model.tables)
    codes = list(coded.symbols.values())[-depth:]
    seconds = len(signal) / SAMPLE_RATE
    gain_bits = math.log2(GAIN_LEVELS) * len(coded.gain_indices)
    results = []
    for number, decoded in enumerate(feed_forward.decode(model.cascade, coded), start=1):
        output = f"depth_{number}/{name}"
        save_speech(folder / output, decoded)
        used = list(lengths)[: len(lengths) - depth + number]
        results.append(
            FileResult(
                file=str(file.path),
                speaker=file.speaker,
                depth=number,
                seconds=seconds,
                decoded=output,
                kbps=(gain_bits + sum(lengths[part].sum() for part in used)) / seconds / 1000,
                paper_style_kbps=paper_style_kbps(codes[:number]),
                bits={part: float(lengths[part].mean()) for part in used},
                entropies={part: float(lengths[part].mean()) / coded.symbols[part][0].size for part in used},
                measures={},
                failures={},
            )
        )
    return results


def summary(results: Sequence[FileResult]) -> list[dict[str, Any]]:
    """One row a depth: rates weighted by duration, measures as mean over speakers with their 95 % interval."""
    return [_depth_summary([each for each in results if each.depth == depth]) for depth in _depths(results)]


def _depth_summary(results: Sequence[FileResult]) -> dict[str, Any]:
    seconds = np.array([each.seconds for each in results])
    speakers = [each.speaker for each in results]

    def mean(values: Sequence[float]) -> float:
        return float(np.average(values, weights=seconds))

    row: dict[str, Any] = {
        "depth": results[0].depth,
        "files": len(results),
        "speakers": len(set(speakers)),
        "kbps": mean([each.kbps for each in results]),
        "paper_style_kbps": mean([each.paper_style_kbps for each in results]),
    }
    for part in results[0].bits:
        row[f"bits {part}"] = mean([each.bits[part] for each in results])
        row[f"entropy {part}"] = mean([each.entropies[part] for each in results])
    for name in MEASURES:
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
        parts = [key.removeprefix("bits ") for key in row if key.startswith("bits ")]
        rows.append(
            {
                "depth": row["depth"],
                "kbps": f"{row['kbps']:.2f}",
                "paper-style": f"{row['paper_style_kbps']:.2f}",
                "PESQ-WB": _shown(row, "pesq_wb", 2),
                "STOI": _shown(row, "stoi", 3),
                "SNR dB": _shown(row, "snr", 2),
                "SI-SDR dB": _shown(row, "si_sdr", 2),
                "bits a frame": " + ".join(f"{row[f'bits {part}']:.0f} {part}" for part in parts),
                "left out": _left_out(row),
            }
        )
    if not any(row["left out"] for row in rows):
        rows = [{name: value for name, value in row.items() if name != "left out"} for row in rows]
    return tabulate(rows, headers="keys", stralign="right", disable_numparse=True)


def _shown(row: dict[str, Any], name: str, digits: int) -> str:
    """A mean with its interval, which a single speaker has not."""
    half_width = row[f"{name}_interval"]
    return f"{row[name]:.{digits}f}" + ("" if np.isnan(half_width) else f" ±{half_width:.{digits}f}")


def _left_out(row: dict[str, Any]) -> str:
    """How many files have no value of a measure, such as '2 stoi'."""
    counts = {name: row[f"{name}_left_out"] for name in MEASURES}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _depths(results: Sequence[FileResult]) -> list[int]:
    return sorted({each.depth for each in results})


def _write(results: Sequence[FileResult], left_out: Sequence[str], model: SavedModel, folder: Path) -> None:
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
