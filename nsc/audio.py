"""Speech files to samples of 16 kHz in blocks, and samples to WAV files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from nsc.constants import SAMPLE_RATE
from nsc.errors import UserError

BLOCK_SECONDS = 20
INT16_SCALE = 32_768.0  # one 16-bit step is 1 / 32768 of full scale
HEADER_READ = 1024  # bytes of a file that cannot be read, looked at for advice

Signal = NDArray[np.float32]


class Speech(NamedTuple):
    """Speech of 16 kHz that arrives in blocks.

    num_samples: its length.
    blocks: float32 [n] each, within -1 and 1.
    rate, channels: of the file before conversion.
    """

    num_samples: int
    blocks: Iterator[Signal]
    rate: int
    channels: int

    @property
    def converted(self) -> bool:
        """Whether the file had another rate or more channels."""
        return (self.rate, self.channels) != (SAMPLE_RATE, 1)


def open_speech(source: Path | bytes, name: str) -> Speech:
    """Opens a file (wav, flac, ogg, NIST SPHERE), or its bytes; `name` is what errors call it.

    Raises:
        UserError: it cannot be read or is empty; while reading, that it is cut off or holds NaN or infinite samples.
    """
    try:
        file = soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (soundfile.SoundFileError, OSError, MemoryError) as error:
        raise UserError(reading_advice(source, name, error)) from None
    if not file.frames:
        raise UserError(f"{name}: expected speech, found no samples; skip the file")
    length = max(1, round(file.frames * SAMPLE_RATE / file.samplerate))
    blocks = _mono_blocks(file, name)
    if file.samplerate != SAMPLE_RATE:
        blocks = _resampled(blocks, file.samplerate, length)
    return Speech(length, (np.clip(block, -1, 1) for block in blocks), file.samplerate, file.channels)


def _mono_blocks(file: soundfile.SoundFile, name: str) -> Iterator[Signal]:
    found = 0
    with file:
        while found < file.frames:
            try:
                block = file.read(BLOCK_SECONDS * file.samplerate, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise UserError(f"{name}: expected {file.frames} samples, found {found} ({error}); fix it") from None
            if not len(block):
                raise UserError(f"{name}: expected {file.frames} samples, found {found}: it is cut off; fix it")
            if not np.isfinite(block).all():
                raise UserError(f"{name}: contains NaN or infinite samples; fix or remove the file")
            found += len(block)
            yield block[:, 0] if file.channels == 1 else block.mean(axis=1)


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


def reading_advice(source: Path | bytes, name: str, error: Exception) -> str:
    """One line that says why a file cannot be read."""
    if isinstance(source, Path) and not source.exists():
        return f"{name}: expected an audio file, found none; check the path"
    header = source[:HEADER_READ] if isinstance(source, bytes) else _first_bytes(source)
    if header.startswith(b"NIST_1A") and b"shorten" in header:
        return f"{name}: expected uncompressed NIST SPHERE, found shorten compression; convert it with sph2pipe"
    return f"{name}: expected wav, flac, ogg or NIST SPHERE, found what cannot be read ({error}); skip it"


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEADER_READ)
    except OSError:
        return b""


def to_int16(signal: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round samples to 16 bits, full scale 1, clipping to [-1, 1)."""
    return np.clip(np.rint(signal * INT16_SCALE), -INT16_SCALE, INT16_SCALE - 1).astype(np.int16)


def write_wav(file: BinaryIO | Any, blocks: Iterable[Signal]) -> int:
    """Writes blocks as 16-bit mono WAV at 16 kHz into an open file that can seek; returns the number of samples."""
    count = 0
    with soundfile.SoundFile(file, "w", SAMPLE_RATE, 1, "PCM_16", format="WAV") as wav:
        for block in blocks:
            wav.write(to_int16(block))
            count += len(block)
    return count
