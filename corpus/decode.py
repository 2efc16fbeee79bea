"""Decoding of recordings, and why one cannot be used."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from constants import GAIN_FLOOR_DB, GAIN_STEP_DB, SAMPLE_RATE
from corpus.speech_file import SpeechFile
from nsc.errors import UserError
from utilities import INT16_SCALE, group_levels, load_speech, to_int16

SHORTEST_SECONDS = 0.5
SILENCE_DB = -70.0  # dB re full scale: a file whose loudest group is below holds no speech


class Decoded(NamedTuple):
    """A decoded recording."""

    samples: NDArray[np.int16]  # [n]
    gain_indices: NDArray[np.uint8]  # one per group


def decode(path: Path, gain_mode: str) -> Decoded | str:
    """The samples and gains of a file, or one line that says why it is skipped."""
    try:
        samples = to_int16(load_speech(path))
    except UserError as error:
        return str(error)
    signal = (samples / INT16_SCALE).astype(np.float32)
    fault = _unusable(signal)
    return f"{path}: {fault}" if fault else Decoded(samples, group_levels(signal, gain_mode))


def checked_file(file: SpeechFile, gain_mode: str) -> tuple[str, tuple[int, int] | None]:
    """Why a file cannot be used for training or scoring, in one line, or nothing; and the key of its samples."""
    decoded = decode(file.path, gain_mode)
    if isinstance(decoded, str):
        return decoded, None
    data = decoded.samples.astype("<i2").tobytes()
    return "", (zlib.crc32(data), len(decoded.samples))


def _unusable(signal: NDArray[np.float32]) -> str:
    """Why a signal cannot be used for training or scoring, or nothing."""
    seconds = len(signal) / SAMPLE_RATE
    if seconds < SHORTEST_SECONDS:
        return f"too short, {seconds:.2f} s of at least {SHORTEST_SECONDS} s"
    loudest = GAIN_FLOOR_DB + GAIN_STEP_DB * group_levels(signal - signal.mean()).max()
    return f"silent, at most {loudest:.0f} dB re full scale" if loudest < SILENCE_DB else ""
