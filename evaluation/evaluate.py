"""Mode 0: scores and rates of written files on test speakers, at every depth of a cascade."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

import nsc
from constants import SAMPLE_RATE
from corpus.speech_file import SpeechFile
from evaluation.file_coders import CodedFile, file_coder
from evaluation.results import FileResult, write_results
from measures.measures import MEASURES, score_files
from nsc import format as bitstream
from nsc.coding.interface import Signal
from nsc.errors import UserError
from runs.saved_model import SavedModel
from utilities import atomic_write, load_speech, save_speech

SHORTEST = SAMPLE_RATE // 4  # samples; PESQ needs a quarter of a second


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
    write_results(results, left_out, model, folder)
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
