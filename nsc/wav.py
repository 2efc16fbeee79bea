"""16-bit mono WAV at 16 kHz, written to any file in plain bytes, so that a full disk is an error and no more."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from nsc.constants import SAMPLE_RATE

FULL_SCALE = 32_768.0  # one 16-bit step is 1 / 32768 of full scale
HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
LARGEST_SIZE = 0xFFFFFFFF  # that the header can say; readers of longer files read to the end


def wav_header(num_samples: int) -> bytes:
    """The 44 bytes before the samples."""
    size = min(2 * num_samples, LARGEST_SIZE - HEADER.size)
    format_fields = (16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    return HEADER.pack(b"RIFF", size + HEADER.size - 8, b"WAVE", b"fmt ", *format_fields, b"data", size)


def to_int16(signal: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round samples to 16 bits, full scale 1, clipping to [-1, 1)."""
    return np.clip(np.rint(signal * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def write_wav(file: BinaryIO, blocks: Iterable[NDArray[np.floating]]) -> int:
    """Writes blocks of samples [n], full scale 1, clipped, into a file that can seek; returns their number."""
    file.write(wav_header(0))
    count = 0
    for block in blocks:
        file.write(to_int16(block).astype("<i2").tobytes())
        count += len(block)
    end = file.tell()
    file.seek(end - 2 * count - HEADER.size)
    file.write(wav_header(count))
    file.seek(end)
    return count
