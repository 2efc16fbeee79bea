"""Speech files to samples of 16 kHz in blocks, and samples to WAV files."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from nsc.coding.encoder import LOUDEST
from nsc.coding.interface import Signal
from nsc.constants import SAMPLE_RATE
from nsc.errors import UserError
from nsc.recording import Recording, open_recording

INT16_SCALE: Final = 32_768.0  # one 16-bit step is 1 / 32768 of full scale
CLIPPED: Final = "full scale are clipped"
CONTAINERS: Final = {".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
WAV: Final = ("WAV", "PCM_16")
MOST_IN_WAV: Final = (1 << 31) - 64  # samples, 37 h: what its header can say


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
        return self._kept(lambda: self.file.write(data))

    def read(self, size: int = -1) -> bytes:
        """Of a file that is written, nothing."""
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """The place after seeking, which may write what was collected."""
        return self._kept(lambda: self.file.seek(offset, whence))

    def _kept(self, work: Callable[[], int]) -> int:
        if self.error is None:
            try:
                return work()
            except OSError as error:
                self.error = error
        return 0

    def tell(self) -> int:
        """The place."""
        return self.file.tell()


def to_int16(signal: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round samples to 16 bits, full scale 1, clipping to [-1, 1)."""
    return np.clip(np.rint(signal * INT16_SCALE), -INT16_SCALE, INT16_SCALE - 1).astype(np.int16)


def write_speech(file: BinaryIO, blocks: Iterable[Signal], suffix: str) -> int:
    """Writes blocks of samples [n] of 16 kHz into a file that can seek, as WAV unless its name ends in .flac or .ogg.

    Of 16 bits, samples are rounded and clipped.

    Returns:
        The number of samples.

    Raises:
        OSError: the file cannot be written.
    """
    container, subtype = CONTAINERS.get(suffix, WAV)
    checked, count = _Checked(file), 0
    try:
        with soundfile.SoundFile(checked, "w", SAMPLE_RATE, 1, subtype, format=container) as output:
            for block in blocks:
                output.write(to_int16(block) if subtype == "PCM_16" else block)
                count += len(block)
                if count > MOST_IN_WAV and suffix not in CONTAINERS:
                    raise OSError(errno.EFBIG, "a WAV file holds 37 hours at most, a .flac any number")
    except (soundfile.SoundFileError, AssertionError) as error:  # the second where fewer samples were written
        raise checked.error or OSError(str(error)) from None
    if checked.error:
        raise checked.error
    return count
