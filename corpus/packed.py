"""A packed corpus in one folder, read frame by frame in any order."""

from __future__ import annotations

import os
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from constants import FRAME_LENGTH, FRAMES_PER_GROUP, HOP, LPC_WINDOW_LENGTH, OVERLAP, SAMPLE_RATE
from corpus.packing import pack_into, packed_name
from corpus.seeds import generator_of
from corpus.speech_file import SPLITS, SpeechFile
from nsc.errors import UserError
from utilities import INT16_SCALE, gains_of, number_of_frames, pre_emphasise
from utilities import high_pass as high_pass_filter

DELETE = "delete this folder and try again"
DAMAGED = f"expected packed speech, found a damaged file; {DELETE}"
VERIFIED_AT_ONCE = 1 << 22  # bytes of a recording that are checksummed at a time
BLOCK = 32  # frames at a time, which the cache holds, and whose arrays are not fetched from the system anew each time
HIGH_PASS_WARM_UP = 2048  # samples; the 50 Hz filter has forgotten its start by 240 dB


class PackedCorpus:
    """Decoded speech in one file of 16-bit samples, read frame by frame; only its index stays in memory.

    Frames are numbered through the corpus: all frames of the first file, of the second and so on.

    Attributes:
        folder: where they lie.
        left_out: one line with path and reason for each file that was too short, silent or broken.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._read_index()
            self._descriptor = os.open(folder / "samples.int16", os.O_RDONLY)
        except Exception:  # a damaged archive may raise anything
            raise UserError(f"{folder}: {DAMAGED}") from None
        weakref.finalize(self, os.close, self._descriptor)
        if os.fstat(self._descriptor).st_size != 2 * self._lengths.sum():
            raise UserError(f"{folder}: {DAMAGED}")

    def _read_index(self) -> None:
        with np.load(self.folder / "index.npz") as index:
            self._offsets: NDArray[np.int64] = index["offsets"]  # samples
            self._lengths: NDArray[np.int64] = index["lengths"]  # samples
            self._gain_indices: NDArray[np.uint8] = index["gain_indices"]  # one per group, file after file
            self._checksums: NDArray[np.uint32] = index["checksums"]  # CRC-32 of each recording's samples
            self.left_out: list[str] = index["left_out"].tolist()
            columns = (index[name].tolist() for name in ("paths", "speakers", "splits"))
            self._files = [
                SpeechFile(Path(path), speaker, split) for path, speaker, split in zip(*columns, strict=True)
            ]
        frames = np.array([number_of_frames(int(length)) for length in self._lengths])
        groups = -(-frames // FRAMES_PER_GROUP)
        self._first_frames = np.cumsum(frames) - frames
        self._first_groups = np.cumsum(groups) - groups
        self._num_frames = frames
        self._verified = np.zeros(len(frames), bool)
        counts = {len(each) for each in (self._files, self._offsets, self._lengths, self._checksums)}
        ends = np.cumsum(self._lengths)
        if len(counts) > 1 or len(self._gain_indices) != groups.sum() or (self._offsets != ends - self._lengths).any():
            raise ValueError("an index that does not fit together")

    @classmethod
    def pack(cls, files: Sequence[SpeechFile], cache_dir: str | Path, gain_mode: str = "group") -> PackedCorpus:
        """Decode all files once into a folder of `cache_dir`, or open the folder if that was done before.

        Raises:
            UserError: no file holds usable speech.
        """
        folder = Path(cache_dir) / packed_name(files, gain_mode)
        if not folder.is_dir():
            pack_into(folder, files, gain_mode)
        return cls(folder)

    def read_ahead(self) -> None:
        """Asks the system to fetch all samples in one go: reading them one by one in random order takes far longer."""
        if hasattr(os, "posix_fadvise"):  # macOS has none
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_WILLNEED)

    def files(self, split: str) -> list[SpeechFile]:
        """The packed files of one split."""
        return [file for file in self._files if file.split == split]

    def speakers(self) -> dict[str, int]:
        return {split: len({file.speaker for file in self.files(split)}) for split in SPLITS}

    def checksums(self) -> dict[str, str]:
        """CRC-32 of the samples of each recording, by its path."""
        return {str(file.path): f"{checksum:08x}" for file, checksum in zip(self._files, self._checksums, strict=True)}

    def twins(self) -> list[tuple[SpeechFile, SpeechFile]]:
        rows_of: dict[tuple[int, int], list[int]] = {}
        for row, (_, key) in enumerate(self.sample_keys()):
            rows_of.setdefault(key, []).append(row)
        pairs = ((rows[0], other) for rows in rows_of.values() for other in rows[1:])
        return [
            (self._files[one], self._files[other])
            for one, other in pairs
            if self._files[one].split != self._files[other].split and self._same_samples(one, other)
        ]

    def sample_keys(self) -> list[tuple[SpeechFile, tuple[int, int]]]:
        """Every recording with the checksum and the number of its samples, which identify it."""
        return list(zip(self._files, zip(self._checksums.tolist(), self._lengths.tolist(), strict=True), strict=True))

    def _same_samples(self, one: int, other: int) -> bool:
        length = int(self._lengths[one])
        rows, starts = np.array([one, other]), range(0, length, VERIFIED_AT_ONCE)
        pieces = (self._read(rows, np.array([start, start]), min(VERIFIED_AT_ONCE, length - start)) for start in starts)
        return all(np.array_equal(*piece) for piece in pieces)

    def seconds(self, split: str) -> float:
        """Duration of one split in seconds."""
        return float(self._lengths[self._in_split(split)].sum()) / SAMPLE_RATE

    def num_frames(self, split: str) -> int:
        """Number of frames of one split, silent ones included."""
        return int(self._num_frames[self._in_split(split)].sum())

    def num_training_frames(self, consecutive: int = 1) -> int:
        return consecutive * len(self.training_runs(consecutive))

    def training_runs(self, length: int) -> NDArray[np.integer]:
        """Numbers of the audible training frames from which runs of `length` start, ascending."""
        return self.starts_of_runs(self.frame_indices("train", audible_only=True), length)

    def order(self, seed_and_epoch: tuple[int, int], consecutive: int) -> Shuffle:
        """A permutation of all training frames, drawn from (seed, epoch) alone."""
        return Shuffle([self], generator_of(seed_and_epoch), consecutive)

    def frame_indices(self, split: str, *, audible_only: bool = False) -> NDArray[np.int64]:
        """Numbers of the frames of one split, ascending; `audible_only` drops groups of digital silence."""
        rows = np.flatnonzero(self._in_split(split))
        ranges = [np.arange(self._num_frames[row]) + self._first_frames[row] for row in rows]
        numbers = np.concatenate([np.zeros(0, np.int64), *ranges])
        return numbers[self.frame_gain_indices(numbers) > 0] if audible_only else numbers

    def starts_of_runs(self, frame_numbers: NDArray[np.integer], length: int) -> NDArray[np.integer]:
        """Those of the frames from which runs of `length` start, whole ones side by side in each file."""
        rows, frames = self._locate(frame_numbers)
        return frame_numbers[(frames % length == 0) & (frames + length <= self._num_frames[rows])]

    def frame_gain_indices(self, frame_numbers: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Gain index of each frame [batch], that of its group."""
        rows, frames = self._locate(frame_numbers)
        return self._gain_indices[self._first_groups[rows] + frames // FRAMES_PER_GROUP]

    def contexts(
        self,
        frame_numbers: NDArray[np.integer],
        *,
        pre_emphasis: bool,
        high_pass: bool,
        length: int = LPC_WINDOW_LENGTH,
    ) -> NDArray[np.float32]:
        """The samples centred on each frame, filtered as the whole file would be, divided by the frame's gain.

        Args:
            frame_numbers: numbers [batch] as `frame_indices` gives them.
            pre_emphasis: filter by 1 - 0.68 z^-1.
            high_pass: filter by the 50 Hz high-pass first.
            length: how many samples, an even number.

        Returns:
            Samples [batch, length], zeros beyond the ends of the file.
        """
        contexts = np.empty((len(frame_numbers), length), np.float32)
        for start in range(0, len(frame_numbers), BLOCK):
            own = slice(start, start + BLOCK)
            contexts[own] = self._block(frame_numbers[own], pre_emphasis, high_pass, length)
        return contexts

    def _block(
        self, frame_numbers: NDArray[np.integer], pre_emphasis: bool, high_pass: bool, length: int
    ) -> NDArray[np.float32]:
        rows, frames = self._locate(frame_numbers)
        margin = int(pre_emphasis) + HIGH_PASS_WARM_UP * int(high_pass)
        starts = frames * HOP - OVERLAP + (FRAME_LENGTH - length) // 2
        samples = self._read(rows, starts - margin, margin + length).astype(np.float32) / INT16_SCALE
        samples = high_pass_filter(samples) if high_pass else samples
        samples = pre_emphasise(samples) if pre_emphasis else samples
        contexts = samples[:, margin:]
        # The filters ring on beyond the file's end, where the signal is zero by definition.
        ends = self._lengths[rows] - starts
        for row in np.flatnonzero(ends < length):
            contexts[row, max(ends[row], 0) :] = 0
        return contexts / gains_of(self.frame_gain_indices(frame_numbers))[:, None]

    def _in_split(self, split: str) -> NDArray[np.bool_]:
        return np.array([file.split == split for file in self._files])

    def _locate(self, frame_numbers: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row of the file that holds each frame, and the frame's number within that file."""
        rows = np.searchsorted(self._first_frames, frame_numbers, side="right") - 1
        return rows, frame_numbers - self._first_frames[rows]

    def _read(self, rows: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> NDArray[np.int16]:
        """Samples [batch, length] from `starts` on, relative to each file, zeros outside of it."""
        self._verify(rows)
        samples = np.zeros((len(rows), length), "<i2")
        begins = np.clip(starts, 0, self._lengths[rows])
        ends = np.clip(starts + length, 0, self._lengths[rows])
        places = np.stack([self._offsets[rows] + begins, begins - starts, ends - starts], axis=1)
        for row, (offset, first, last) in zip(samples, places.tolist(), strict=True):
            if last > first and os.preadv(self._descriptor, [row[first:last].data], 2 * offset) != 2 * (last - first):
                raise UserError(f"{self.folder}: {DAMAGED}")
        return samples

    def _verify(self, rows: NDArray[np.int64]) -> None:
        """Raises UserError where recordings, when first used, are not those that were packed."""
        for row in np.unique(rows[~self._verified[rows]]).tolist():
            start, end, checksum = 2 * int(self._offsets[row]), 2 * int((self._offsets + self._lengths)[row]), 0
            for at in range(start, end, VERIFIED_AT_ONCE):
                checksum = zlib.crc32(os.pread(self._descriptor, min(VERIFIED_AT_ONCE, end - at), at), checksum)
            if checksum != self._checksums[row]:
                raise UserError(f"{self.folder}: the samples of {self._files[row].path} are damaged; {DELETE}")
            self._verified[row] = True


class Shuffle:
    """All audible training frames of a few packed folders in one random order; 8 bytes of memory per frame."""

    def __init__(self, folders: Sequence[PackedCorpus], generator: np.random.Generator, consecutive: int) -> None:
        self._folders = folders
        self._ends = np.cumsum([sum(map(folder.num_frames, SPLITS)) for folder in folders])
        firsts = [0, *self._ends[:-1].tolist()]
        starts = [folder.training_runs(consecutive) + first for folder, first in zip(folders, firsts, strict=True)]
        runs = generator.permutation(np.concatenate(starts))
        self._frames = (runs[:, None] + np.arange(consecutive)).reshape(-1)
        self._firsts = firsts

    def contexts(
        self, places: NDArray[np.integer], *, pre_emphasis: bool, high_pass: bool, length: int = LPC_WINDOW_LENGTH
    ) -> NDArray[np.float32]:
        numbers = self._frames.take(places, mode="wrap")
        holders = np.searchsorted(self._ends, numbers, side="right")
        contexts = np.empty((len(numbers), length), np.float32)
        for holder in np.unique(holders):
            own = holders == holder
            contexts[own] = self._folders[holder].contexts(
                numbers[own] - self._firsts[holder], pre_emphasis=pre_emphasis, high_pass=high_pass, length=length
            )
        return contexts


def recordings_of(file: SpeechFile) -> list[SpeechFile]:
    """What a recorded line of training speech stands for: the recordings of a shard, or else the file itself."""
    return [file] if file.speaker else PackedCorpus(file.path).files("train")
