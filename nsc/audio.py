"""Speech files to samples of 16 kHz in blocks, and samples to WAV files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nsc.coding.interface import Signal
from nsc.constants import SAMPLE_RATE
from nsc.recording import open_recording
from nsc.wav import FULL_SCALE as INT16_SCALE
from nsc.wav import to_int16, write_wav

__all__ = ["INT16_SCALE", "Signal", "Speech", "open_speech", "to_int16", "write_wav"]


class Speech(NamedTuple):
    """Speech of 16 kHz that arrives in blocks.

    num_samples: its length.
    blocks: float32 [n] each, within -1 and 1.
    rate, channels: of the file before conversion.
    notes: what was odd about the file.
    """

    num_samples: int
    blocks: Iterator[Signal]
    rate: int
    channels: int
    notes: tuple[str, ...] = ()

    @property
    def converted(self) -> bool:
        """Whether the file had another rate or more channels."""
        return (self.rate, self.channels) != (SAMPLE_RATE, 1)


def open_speech(source: Path | bytes, name: str) -> Speech:
    """Opens a recording of any kind that `open_recording` takes, or its bytes; `name` is what errors call it.

    Raises:
        UserError: it cannot be read or is empty; while reading, that it is damaged or holds NaN or infinite samples.
    """
    recording = open_recording(source, name)
    length = max(1, round(recording.num_frames * SAMPLE_RATE / recording.rate))
    blocks = recording.blocks()
    if recording.rate != SAMPLE_RATE:
        blocks = _resampled(blocks, recording.rate, length)
    clipped = (np.clip(block, -1, 1) for block in blocks)
    return Speech(length, clipped, recording.rate, recording.channels, tuple(recording.notes))


def _resampled(blocks: Iterable[Signal], rate: int, length: int) -> Iterator[Signal]:
    """Blocks of another rate in Hz as `length` samples of 16 kHz in all, without delay."""
    import soxr

    stream, left = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32"), length
    for block in blocks:
        resampled = stream.resample_chunk(np.ascontiguousarray(block))[:left]
        left -= len(resampled)
        yield resampled
    resampled = stream.resample_chunk(np.zeros(0, np.float32), last=True)[:left]
    yield np.pad(resampled, (0, left - len(resampled)))
