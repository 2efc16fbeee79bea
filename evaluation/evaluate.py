"""Mode 0: scores and rates of written files on test speakers, at every depth of a cascade."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

import nsc
from constants import SAMPLE_RATE
from corpus.speech_file import SpeechFile
from evaluation.file_coders import CodedFile, file_coder
from evaluation.honesty import gap, honesty_line
from measures.measures import MEASURES, mean_with_interval, score_files
from nsc import format as bitstream
from nsc.coding.interface import Signal
from nsc.errors import UserError
from runs.saved_model import SavedModel
from utilities import atomic_write, load_speech, save_speech

RATES = ("kbps", "payload_kbps", "ideal_kbps", "training_kbps", "paper_style_kbps")
SHORTEST = SAMPLE_RATE // 4  # samples; PESQ needs a quarter of a second


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


def evaluate(
    model: SavedModel,
    files: Sequence[SpeechFile],
    folder: Path,
    rates: Sequence[float] = (),
    measures: Sequence[str] = tuple(MEASURES),
) -> list[FileResult]:
    """Codes every file, writes the .nsc file and the speech decoded from it at every rate and depth, and scores it.

    Args:
        model: a stage of a saved run.
        files: speech of speakers that the model was not trained on.
        folder: gets depth_1/, depth_2/ ... (in kbps_6/, kbps_9/ ... if rates are given) with .nsc and decoded files,
            scores.csv and summary.json.
        rates: kbps to code at, for models of any rate; none for the model's own.
        measures: names of the measures that score.

    Raises:
        UserError: none of the files can be used.
    """
    results: list[FileResult] = []
    references: list[Signal] = []
    left_out: list[str] = []
    estimates: list[Callable[[], float]] = []  # of bits, complete when all files were coded
    coder, estimate = file_coder(model, rates), model.kind.estimate(model)
    for file, name in tqdm(list(zip(files, output_names(files), strict=True)), "coding", unit="file", disable=None):
        try:
            signal = _load_measurable(file.path)
            files_of_signal = list(coder.code(signal))
            coded = [_result(each, file, name, len(signal), model, folder) for each in files_of_signal]
        except UserError as error:
            left_out.append(str(error))
            tqdm.write(f"skipped: {error}", file=sys.stderr)
            continue
        estimates += [estimate.add(signal, each.data, each.depth) for each in files_of_signal]
        results += coded
        references += [signal] * len(coded)
    if not results:
        raise UserError("none of the test files could be coded; the lines above give the reasons")
    scores = score_files(
        [(reference, folder / each.decoded) for reference, each in zip(references, results, strict=True)], measures
    )
    for each, found, estimated in zip(results, scores, estimates, strict=True):
        each.measures, each.failures = found.values, found.failures
        each.training_kbps = estimated() / each.seconds / 1000
    _write(results, left_out, model, folder)
    return results


def _load_measurable(path: Path) -> Signal:
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


def _result(
    coded: CodedFile, file: SpeechFile, name: str, num_samples: int, model: SavedModel, folder: Path
) -> FileResult:
    """Writes an .nsc file and, next to it, the speech decoded from it; returns everything but the scores."""
    place = "" if math.isnan(coded.asked_kbps) else f"kbps_{coded.asked_kbps:g}/"
    output = f"{place}depth_{coded.depth}/{name}"
    written = str(Path(output).with_suffix(bitstream.SUFFIX))
    atomic_write(folder / written, coded.data)
    save_speech(folder / output, nsc.decode(coded.data, model.coding).signal)
    seconds = num_samples / SAMPLE_RATE
    return FileResult(
        str(file.path), file.speaker, coded.depth, seconds, written, output, asked_kbps=coded.asked_kbps, **coded.rates
    )


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
        "largest_gap": max(gap(each.payload_kbps, each.ideal_kbps) for each in results),
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


def honesty(results: Sequence[FileResult], *, colour: bool = False) -> str:
    """Training's estimate, ideal code length and payload of the files, one line per depth."""
    return "\n".join(honesty_line(row, colour=colour) for row in summary(results))


def _shown(row: dict[str, Any], name: str, digits: int) -> str:
    """A mean with its interval; a single speaker has none."""
    half_width = row[f"{name}_interval"]
    return f"{row[name]:.{digits}f}" + ("" if np.isnan(half_width) else f" ±{half_width:.{digits}f}")


def _skipped(row: dict[str, Any]) -> str:
    """How many files have no value of a measure, such as '2 stoi'."""
    counts = {name: row[f"{name}_left_out"] for name in MEASURES}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


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
