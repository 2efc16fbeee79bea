"""Packing: decoded recordings in one file of samples, with an index."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path

import numpy as np
from tqdm import tqdm

from constants import (
    FRAMES_PER_GROUP,
    GAIN_DECAY_DB,
    GAIN_FLOOR_DB,
    GAIN_LEVELS,
    GAIN_STEP_DB,
    HOP,
)
from corpus.decode import Decoded, decode
from corpus.shard_manifest import PACKING_FORMAT
from corpus.speech_file import SpeechFile
from nsc.atomic import folder_written_whole
from nsc.errors import UserError

FILES_AT_ONCE = 32  # decoded files held in memory while packing


def packed_name(files: Iterable[SpeechFile], gain_mode: str) -> str:
    """Name that changes with the list of files, their sizes and times, and all that decides the gains."""
    rule = (
        PACKING_FORMAT,
        gain_mode,
        GAIN_FLOOR_DB,
        GAIN_STEP_DB,
        GAIN_LEVELS,
        GAIN_DECAY_DB,
        FRAMES_PER_GROUP,
        HOP,
    )
    rows = [[*map(str, astuple(file)), *_size_and_time(file.path)] for file in files]
    return "packed-" + hashlib.sha256(json.dumps([rule, rows]).encode()).hexdigest()[:16]


def _size_and_time(path: Path) -> tuple[int, int]:
    if not path.is_file():
        return 0, 0  # packing lists it among those skipped
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def pack_into(folder: Path, files: Sequence[SpeechFile], gain_mode: str) -> None:
    """Write samples and index into a temporary folder next to `folder` and rename it; one that is there is used."""
    with suppress(FileExistsError), folder_written_whole(folder) as unfinished:
        _write_packed(unfinished, files, gain_mode)


def _write_packed(folder: Path, files: Sequence[SpeechFile], gain_mode: str) -> None:
    kept, lengths, checksums, left_out = [], [], [], []
    gain_indices = [np.zeros(0, np.uint8)]
    with (folder / "samples.int16").open("wb") as output:
        for file, decoded in zip(files, _decode_all(files, gain_mode), strict=True):
            if isinstance(decoded, str):
                left_out.append(decoded)
                continue
            data = decoded.samples.astype("<i2").tobytes()
            output.write(data)
            checksums.append(zlib.crc32(data))
            kept.append(file)
            lengths.append(len(decoded.samples))
            gain_indices.append(decoded.gain_indices)
    if not kept:
        first = f", first: {left_out[0]}" if left_out else ""
        raise UserError(
            f"expected speech to train on, found none usable in {len(files)} files{first}; give other files"
        )
    np.savez(
        folder / "index.npz",
        paths=np.array([str(file.path) for file in kept]),
        speakers=np.array([file.speaker for file in kept]),
        splits=np.array([file.split for file in kept]),
        lengths=np.array(lengths, np.int64),
        offsets=np.cumsum([0, *lengths[:-1]], dtype=np.int64),
        gain_indices=np.concatenate(gain_indices),
        checksums=np.array(checksums, np.uint32),
        left_out=np.array(left_out, np.str_),
    )


def _decode_all(files: Sequence[SpeechFile], gain_mode: str) -> Iterator[Decoded | str]:
    """Decode in two threads, in order, holding few files at a time."""
    with (
        ThreadPoolExecutor(2) as pool,
        tqdm(total=len(files), desc="packing speech", unit="file", disable=None) as progress,
    ):
        for first in range(0, len(files), FILES_AT_ONCE):
            paths = [file.path for file in files[first : first + FILES_AT_ONCE]]
            for decoded in pool.map(lambda path: decode(path, gain_mode), paths):
                progress.update()
                yield decoded
