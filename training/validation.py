"""Scores on validation speakers while training: hard decisions, whole files, every depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Cascade
from constants import SAMPLE_RATE
from corpus.speech_file import SpeechFile
from kinds import kind_of
from kinds.kind import Tables
from measures.measures import score
from nsc.coding.interface import Model, Signal
from nsc.coding.whole import decode, encode
from nsc.format import truncate
from options.config import Config
from utilities import load_speech

LONGEST = 6 * SAMPLE_RATE  # samples of a file that validation listens to
RATED = 60 * SAMPLE_RATE  # samples that tell the rate, at least: four files of a second each are 4 % off 60 of them
SPECTROGRAM_RANGE_DB = 80.0
NO_DIGEST = "00000000"  # of a model that is not saved


@dataclass
class Validation:
    """What validation found.

    bits_per_frame: ideal code length of each part as a file would code it, LPC first, in bits per frame.
    frame_seconds: new speech of a frame.
    kbps: of whole files at every depth.
    measures: mean of each measure at every depth, NaN skipped, of `validation_files` files.
    diagnostics: what else the kind notes, see `Kind.diagnostics`.
    signals: reference of the first file and its decoded signal at every depth, for TensorBoard.
    entries_used: how many entries of each part's codebook the files that are scored use at all.
    """

    bits_per_frame: dict[str, float]
    frame_seconds: float
    kbps: list[float]
    measures: list[dict[str, float]]
    diagnostics: dict[str, float]
    signals: list[NDArray[np.float32]]
    entries_used: dict[str, int] = field(default_factory=dict)

    def flat(self) -> dict[str, float]:
        """One value per name, for the journal: pesq_wb at the deepest depth and pesq_wb_depth_1 ... before it."""
        values: dict[str, float] = {}
        for depth, (kbps, measures) in enumerate(zip(self.kbps, self.measures, strict=True), start=1):
            end = "" if depth == len(self.kbps) else f"_depth_{depth}"
            values |= {f"kbps{end}": kbps} | {name + end: value for name, value in measures.items()}
        bits = {f"bits {name}": value for name, value in self.bits_per_frame.items()}
        used = {f"used {name}": float(count) for name, count in self.entries_used.items()}
        return values | {name.replace(" ", "_"): value for name, value in (bits | self.diagnostics | used).items()}


class ValidationSet:
    """A few files of validation speakers, the same ones all through a run.

    signals: that are scored.
    others: whose rate alone is measured, where the files that are scored are short.
    """

    def __init__(self, files: Sequence[SpeechFile], config: Config) -> None:
        places = np.linspace(0, len(files) - 1, min(len(files), max(1, config.validation_files))).astype(int)
        self.signals = [load_speech(files[place].path)[:LONGEST] for place in places]
        self.others: list[Signal] = []
        lacking = RATED - sum(map(len, self.signals))
        for place in np.random.default_rng(0).permutation(np.setdiff1d(np.arange(len(files)), places)):
            if lacking <= 0:
                break
            self.others.append(load_speech(files[place].path)[:LONGEST])
            lacking -= len(self.others[-1])

    def score(self, cascade: Cascade, tables: Tables, depth: int) -> Validation:
        """Codes the files with the first `depth` codecs, which `tables` belong to, and scores what they decode to."""
        kind = kind_of(cascade.config)
        model = kind.coding_model(cascade, tables, NO_DIGEST, depth)
        found = [_coded(signal, model) for signal in [*self.signals, *self.others]]
        heard = [_heard(signal, each.data, model) for signal, each in zip(self.signals, found, strict=False)]
        samples = sum(map(len, [*self.signals, *self.others]))
        sizes = np.sum([each.sizes for each in found], axis=0)
        names = [part.name for part in cascade.parts(depth)]
        bits = {name: [each.bits[name] for each in found] for name in names}
        return Validation(
            bits_per_frame={name: float(np.concatenate(values).mean()) for name, values in bits.items()},
            frame_seconds=found[0].frame_seconds,
            kbps=(8 * sizes * SAMPLE_RATE / 1000 / samples).tolist(),
            measures=[means([each.scores[layer] for each in heard]) for layer in range(depth)],
            diagnostics=kind.diagnostics(cascade, self.signals[0], depth),
            signals=[self.signals[0], *heard[0].decoded],
            entries_used={name: len(set().union(*(each.entries[name] for each in heard))) for name in names},
        )


class _Coded(NamedTuple):
    """A signal coded: its bytes, seconds of a frame, bits of each frame by part, number of bytes by depth."""

    data: bytes
    frame_seconds: float
    bits: dict[str, NDArray[np.float64]]
    sizes: list[int]


def _coded(signal: Signal, model: Model) -> _Coded:
    data = encode(signal, model)
    sizes = [len(truncate(data, depth)) for depth in range(1, model.depth + 1)]
    lengths = model.code_lengths(data)
    return _Coded(data, lengths.frame_seconds, lengths.bits, sizes)


class _Heard(NamedTuple):
    """What a file decodes to, and its scores, by depth; entries used by part."""

    entries: dict[str, set[int]]
    decoded: list[Signal]
    scores: list[dict[str, float]]


def _heard(signal: Signal, data: bytes, model: Model) -> _Heard:
    decoded = [decode(data, model, depth).signal for depth in range(1, model.depth + 1)]
    entries = {name: set(np.unique(values).tolist()) for name, values in model.symbols(data).items()}
    return _Heard(entries, decoded, [score(signal, each).values for each in decoded])


def write_tensorboard(folder: Path, step: int, scores: Validation) -> None:
    """Scalars, sound and spectrograms of a validation."""
    with tf.summary.create_file_writer(str(folder)).as_default(step=step):
        for name, value in scores.flat().items():
            tf.summary.scalar(f"validation/{name}", value)
        for number, signal in enumerate(scores.signals):
            name = f"depth {number}" if number else "reference"
            tf.summary.audio(name, np.clip(signal, -1, 1)[None, :, None], SAMPLE_RATE)
            tf.summary.image(name, _spectrogram(signal))


def _spectrogram(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log spectrogram as a picture, float32 [1, 257, frames, 1], 0 to 1, low frequencies at the bottom."""
    magnitude = np.abs(tf.signal.stft(signal, 512, 128).numpy()).T[::-1]
    decibels = 20 * np.log10(magnitude + 1e-6)
    return np.clip(1 + (decibels - decibels.max()) / SPECTROGRAM_RANGE_DB, 0, 1)[None, :, :, None].astype(np.float32)


def means(scores: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each measure over files, NaN skipped."""
    names = scores[0] if scores else {}
    finite = {name: [each[name] for each in scores if np.isfinite(each[name])] for name in names}
    return {name: float(np.mean(values)) if values else float("nan") for name, values in finite.items()}
