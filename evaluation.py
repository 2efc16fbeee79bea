"""Mode 0: scores and rates of a saved model on test speakers, at every depth of its cascade."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

import feed_forward
from constants import SAMPLE_RATE
from dataset import SpeechFile
from entropy_model import code_lengths, paper_style_kbps
from errors import UserError
from measures import MEASURES, mean_with_interval, score_files
from saved_model import SavedModel
from utilities import atomic_write, load_speech, save_speech
from validation import rates_by_depth

SHORTEST = SAMPLE_RATE // 4  # samples; PESQ needs a quarter of a second


@dataclass
class FileResult:
    """One file at one depth.

    bits: ideal code length of each part in bits a frame. entropies: the same in bits a symbol.
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
    references = []
    for file in tqdm(files, desc="coding", unit="file", disable=None):
        try:
            signal = load_speech(file.path)
        except UserError as error:
            tqdm.write(f"left out: {error}")
            continue
        if len(signal) < SHORTEST:
            tqdm.write(f"left out: {file.path} is shorter than {SHORTEST / SAMPLE_RATE} s")
            continue
        coded = _code_file(model, file, signal, folder)
        results += coded
        references += [signal] * len(coded)
    if not results:
        raise UserError("none of the test files could be coded; the lines above say why")
    scores = score_files(
        [(reference, folder / each.decoded) for reference, each in zip(references, results, strict=True)]
    )
    for each, found in zip(results, scores, strict=True):
        each.measures, each.failures = found.values, found.failures
    _write(results, model, folder)
    return results


def _code_file(model: SavedModel, file: SpeechFile, signal: feed_forward.Signal, folder: Path) -> list[FileResult]:
    depth = len(model.cascade.codecs)
    coded = feed_forward.encode(model.cascade, signal, depth)
    lengths = code_lengths(coded.symbols, model.tables)
    bits = {name: float(values.mean()) for name, values in lengths.items()}
    entropies = {name: bits[name] / coded.symbols[name][0].size for name in bits}
    codes = list(coded.symbols.values())[-depth:]
    results = []
    for number, decoded in enumerate(feed_forward.decode(model.cascade, coded), start=1):
        name = Path(f"depth_{number}") / file.speaker / f"{file.path.stem}.wav"
        save_speech(folder / name, decoded)
        used = list(bits)[: len(bits) - depth + number]
        results.append(
            FileResult(
                file=str(file.path),
                speaker=file.speaker,
                depth=number,
                seconds=len(signal) / SAMPLE_RATE,
                decoded=str(name),
                kbps=rates_by_depth(bits, depth)[number - 1],
                paper_style_kbps=paper_style_kbps(codes[:number]),
                bits={part: bits[part] for part in used},
                entropies={part: entropies[part] for part in used},
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
            }
        )
    return tabulate(rows, headers="keys", stralign="right")


def _shown(row: dict[str, Any], name: str, digits: int) -> str:
    return f"{row[name]:.{digits}f} ±{row[f'{name}_interval']:.{digits}f}"


def _depths(results: Sequence[FileResult]) -> list[int]:
    return sorted({each.depth for each in results})


def _write(results: Sequence[FileResult], model: SavedModel, folder: Path) -> None:
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
        "failures": [f"{each.decoded}: {reason}" for each in results for reason in each.failures.values()],
    }
    atomic_write(folder / "summary.json", json.dumps(report, indent=2) + "\n")


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}
