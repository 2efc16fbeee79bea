"""Recordings with false headers."""

from __future__ import annotations

import io
import struct

import numpy as np
import soundfile

from nsc.errors import UserError
from nsc.recording import open_recording
from scripts.fuzzing.choice import Generator, one_of

HEADER = 100  # bytes that most changes fall into
KINDS = (("WAV", "PCM_16"), ("WAV", "IMA_ADPCM"), ("FLAC", "PCM_16"), ("AIFF", "PCM_24"), ("AU", "FLOAT"))
CONTAINERS = (*KINDS, ("NIST", "PCM_16"), ("CAF", "PCM_16"), ("W64", "PCM_16"), ("OGG", "VORBIS"), ("WAVEX", "FLOAT"))
NUMBERS = (0, 1, 2, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def recordings() -> list[bytes]:
    """A short recording in each container, mono and stereo."""
    steps = np.arange(3000)
    voice = (0.3 * np.sin(0.1 * steps)).astype(np.float32)
    found = []
    for container, subtype in CONTAINERS:
        for signal in (voice, np.stack([voice, -voice], 1)):
            file = io.BytesIO()
            soundfile.write(file, signal, 16_000, subtype, format=container)
            found.append(file.getvalue())
    return found


def mutated(files: list[bytes], generator: Generator) -> bytes:
    """One of the recordings, its header changed a few times."""
    data = bytearray(one_of(files, generator))
    for _ in range(int(generator.integers(1, 6))):
        at = int(generator.integers(min(HEADER, max(1, len(data) - 4))))
        kind = int(generator.integers(5))
        if kind == 0:
            data[at] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            data[at] = int(generator.integers(256))
        elif kind == 2:
            struct.pack_into(one_of("<>", generator) + "I", data, at, one_of(NUMBERS, generator))
        elif kind == 3:
            del data[max(8, int(generator.integers(len(data)))) :]
        else:
            data[at:at] = generator.bytes(int(generator.integers(1, 9)))
    return bytes(data)


def outcome(data: bytes) -> str:
    """Whether it was read, with a note or without, or refused."""
    try:
        recording = open_recording(data, "x")
        count = 0
        for block in recording.blocks():
            count += len(block)
            if not np.isfinite(block).all():
                raise AssertionError("samples that are not finite")
    except UserError as error:
        if "\n" in str(error):
            raise AssertionError(f"no line: {error}") from None
        return "refused"
    if count != recording.num_frames:
        raise AssertionError(f"expected {recording.num_frames} samples, found {count}")
    return "noted" if recording.notes else "read"
