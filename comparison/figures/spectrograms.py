"""Spectrograms as pictures."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from measures.time_structure import HIGHEST, SHORT, all_energy_errors
from nsc.coding.interface import Signal
from utilities import atomic_write

PICTURE_WINDOW = 400  # samples, 25 ms
PICTURE_HOP = 160  # samples, 10 ms: 100 columns a second
PICTURE_BANDS = 128
PICTURE_RANGE_DB = 80.0  # below the reference's loudest bin
ENERGY_BANDS = 16  # equally wide
ENERGY_RANGE_DB = 12.0  # either way, where colours end
LOWEST = 50.0  # Hz
PICTURE_QUALITY = 70


def picture_top(reference: Signal) -> float:
    """The level at which pictures of a file are brightest, in dB."""
    return float(_decibels(reference).max())


def spectrogram(signal: Signal, top: float) -> NDArray[np.uint8]:
    """Spectrogram in colours [128, frames, 3], high frequencies at the top, from `top` dB down."""
    import matplotlib

    decibels = _decibels(signal)
    bands = np.linspace(len(decibels) - 1, 0, PICTURE_BANDS).round().astype(int)
    shade = np.clip(1 + (decibels[bands] - top) / PICTURE_RANGE_DB, 0, 1)
    return (255 * matplotlib.colormaps["magma"](shade)[..., :3]).round().astype(np.uint8)


def energy_picture(reference: Signal, decoded: Signal) -> NDArray[np.uint8]:
    """Errors of log energy in windows of 4 ms in colours [128, windows, 3]: red where decoded speech is louder."""
    import matplotlib

    edges = np.linspace(LOWEST, HIGHEST, ENERGY_BANDS + 1)
    errors = all_energy_errors(reference, decoded, list(pairwise(edges.tolist())), SHORT)
    shade = np.clip(0.5 + errors[::-1] / (2 * ENERGY_RANGE_DB), 0, 1)
    rows = np.repeat(shade, PICTURE_BANDS // ENERGY_BANDS, axis=0)
    return (255 * matplotlib.colormaps["RdBu_r"](rows)[..., :3]).round().astype(np.uint8)


def save_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Writes colours [height, width, 3] as WebP."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=PICTURE_QUALITY)
    atomic_write(path, buffer.getvalue())


def _decibels(signal: Signal) -> NDArray[np.float64]:
    """Log power [201, frames] of 25 ms every 10 ms."""
    signal = np.pad(signal, (0, max(0, PICTURE_WINDOW - len(signal))))  # the shortest file is one window
    _, _, spectrum = scipy.signal.stft(signal, nperseg=PICTURE_WINDOW, noverlap=PICTURE_WINDOW - PICTURE_HOP)
    return 20 * np.log10(np.abs(spectrum) + 1e-9)
