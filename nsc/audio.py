"""Speech files to samples of 16 kHz in blocks, and samples to WAV files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import soundfile

from nsc.coding.encoder import LOUDEST
from nsc.coding.interface import Signal
from nsc.constants import SAMPLE_RATE
from nsc.errors import UserError
from nsc.recording import Recording, open_recording
from nsc.wav import FULL_SCALE as INT16_SCALE
from nsc.wav import to_int16, write_wav

__all__ = ["INT16_SCALE", "Signal", "Speech", "open_speech", "to_int16", "write_speech", "write_wav"]

CLIPPED: Final = "full scale are clipped"
CONTAINERS: Final = {".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}  # that libsndfile writes


class Speech(NamedTuple):
    """Speech of 16 kHz that arrives in blocks.

    num_samples: its length.
    blocks: float32 [n] each, within -1 and 1; read again whenever they are gone through.
    rate, channels: of the file before conversion.
    notes: what was odd about the file; some come while it is read.
    """

    num_samples: int
    blocks: Iterable[Signal]
    rate: int
    channels: int
    notes: Sequence[str] = ()

    @property
    def converted(self) -> bool:
        """Whether the file had another rate or more channels."""
        return (self.rate, self.channels) != (SAMPLE_RATE, 1)


def open_speech(source: Path | bytes, name: str) -> Speech:
    """Opens a recording of any kind that `open_recording` takes, or its bytes; `name` is what errors call it.

    Raises:
        UserError: it cannot be read or is empty; while reading, that it is damaged or holds samples that are no numbers
            or far beyond full scale.
    """
    recording = open_recording(source, name)
    length = max(1, round(recording.num_frames * SAMPLE_RATE / recording.rate))
    return Speech(length, _Blocks(recording, length), recording.rate, recording.channels, recording.notes)


@dataclass(frozen=True)
class _Blocks:
    """Blocks of a recording as `length` samples of 16 kHz."""

    recording: Recording
    length: int

    def __iter__(self) -> Iterator[Signal]:
        blocks = _within_scale(self.recording)
        if self.recording.rate != SAMPLE_RATE:
            blocks = _resampled(blocks, self.recording.rate, self.length)
        return (np.clip(block, -1, 1) for block in blocks)


def _within_scale(recording: Recording) -> Iterator[Signal]:
    """Blocks, with a note on the first that goes beyond full scale and a refusal of what is of another scale."""
    for block in recording.blocks():
        loudest = float(np.abs(block).max(initial=0))
        if loudest > LOUDEST:
            raise UserError(f"{recording.name}: expected samples from -1 to 1, found {loudest:g}; divide by full scale")
        if loudest > 1 and not any(note.endswith(CLIPPED) for note in recording.notes):
            recording.notes.append(f"samples of up to {loudest:.2f} times {CLIPPED}")
        yield block


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


class _Checked(io.RawIOBase):
    """A file for libsndfile, from whose callbacks no exception comes: the first one is kept."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """The bytes that were written: none after an error."""
        if self.error is None:
            try:
                return self.file.write(data)
            except OSError as error:
                self.error = error
        return 0

    def read(self, size: int = -1) -> bytes:
        """Of a file that is written, nothing."""
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """The place after seeking."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return self.file.tell()


def write_speech(file: BinaryIO, blocks: Iterable[Signal], suffix: str) -> int:
    """Writes blocks of samples [n] of 16 kHz into a file that can seek, as WAV unless its name ends in .flac or .ogg.

    Returns:
        The number of samples.

    Raises:
        OSError: the file cannot be written.
    """
    if suffix not in CONTAINERS:
        return write_wav(file, blocks)
    container, subtype = CONTAINERS[suffix]
    checked, count = _Checked(file), 0
    try:
        with soundfile.SoundFile(checked, "w", SAMPLE_RATE, 1, subtype, format=container) as output:
            for block in blocks:
                output.write(to_int16(block) if subtype == "PCM_16" else block)
                count += len(block)
    except soundfile.SoundFileError as error:
        raise checked.error or OSError(str(error)) from None
    if checked.error:
        raise checked.error
    return count
