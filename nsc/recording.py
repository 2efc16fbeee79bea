"""Recordings as people have them: headers that lie, streams of unknown length, any channels, names of any bytes."""

from __future__ import annotations

import io
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from nsc.coding.interface import Signal
from nsc.errors import UserError

LOWEST_RATE, HIGHEST_RATE = 4_000, 384_000  # Hz
BLOCK_SECONDS = 20
LARGEST_SAMPLE = 1e6  # full scale is 1: beyond, sums of channels would overflow
HEADER_READ = 1024  # bytes in which a header identifies itself
MOST_AT_ONCE = 1 << 24  # samples of all channels together in a block
MOST_CHUNKS = 1000  # of a WAV file before its samples
STREAMED_SIZE = 0x7FFF0000  # a WAV header that says this size or more was written before the end was known
CANCELLED_DB = -20.0  # power of the mean of all channels re the loudest: below it they cancel each other
HEARD_DB = -30.0  # power of a second re the loudest: below it, hum may cancel
TRUSTED_CONTAINERS = ("WAV", "WAVEX", "NIST")
TRUSTED = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")  # whose length libsndfile works out from the file's size

# What libsndfile opens by its content; other suffixes are no speech, though it may read them.
SNDFILE_SUFFIXES: Final = (
    *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".sph", ".nist", ".aif", ".aiff", ".aifc", ".au"),
    *(".snd", ".caf", ".w64", ".rf64", ".voc", ".paf", ".ircam", ".avr", ".pvf"),
)
FFMPEG_SUFFIXES: Final = (".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".amr", ".3gp", ".ac3", ".opus", ".mp3")


class _Patched(NamedTuple):
    """A file some of whose bytes are read as others: a header that did not know its samples."""

    path: Path
    at: int
    data: bytes


class _Piped(NamedTuple):
    """A file that ffmpeg decodes while it is read."""

    path: Path


Source = Path | bytes | _Patched | _Piped


class _Stream(soundfile.SoundFile):
    """A sound file that is read from its beginning to its end, wherever that is."""

    def seekable(self) -> bool:
        """Never: seeking fails where the header does not know the length."""
        return False


class _Memory(io.BytesIO):
    """Bytes in memory as a file, where seeking to a place that no file has, as lying headers ask, stays where it is."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """The place after seeking."""
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


class _PatchedFile(io.FileIO):
    """The file of a `_Patched`."""

    def __init__(self, source: _Patched) -> None:
        super().__init__(source.path)
        self._patch = source

    def readinto(self, buffer: Any) -> int:
        """Reads as any file, with the patch over it."""
        at, (_, start, data) = self.tell(), self._patch
        count = super().readinto(buffer) or 0
        first, last = max(at, start), min(at + count, start + len(data))
        if first < last:
            memoryview(buffer).cast("B")[first - at : last - at] = data[first - start : last - start]
        return count

    def read(self, size: int | None = -1) -> bytes:
        """Reads as any file, with the patch over it."""
        buffer = bytearray(os.fstat(self.fileno()).st_size if size is None or size < 0 else size)
        return bytes(buffer[: self.readinto(buffer)])


@dataclass
class Recording:
    """One recording, whatever its container.

    name: for messages.
    rate: Hz.
    channels: number of channels.
    num_frames: samples of each channel that are really there.
    notes: what was odd about it, a line each, without the name.
    """

    name: str
    rate: int
    channels: int
    num_frames: int
    notes: list[str] = field(default_factory=list)
    _source: Source = b""
    _channel: int | None = None  # the one that is used where the mean of all would be silence

    def blocks(self) -> Iterator[Signal]:
        """One channel of samples [n] at the recording's own rate, in blocks of at most 20 s.

        Raises:
            UserError: it cannot be read to its end, or holds NaN or infinite samples.
        """
        left = self.num_frames
        for block in _read_blocks(self._source, self.name):
            mixed = block.mean(axis=1) if self._channel is None else block[:, self._channel]
            yield mixed[:left]
            left -= len(mixed)


def open_recording(source: Path | bytes, name: str) -> Recording:
    """Opens a recording: whatever libsndfile reads by its content, and what ffmpeg reads by its suffix.

    Args:
        source: path, or the bytes themselves.
        name: for messages.

    Raises:
        UserError: it cannot be read, is empty, or has a rate that no speech has.
    """
    if isinstance(source, Path) and source.exists() and not (source.is_file() or source.is_dir()):
        raise UserError(f"{name}: expected an audio file, found a pipe or a device; skip it")  # which may have no end
    if isinstance(source, Path) and _needs_ffmpeg(source):
        return _open_piped(_Piped(source), name)
    mended, notes = _mended(source)
    try:
        with _opened(mended) as file:
            rate, channels, declared, trusted = file.samplerate, file.channels, file.frames, _is_trusted(file)
    except (soundfile.SoundFileError, OSError, MemoryError) as error:
        raise UserError(reading_advice(source, name, error)) from None
    return _checked(Recording(name, rate, channels, declared, notes, mended), surveys=channels > 1 or not trusted)


def _checked(recording: Recording, *, surveys: bool) -> Recording:
    """A recording whose length and channels are known, if need be by reading it once.

    Raises:
        UserError: it is empty, or has a rate that no speech has.
    """
    name, rate = recording.name, recording.rate
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise UserError(f"{name}: expected a rate from 4 to 384 kHz, found {rate} Hz; skip the file")
    if surveys:
        _survey(recording)
    if not recording.num_frames:
        raise UserError(f"{name}: expected speech, found no samples; skip the file")
    return recording


def _survey(recording: Recording) -> None:
    """Reads a recording once to find its true length, and whether its channels cancel each other in a second of it."""
    declared, found = recording.num_frames, 0
    powers, means = [np.zeros(recording.channels)], [0.0]
    for block in _read_blocks(recording._source, recording.name):
        found += len(block)
        for start in range(0, len(block) if recording.channels > 1 else 0, recording.rate):
            second = block[start : start + recording.rate]
            powers.append(np.einsum("ij,ij->j", second, second, dtype=np.float64))
            mixed = second.mean(axis=1)
            means.append(float(np.einsum("i,i", mixed, mixed, dtype=np.float64)))
    if found < declared < 1 << 40:
        recording.notes.append(f"the header promises {declared} samples, {found} are there: it is cut off")
    recording.num_frames = found
    power, loudest = np.max(powers, axis=1), int(np.argmax(np.sum(powers, axis=0)))
    heard = power > power.max() * 10 ** (HEARD_DB / 10)
    if (np.array(means) < power * 10 ** (CANCELLED_DB / 10))[heard].any():
        recording._channel = loudest
        recording.notes.append(f"the channels cancel each other: channel {loudest + 1}, the loudest, is used alone")


def _read_blocks(source: Source, name: str) -> Iterator[NDArray[np.float32]]:
    """Samples [n, channels] to the end, wherever the header says that it is."""
    for block in _piped_blocks(source, name) if isinstance(source, _Piped) else _file_blocks(source, name):
        if not np.isfinite(block).all():
            raise UserError(f"{name}: contains NaN or infinite samples; fix or remove the file")
        yield np.clip(block, -LARGEST_SAMPLE, LARGEST_SAMPLE, out=block)


def _file_blocks(source: Source, name: str) -> Iterator[NDArray[np.float32]]:
    found = 0
    with _opened(source) as file:
        length = _block_length(file.samplerate, file.channels)
        while True:
            try:
                block = file.read(length, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, MemoryError) as error:
                expected = f"{file.frames} samples" if file.frames < 1 << 40 else "samples"
                raise UserError(f"{name}: expected {expected}, found {found} ({error}); fix it") from None
            if not len(block):
                return
            found += len(block)
            yield block


def _block_length(rate: int, channels: int) -> int:
    return min(BLOCK_SECONDS * rate, max(1, MOST_AT_ONCE // channels))


def _opened(source: Source) -> _Stream:
    # as bytes: names need not be UTF-8
    if isinstance(source, _Patched):
        return _Stream(_PatchedFile(source))
    assert not isinstance(source, _Piped)
    return _Stream(_Memory(source) if isinstance(source, bytes) else os.fsencode(source))


def _is_trusted(file: soundfile.SoundFile) -> bool:
    return file.format in TRUSTED_CONTAINERS and file.subtype.startswith(TRUSTED) and file.frames < 1 << 40


# WAV headers


class _WavData(NamedTuple):
    """Where the samples of a WAV file are: place of the field of their size, what it says, where they begin."""

    size_at: int
    size: int
    start: int


def _mended(source: Path | bytes) -> tuple[Source, list[str]]:
    """A source whose header knows its samples, and notes on what it said instead."""
    try:
        length = len(source) if isinstance(source, bytes) else source.stat().st_size
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            data = _wav_data(file)
            if data is None:
                return source, _sphere_notes(file, length)
            there = length - data.start
            if data.size == 0 and there > 1 and not _are_chunks(file, data.start, length):
                notes = [f"the header promises no samples, {there} bytes of them are there: all are read"]
                return _patched(source, data.size_at, struct.pack("<I", min(there, 0xFFFFFFFF))), notes
    except OSError:
        return source, []  # opening it says why
    if there < data.size < STREAMED_SIZE:
        return source, [f"the header promises {data.size} bytes of samples, {there} are there: it is cut off"]
    return source, []


def _patched(source: Path | bytes, at: int, data: bytes) -> Source:
    return source[:at] + data + source[at + len(data) :] if isinstance(source, bytes) else _Patched(source, at, data)


def _wav_data(file: io.BufferedIOBase | io.BufferedReader | io.BytesIO) -> _WavData | None:
    if file.read(4) != b"RIFF" or file.read(8)[4:] != b"WAVE":
        return None
    at = 12
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return None
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"data":
            return _WavData(at + 4, size, at + 8)
        at += 8 + size + size % 2
    return None


def _are_chunks(file: io.BufferedIOBase | io.BufferedReader | io.BytesIO, at: int, length: int) -> bool:
    """Whether the rest of a WAV file is further chunks, and not samples whose number the header did not know."""
    for _ in range(MOST_CHUNKS):
        if at >= length:
            return True
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or not re.fullmatch(rb"[A-Za-z0-9_ ]{4}", head[:4]):
            return False
        size = int.from_bytes(head[4:], "little")
        at += 8 + size + size % 2
    return False


def _sphere_notes(file: io.BufferedIOBase | io.BufferedReader | io.BytesIO, length: int) -> list[str]:
    file.seek(0)
    header = file.read(HEADER_READ)
    if not header.startswith(b"NIST_1A") or b"shorten" in header:
        return []
    values = dict(re.findall(rb"(\w+) -i (\d{1,9})\s", header))
    expected = 1
    for name in (b"sample_count", b"channel_count", b"sample_n_bytes"):
        expected *= int(values.get(name, b"0"))
    there = length - len(header)
    return [f"the header promises {expected} bytes of samples, {there} are there: it is cut off"] * (there < expected)


# ffmpeg


def _needs_ffmpeg(source: Path) -> bool:
    if source.suffix.lower() not in FFMPEG_SUFFIXES or not source.is_file():
        return False
    try:
        _opened(source).close()
    except (soundfile.SoundFileError, OSError):
        return True
    return False


def _open_piped(source: _Piped, name: str) -> Recording:
    with _decoding(source, name) as (rate, channels, _):
        pass
    return _checked(Recording(name, rate, channels, 0, [], source), surveys=True)


def _piped_blocks(source: _Piped, name: str) -> Iterator[NDArray[np.float32]]:
    with _decoding(source, name) as (rate, channels, stream):
        while data := stream.read(2 * channels * _block_length(rate, channels)):
            whole = np.frombuffer(data, "<i2", len(data) // (2 * channels) * channels)
            yield np.divide(whole, 1 << 15, dtype=np.float32).reshape(-1, channels)


@contextmanager
def _decoding(source: _Piped, name: str) -> Iterator[tuple[int, int, IO[bytes]]]:
    """Rate in Hz, channels and a stream of samples of 16 bits, which ffmpeg decodes as fast as they are read.

    Raises:
        UserError: there is no ffmpeg, or it cannot read the file to its end.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        suffix = source.path.suffix
        raise UserError(f"{name}: expected what libsndfile reads, found {suffix}; install ffmpeg, or convert it")
    command: list[str | bytes] = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe"]
    command += ["-i", b"file:" + os.fsencode(source.path)]  # a name is no protocol and no flag
    command += ["-map", "0:a:0", "-f", "wav", "-c:a", "pcm_s16le", "-"]
    with tempfile.TemporaryFile() as complaints:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints) as process:
            assert process.stdout
            try:
                form = _wav_form(process.stdout)
                if form:
                    yield *form, process.stdout
                if not process.stdout.read(1):  # it was read to its end
                    process.wait()
            finally:
                process.kill()
        if form is None or process.returncode > 0:
            complaints.seek(0)
            reason = (complaints.read().decode(errors="replace").strip().splitlines() or ["no audio in it"])[-1]
            raise UserError(f"{name}: expected speech, found what ffmpeg cannot read ({reason}); skip it")


def _wav_form(stream: IO[bytes]) -> tuple[int, int] | None:
    """Rate and channels of a WAV file that begins; the stream then is at its samples. None where it does not begin."""
    form = None
    if stream.read(12)[8:] != b"WAVE":
        return None
    while len(head := stream.read(8)) == 8:
        if head[:4] == b"data":
            return form
        chunk = stream.read(int.from_bytes(head[4:], "little"))
        if head[:4] == b"fmt ":
            form = struct.unpack_from("<I", chunk, 4)[0], struct.unpack_from("<H", chunk, 2)[0]
    return None


def reading_advice(source: Path | bytes, name: str, error: Exception) -> str:
    """One line that says why a file cannot be read."""
    if isinstance(source, Path) and not source.exists():
        return f"{name}: expected an audio file, found none; check the path"
    if isinstance(source, Path) and source.is_dir():
        return f"{name}: expected an audio file, found a folder; name a file in it"
    header = source[:HEADER_READ] if isinstance(source, bytes) else _first_bytes(source)
    if header.startswith(b"NIST_1A") and b"shorten" in header:
        return f"{name}: expected uncompressed NIST SPHERE, found shorten compression; convert it with sph2pipe"
    if header.startswith(b"version https://git-lfs"):
        return f"{name}: expected an audio file, found a pointer of Git LFS; fetch the file by git lfs pull"
    reason = error.strerror if isinstance(error, OSError) else str(error).rpartition(": ")[2] or type(error).__name__
    return f"{name}: expected wav, flac, ogg or NIST SPHERE, found what cannot be read ({reason}); skip it"


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEADER_READ)
    except OSError:
        return b""
