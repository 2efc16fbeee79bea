"""Recordings as people have them: headers that lie, streams of unknown length, any channels, names of any bytes."""

from __future__ import annotations

import io
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

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
TRUSTED_CONTAINERS = ("WAV", "WAVEX", "NIST")
TRUSTED = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")  # whose length libsndfile works out from the file's size

# What libsndfile opens by its content; other suffixes are no speech, though it may read them.
SNDFILE_SUFFIXES: Final = (
    *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".sph", ".nist", ".aif", ".aiff", ".aifc", ".au"),
    *(".snd", ".caf", ".w64", ".rf64", ".voc", ".paf", ".ircam", ".avr", ".pvf"),
)
FFMPEG_SUFFIXES: Final = (".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".amr", ".3gp", ".ac3", ".opus", ".mp3")

Source = Path | bytes


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


def open_recording(source: Source, name: str) -> Recording:
    """Opens a recording: whatever libsndfile reads by its content, and what ffmpeg reads by its suffix.

    Args:
        source: path, or the bytes themselves.
        name: for messages.

    Raises:
        UserError: it cannot be read, is empty, or has a rate that no speech has.
    """
    if isinstance(source, Path) and source.exists() and not (source.is_file() or source.is_dir()):
        raise UserError(f"{name}: expected an audio file, found a pipe or a device; skip it")  # which may have no end
    source, notes = _mended(source)
    source = _decoded_by_ffmpeg(source, name) if _needs_ffmpeg(source) else source
    try:
        with _opened(source) as file:
            rate, channels, declared, trusted = file.samplerate, file.channels, file.frames, _is_trusted(file)
    except (soundfile.SoundFileError, OSError, MemoryError) as error:
        raise UserError(reading_advice(source, name, error)) from None
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise UserError(f"{name}: expected a rate from 4 to 384 kHz, found {rate} Hz; skip the file")
    recording = Recording(name, rate, channels, declared, notes, source)
    if channels > 1 or not trusted:
        _survey(recording)
    if not recording.num_frames:
        raise UserError(f"{name}: expected speech, found no samples; skip the file")
    return recording


def _survey(recording: Recording) -> None:
    """Reads a recording once to find its true length, and whether its channels cancel each other."""
    declared, found = recording.num_frames, 0
    power = np.zeros(recording.channels)
    mean_power = 0.0
    for block in _read_blocks(recording._source, recording.name):
        found += len(block)
        if recording.channels > 1:
            power += np.square(block, dtype=np.float64).sum(0)
            mean_power += float(np.square(block.mean(axis=1), dtype=np.float64).sum())
    if found < declared < 1 << 40:
        recording.notes.append(f"the header promises {declared} samples, {found} are there: it is cut off")
    recording.num_frames = found
    loudest = int(np.argmax(power))
    if mean_power < power[loudest] * 10 ** (CANCELLED_DB / 10):
        recording._channel = loudest
        recording.notes.append(f"the channels cancel each other: channel {loudest + 1}, the loudest, is used alone")


def _read_blocks(source: Source, name: str) -> Iterator[NDArray[np.float32]]:
    """Samples [n, channels] to the end, wherever the header says that it is."""
    found = 0
    with _opened(source) as file:
        length = min(BLOCK_SECONDS * file.samplerate, max(1, MOST_AT_ONCE // file.channels))
        while True:
            try:
                block = file.read(length, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, MemoryError) as error:
                expected = f"{file.frames} samples" if file.frames < 1 << 40 else "samples"
                raise UserError(f"{name}: expected {expected}, found {found} ({error}); fix it") from None
            if not len(block):
                return
            if not np.isfinite(block).all():
                raise UserError(f"{name}: contains NaN or infinite samples; fix or remove the file")
            found += len(block)
            yield np.clip(block, -LARGEST_SAMPLE, LARGEST_SAMPLE, out=block)


def _opened(source: Source) -> _Stream:
    # as bytes: names need not be UTF-8
    return _Stream(_Memory(source) if isinstance(source, bytes) else os.fsencode(source))


def _is_trusted(file: soundfile.SoundFile) -> bool:
    return file.format in TRUSTED_CONTAINERS and file.subtype.startswith(TRUSTED) and file.frames < 1 << 40


# WAV headers


class _WavData(NamedTuple):
    """Where the samples of a WAV file are: place of the field of their size, what it says, where they begin."""

    size_at: int
    size: int
    start: int


def _mended(source: Source) -> tuple[Source, list[str]]:
    """A source whose header knows its samples, and notes on what it said instead."""
    try:
        length = len(source) if isinstance(source, bytes) else source.stat().st_size
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            data = _wav_data(file)
            if data is None:
                return source, _sphere_notes(file, length)
            there = length - data.start
            if data.size == 0 and there > 1 and not _are_chunks(file, data.start, length):
                file.seek(0)
                whole = bytearray(file.read())
                struct.pack_into("<I", whole, data.size_at, min(there, 0xFFFFFFFF))
                return bytes(whole), [f"the header promises no samples, {there} bytes of them are there: all are read"]
    except OSError:
        return source, []  # opening it says why
    if there < data.size < STREAMED_SIZE:
        return source, [f"the header promises {data.size} bytes of samples, {there} are there: it is cut off"]
    return source, []


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


def _needs_ffmpeg(source: Source) -> bool:
    if isinstance(source, bytes) or source.suffix.lower() not in FFMPEG_SUFFIXES or not source.is_file():
        return False
    try:
        _opened(source).close()
    except (soundfile.SoundFileError, OSError):
        return True
    return False


def _decoded_by_ffmpeg(source: Source, name: str) -> bytes:
    assert isinstance(source, Path)
    program = shutil.which("ffmpeg")
    if program is None:
        raise UserError(f"{name}: expected what libsndfile reads, found {source.suffix}; install ffmpeg, or convert it")
    command: list[str | bytes] = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe"]
    command += ["-i", b"file:" + bytes(source)]  # a name is no protocol and no flag
    result = subprocess.run([*command, "-map", "0:a:0", "-f", "wav", "-c:a", "pcm_s16le", "-"], capture_output=True)
    if result.returncode or not result.stdout:
        reason = (result.stderr.decode(errors="replace").strip().splitlines() or ["no audio in it"])[-1]
        raise UserError(f"{name}: expected speech, found what ffmpeg cannot read ({reason}); skip it")
    return result.stdout


def reading_advice(source: Source, name: str, error: Exception) -> str:
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
