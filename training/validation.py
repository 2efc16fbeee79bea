"""Scores on validation speakers while training: hard decisions, whole files, every depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Cascade
from constants import SAMPLE_RATE
from corpus.speech_file import SpeechFile
from kinds.samples import batch as feed_forward
from kinds.samples.rate import GAIN_BITS_PER_FRAME, Tables, kilobits_per_second
from measures.measures import score
from nsc.entropy.context_model import frame_code_lengths, read_models
from options.config import Config
from utilities import load_speech

LONGEST = 6 * SAMPLE_RATE  # samples of a file that validation listens to
SPECTROGRAM_RANGE_DB = 80.0


@dataclass
class Validation:
    """What validation found.

    bits_per_frame: ideal code length of each part as a file would code it, LPC first, in bits per frame.
    kbps: rate at every depth, gain included.
    measures: mean of each measure at every depth, NaN skipped.
    soft_hard_gaps: RMS of soft mixture less hard decision of each part's values.
    signals: reference of the first file and its decoded signal at every depth, for TensorBoard.
    entries_used: how many entries of each part's codebook these files use at all.
    """

    bits_per_frame: dict[str, float]
    kbps: list[float]
    measures: list[dict[str, float]]
    soft_hard_gaps: dict[str, float]
    signals: list[NDArray[np.float32]]
    entries_used: dict[str, int] = field(default_factory=dict)

    def flat(self) -> dict[str, float]:
        """One value per name, for the journal: pesq_wb at the deepest depth and pesq_wb_depth_1 ... before it."""
        values: dict[str, float] = {}
        for depth, (kbps, measures) in enumerate(zip(self.kbps, self.measures, strict=True), start=1):
            end = "" if depth == len(self.kbps) else f"_depth_{depth}"
            values |= {f"kbps{end}": kbps} | {name + end: value for name, value in measures.items()}
        bits = {f"bits {name}": value for name, value in self.bits_per_frame.items()}
        gaps = {f"gap {name}": value for name, value in self.soft_hard_gaps.items()}
        used = {f"used {name}": float(count) for name, count in self.entries_used.items()}
        return values | {name.replace(" ", "_"): value for name, value in (bits | gaps | used).items()}


class ValidationSet:
    """A few files of validation speakers, the same ones all through a run."""

    def __init__(self, files: Sequence[SpeechFile], config: Config) -> None:
        places = np.linspace(0, len(files) - 1, min(len(files), max(1, config.validation_files))).astype(int)
        self.signals = [load_speech(files[place].path)[:LONGEST] for place in places]

    def score(self, cascade: Cascade, tables: Tables, depth: int) -> Validation:
        """Scores the first `depth` codecs, which `tables` belong to."""
        models = read_models(tables)
        bits: dict[str, list[NDArray[np.float64]]] = {name: [] for name in models}
        measured: list[list[dict[str, float]]] = [[] for _ in range(depth)]
        shown: list[NDArray[np.float32]] = []
        used: dict[str, set[int]] = {part.name: set() for part in cascade.parts(depth)}
        for signal in self.signals:
            coded = feed_forward.encode(cascade, signal, depth)
            decoded = feed_forward.decode(cascade, coded)
            for name, values in frame_code_lengths(models, coded.symbols).items():
                bits[name].append(values)
            for name, entries in used.items():
                entries |= set(np.unique(coded.symbols[name]).tolist())
            for each, scores in zip(decoded, measured, strict=True):
                scores.append(score(signal, each).values)
            shown = shown or [signal, *decoded]
        mean_bits = {name: float(np.concatenate(values).mean()) for name, values in bits.items()}
        contexts = feed_forward.prepare(self.signals[0], cascade.config).contexts
        return Validation(
            bits_per_frame=mean_bits,
            kbps=rates_by_depth(mean_bits, depth),
            measures=[means(scores) for scores in measured],
            soft_hard_gaps=cascade.soft_hard_gaps(tf.constant(contexts), depth),
            signals=shown,
            entries_used={name: len(entries) for name, entries in used.items()},
        )


def rates_by_depth(bits_per_frame: dict[str, float], depth: int) -> list[float]:
    """Kbps of the first codec, of the first two ..., each with LPC and gain."""
    codes = list(bits_per_frame.values())[-depth:]
    side = sum(bits_per_frame.values()) - sum(codes) + GAIN_BITS_PER_FRAME
    return [kilobits_per_second(side + float(sum(codes[:count]))) for count in range(1, depth + 1)]


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
