"""From a folder of speech to batches of frames: splits by speaker, packed files, frames cut on the fly."""

import hashlib
import itertools
import json
import os
import re
import weakref
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from constants import (
    FRAME_LENGTH,
    FRAMES_PER_GROUP,
    GAIN_DECAY_DB,
    GAIN_FLOOR_DB,
    GAIN_LEVELS,
    GAIN_STEP_DB,
    HOP,
    LPC_WINDOW_LENGTH,
    OVERLAP,
    SAMPLE_RATE,
)
from corpus.manifest import read_rows
from corpus.walk import audio_paths
from nsc.atomic import folder_written_whole
from nsc.errors import UserError
from utilities import (
    INT16_SCALE,
    gains_of,
    group_levels,
    load_speech,
    number_of_frames,
    pre_emphasise,
    to_int16,
)
from utilities import (
    high_pass as high_pass_filter,
)

SPLITS = ("train", "val", "test")
MANIFEST = "manifest.csv"
MANIFEST_COLUMNS = ("path", "speaker", "split")
SHARDS = "shards.json"  # what makes a folder a packed corpus, see shards.py
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
TEST_SHARE = 0.12  # of the speakers, where the corpus has no split of its own
VALIDATION_SHARE = 0.08  # of the speakers

SHORTEST_SECONDS = 0.5
SILENCE_DB = -70.0  # dB re full scale: a file whose loudest group is below holds no speech
PACKING_FORMAT = 2  # raised when what a packed folder holds changes
SHARDS_ENTRIES = ("gain", "hours", "speakers", "left_out", "held_out", "shards")
DELETE = "delete this folder and try again"
DAMAGED = f"expected packed speech, found a damaged file; {DELETE}"
VERIFIED_AT_ONCE = 1 << 22  # bytes of a recording that are checksummed at a time
PACK_AGAIN = "run python -m scripts.pack_corpus again"
FILES_AT_ONCE = 32  # decoded files held in memory while packing
HIGH_PASS_WARM_UP = 2048  # samples; the 50 Hz filter has forgotten its start by 240 dB
PREFETCHED_BATCHES = 4

TIMIT_FILE = re.compile(r"(?:^|/)(train|test)/dr[1-8]/([^/]+)/[^/]+$", re.IGNORECASE)
TIMIT_SA_FILE = re.compile(r"(?:^|/)dr[1-8]/[^/]+/sa[12]\.[^/]+$", re.IGNORECASE)
LIBRISPEECH_FILE = re.compile(r"(\d+)/(\d+)/\1-\2-\d+\.[^/]+$")
# Folders of LibriSpeech, VCTK and TIMIT that hold speakers, or a speaker's recordings, without being one.
CONTAINER = re.compile(r"wavs?|wav\d+.*|flac|audio|dr[1-8]|(train|dev|val|test)(-(clean|other)(-\d+)?)?", re.IGNORECASE)


@dataclass(frozen=True)
class SpeechFile:
    """One recording, who speaks in it, and the split that this speaker belongs to."""

    path: Path
    speaker: str
    split: str


def find_speech(
    data_dir: str | Path, *, sa_sentences: bool = True, seed: int = 0, validation_speakers: int | None = None
) -> list[SpeechFile]:
    """List the recordings of a corpus with splits that share no speaker, sorted by path.

    Args:
        data_dir: a folder with manifest.csv (path, speaker, split), a TIMIT tree, folders train, test and perhaps
            val, or a folder of audio files with a folder per speaker (LibriSpeech and VCTK as they are). Of a packed
            corpus, whose splits were chosen when it was packed, the recordings held out, and for the training speech
            its shards.
        sa_sentences: TIMIT only: keep SA1 and SA2, which all speakers read.
        seed: chooses the speakers of each split, where the corpus does not.
        validation_speakers: number of validation speakers; by default 8 % of the speakers, at least one.
            A manifest decides for itself.

    Raises:
        UserError: no speech, too few speakers, a manifest with faults, or a speaker in two splits.
    """
    data_dir = _existing_folder(data_dir)
    if is_packed(data_dir):
        files = _packed_files(data_dir)
    elif (data_dir / MANIFEST).is_file():
        files = _manifest_files(data_dir / MANIFEST)
    else:
        paths = _wanted_paths(data_dir, sa_sentences)
        own = {} if _is_whole_timit(paths) else _own_splits(paths, data_dir)
        choose = _timit_files if _is_whole_timit(paths) else _foldered_files
        files = (
            _sorted_files(own, data_dir, seed, validation_speakers)
            if own
            else choose(paths, data_dir, seed, validation_speakers)
        )
    _check_disjoint(files)
    return sorted(files, key=lambda file: file.path)


def find_test_speech(data_dir: str | Path, *, sa_sentences: bool = True) -> list[SpeechFile]:
    """List what a corpus offers for testing: its own test part, or every recording where it has no splits of its own.

    Args:
        data_dir: as in `find_speech`; recordings in no speaker's folder count as one speaker's.
        sa_sentences: TIMIT only: keep SA1 and SA2.

    Raises:
        UserError: no speech, no test part, or a manifest with faults.
    """
    data_dir = _existing_folder(data_dir)
    has_manifest = is_packed(data_dir) or (data_dir / MANIFEST).is_file()
    paths = [] if has_manifest else _wanted_paths(data_dir, sa_sentences)
    if not has_manifest and not _is_whole_timit(paths) and not _own_splits(paths, data_dir):
        return [SpeechFile(path, _speaker(path, data_dir) or data_dir.resolve().name, "test") for path in paths]
    files = [file for file in find_speech(data_dir, sa_sentences=sa_sentences) if file.split == "test"]
    if not files:
        raise UserError(
            f"{data_dir}: expected recordings to test on, found none; set split to test for some speakers in {MANIFEST}"
        )
    return files


def _existing_folder(data_dir: str | Path) -> Path:
    if not Path(data_dir).is_dir():
        raise UserError(f"{data_dir}: expected a folder of speech, found none; give --data_dir an existing folder")
    return Path(data_dir)


def is_packed(data_dir: str | Path) -> bool:
    """Whether a folder is a packed corpus, finished or not."""
    return (Path(data_dir) / SHARDS).is_file()


def read_shards(data_dir: Path, *, unfinished: bool = False) -> dict[str, Any]:
    """What the manifest of a packed corpus says, see docs/data.md.

    Args:
        data_dir: folder of the packed corpus.
        unfinished: it may be half written.

    Raises:
        UserError: it is damaged, of another version, or half written.
    """
    path = data_dir / SHARDS
    try:
        manifest = json.loads(path.read_text())
        version, finished = manifest["format"], manifest["finished"]
        missing = [name for name in SHARDS_ENTRIES if finished and name not in manifest]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path}: expected a packed corpus, found a damaged file; {PACK_AGAIN}") from None
    if version != PACKING_FORMAT:
        raise UserError(f"{path}: expected version {PACKING_FORMAT}, found {version}; {PACK_AGAIN} into a new folder")
    if missing:
        raise UserError(f"{path}: expected an entry {missing[0]}, found none; {PACK_AGAIN} into a new folder")
    if not (finished or unfinished):
        raise UserError(f"{path}: expected a packed corpus, found one half written; {PACK_AGAIN} to finish it")
    return manifest


def _packed_files(data_dir: Path) -> list[SpeechFile]:
    manifest = read_shards(data_dir)
    held_out = [SpeechFile(Path(path), speaker, split) for path, speaker, split in manifest["held_out"]]
    return held_out + [SpeechFile(data_dir / shard["name"], "", "train") for shard in manifest["shards"]]


def recordings_of(file: SpeechFile) -> list[SpeechFile]:
    """What a recorded line of training speech stands for: the recordings of a shard, or else the file itself."""
    return [file] if file.speaker else PackedCorpus(file.path).files("train")


def _wanted_paths(data_dir: Path, sa_sentences: bool) -> list[Path]:
    # The folder's own name and its parents' count: TIMIT/TRAIN/DR1 may be given itself.
    paths = _audio_paths(data_dir)
    return [path for path in paths if sa_sentences or not TIMIT_SA_FILE.search(path.absolute().as_posix())]


def _is_whole_timit(paths: Sequence[Path]) -> bool:
    matches = [TIMIT_FILE.search(path.absolute().as_posix()) for path in paths]
    return {match[1].lower() for match in matches if match} == {"train", "test"}


def _audio_paths(data_dir: Path) -> list[Path]:
    found = audio_paths(data_dir)
    if not found:
        raise UserError(
            f"{data_dir}: expected wav, flac or ogg files, found none, nor others that can be read; give --data_dir a"
            " folder of speech"
        )
    return found


def _manifest_files(manifest: Path) -> list[SpeechFile]:
    files = [_manifest_file(manifest, line, row) for line, row in read_rows(manifest, MANIFEST_COLUMNS)]
    if not files:
        raise UserError(f"{manifest}: expected one line per recording, found none; list the recordings")
    absent = [file.path for file in files if not file.path.is_file()]
    if absent:
        raise UserError(
            f"{manifest}: {len(absent)} of {len(files)} files do not exist, first {absent[0]}; fix the paths"
        )
    return files


def _manifest_file(manifest: Path, line: int, row: dict[str, str]) -> SpeechFile:
    path, speaker, split = (row[column] for column in MANIFEST_COLUMNS)
    if not path or not speaker:
        raise UserError(f"{manifest}, line {line}: expected a path and a speaker, found an empty field; fill it in")
    if split not in SPLITS:
        raise UserError(f"{manifest}, line {line}: expected split train, val or test, found '{split}'; change it")
    return SpeechFile(manifest.parent / path, speaker, split)


def _own_splits(paths: Sequence[Path], data_dir: Path) -> dict[Path, str]:
    """The split of each file of a corpus sorted into folders train, test and perhaps val; of other ones none."""
    folders = {path: path.relative_to(data_dir).parts[0].lower() for path in paths}
    splits = {path: SPLIT_FOLDERS[name] for path, name in folders.items() if name in SPLIT_FOLDERS}
    whole = len(splits) == len(paths) and {"train", "test"} <= set(splits.values())
    return splits if whole else {}


def _sorted_files(
    splits: dict[Path, str], data_dir: Path, seed: int, validation_speakers: int | None
) -> list[SpeechFile]:
    """Keep a corpus's own folders train, val and test; without val hold validation speakers out of train."""
    # recordings in no speaker's folder count as one speaker's
    inside = {path: data_dir / path.relative_to(data_dir).parts[0] for path in splits}
    speaker_of = {path: _speaker(path, inside[path]) or f"{split} speaker" for path, split in splits.items()}
    held_out: set[str] = set()
    if "val" not in splits.values():
        speakers = _shuffled({speaker_of[path] for path, split in splits.items() if split == "train"}, seed)
        count = _validation_count(len(speakers), validation_speakers)
        if count >= len(speakers):
            raise UserError(
                f"{data_dir}: expected more than {count} speakers in train, found {len(speakers)}; add a folder val, or"
                " a folder per speaker"
            )
        held_out = set(speakers[:count])
    return [
        SpeechFile(path, speaker_of[path], "val" if split == "train" and speaker_of[path] in held_out else split)
        for path, split in splits.items()
    ]


def _timit_files(paths: Sequence[Path], data_dir: Path, seed: int, validation_speakers: int | None) -> list[SpeechFile]:
    """Keep TIMIT's own TEST part and hold validation speakers out of TRAIN."""
    matches = {path: TIMIT_FILE.search(path.absolute().as_posix()) for path in paths}
    found = [(path, match[1].lower(), match[2].upper()) for path, match in matches.items() if match]
    speakers = _shuffled({speaker for _, part, speaker in found if part == "train"}, seed)
    count = _validation_count(len(speakers), validation_speakers)
    if count >= len(speakers):
        raise UserError(
            f"{data_dir}: expected more than {count} speakers in TRAIN, found {len(speakers)}; "
            "hold out fewer validation speakers or give more speech"
        )
    held_out = set(speakers[:count])
    split_of = {"test": lambda _: "test", "train": lambda speaker: "val" if speaker in held_out else "train"}
    return [SpeechFile(path, speaker, split_of[part](speaker)) for path, part, speaker in found]


def _foldered_files(
    paths: Sequence[Path], data_dir: Path, seed: int, validation_speakers: int | None
) -> list[SpeechFile]:
    """Split a folder per speaker by a seed: about 80 % of the speakers train, 8 % validate, 12 % test."""
    speaker_of = {path: _speaker(path, data_dir) for path in paths}
    loose = [path for path, speaker in speaker_of.items() if not speaker]
    if loose:
        raise UserError(
            f"{data_dir}: expected a folder per speaker, found {loose[0].name} in none; "
            f"sort the files into folders or list them in {MANIFEST} with path,speaker,split"
        )
    speakers = _shuffled(set(speaker_of.values()), seed)
    num_val = _validation_count(len(speakers), validation_speakers)
    num_test = max(1, round(TEST_SHARE * len(speakers)))
    if num_val + num_test >= len(speakers):
        raise UserError(
            f"{data_dir}: expected at least {num_val + num_test + 1} speakers for disjoint splits, found "
            f"{len(speakers)}; give a folder per speaker or a {MANIFEST} with path,speaker,split"
        )
    split_of = dict.fromkeys(speakers, "train")
    split_of |= dict.fromkeys(speakers[:num_val], "val")
    split_of |= dict.fromkeys(speakers[num_val : num_val + num_test], "test")
    return [SpeechFile(path, speaker, split_of[speaker]) for path, speaker in speaker_of.items()]


def _speaker(path: Path, data_dir: Path) -> str:
    """The folder that names the speaker: below the last container, or else the first that is none, or else ''."""
    librispeech = LIBRISPEECH_FILE.search(path.absolute().as_posix())
    if librispeech:
        return librispeech[1]
    folders = path.relative_to(data_dir).parts[:-1]
    inside = [name for above, name in itertools.pairwise(folders) if CONTAINER.fullmatch(above)]
    own = [name for name in inside[::-1] + list(folders) if not CONTAINER.fullmatch(name)]
    return own[0] if own else ""


def _shuffled(speakers: Iterable[str], seed: int) -> list[str]:
    return [str(name) for name in np.random.Generator(np.random.PCG64(seed)).permutation(sorted(speakers))]


def _validation_count(num_speakers: int, wanted: int | None) -> int:
    if wanted is not None and wanted < 1:
        raise UserError(f"expected at least 1 validation speaker, found {wanted}; ask for 1 or more")
    return wanted or max(1, round(VALIDATION_SHARE * num_speakers))


def _check_disjoint(files: Iterable[SpeechFile]) -> None:
    split_of: dict[str, str] = {}
    for file in files:
        split = split_of.setdefault(file.speaker, file.split)
        if split != file.split:
            raise UserError(
                f"expected each speaker in one split, found {file.speaker} in {split} and {file.split} "
                f"({file.path}); move all recordings of {file.speaker} into one split"
            )


def split_summary(files: Iterable[SpeechFile]) -> list[dict[str, str | int]]:
    """One row per split: its name, number of speakers and number of files."""
    files = list(files)
    rows: list[dict[str, str | int]] = []
    for split in SPLITS:
        own = [file for file in files if file.split == split]
        rows.append({"split": split, "speakers": len({file.speaker for file in own}), "files": len(own)})
    return rows


class Order(Protocol):
    """The training frames of an epoch in the order in which batches take them."""

    def contexts(
        self, places: NDArray[np.integer], *, pre_emphasis: bool, high_pass: bool, length: int = LPC_WINDOW_LENGTH
    ) -> NDArray[np.float32]:
        """Samples [batch, length] of the frames at these places [batch], as `PackedCorpus.contexts` gives them.

        Places beyond the last frame wrap round.
        """


class Corpus(Protocol):
    """What training reads: speech packed in one folder, or in shards.

    Attributes:
        left_out: one line with path and reason for each file that was too short, silent or broken.
    """

    left_out: list[str]

    def files(self, split: str) -> list[SpeechFile]:
        """The recordings of a split; of a training split that does not fit, a sample."""

    def speakers(self) -> dict[str, int]:
        """Number of speakers of each split."""

    def twins(self) -> list[tuple[SpeechFile, SpeechFile]]:
        """Pairs of recordings with the same samples in two splits."""

    def checksums(self) -> dict[str, str]:
        """Proof that the samples are the same: a checksum per recording or per shard."""

    def num_training_frames(self, consecutive: int = 1) -> int:
        """Number of audible training frames in complete runs of `length` frames."""

    def order(self, seed_and_epoch: tuple[int, int], consecutive: int) -> Order:
        """The order of an epoch, whose runs of `consecutive` frames stay together."""


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
    def pack(cls, files: Sequence[SpeechFile], cache_dir: str | Path, gain_mode: str = "group") -> "PackedCorpus":
        """Decode all files once into a folder of `cache_dir`, or open the folder if that was done before.

        Raises:
            UserError: no file holds usable speech.
        """
        folder = Path(cache_dir) / _packed_name(files, gain_mode)
        if not folder.is_dir():
            with suppress(FileExistsError):  # another process was faster
                _pack_into(folder, files, gain_mode)
        return cls(folder)

    def read_ahead(self) -> None:
        """Asks the system to fetch all samples in one go: reading them one by one in random order takes far longer."""
        if hasattr(os, "posix_fadvise"):  # macOS has none
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_WILLNEED)

    def files(self, split: str) -> list[SpeechFile]:
        """The packed files of one split."""
        return [file for file in self._files if file.split == split]

    def speakers(self) -> dict[str, int]:
        """Number of speakers of each split."""
        return {split: len({file.speaker for file in self.files(split)}) for split in SPLITS}

    def checksums(self) -> dict[str, str]:
        """CRC-32 of the samples of each recording, by its path."""
        return {str(file.path): f"{checksum:08x}" for file, checksum in zip(self._files, self._checksums, strict=True)}

    def twins(self) -> list[tuple[SpeechFile, SpeechFile]]:
        """Pairs of recordings with the same samples in two splits."""
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
        """Number of audible training frames in complete runs of `length` frames."""
        return consecutive * len(self.training_runs(consecutive))

    def training_runs(self, length: int) -> NDArray[np.integer]:
        """Numbers of the audible training frames from which runs of `length` start, ascending."""
        return self.starts_of_runs(self.frame_indices("train", audible_only=True), length)

    def order(self, seed_and_epoch: tuple[int, int], consecutive: int) -> "Shuffle":
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
        """Samples [batch, length] of the frames at these places [batch], see `Order`."""
        numbers = self._frames.take(places, mode="wrap")
        holders = np.searchsorted(self._ends, numbers, side="right")
        contexts = np.empty((len(numbers), length), np.float32)
        for holder in np.unique(holders):
            own = holders == holder
            contexts[own] = self._folders[holder].contexts(
                numbers[own] - self._firsts[holder], pre_emphasis=pre_emphasis, high_pass=high_pass, length=length
            )
        return contexts


def _packed_name(files: Iterable[SpeechFile], gain_mode: str) -> str:
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


class _Decoded(NamedTuple):
    samples: NDArray[np.int16]  # [n]
    gain_indices: NDArray[np.uint8]  # one per group


def _decode(path: Path, gain_mode: str) -> _Decoded | str:
    """The samples and gains of a file, or one line that says why it is skipped."""
    try:
        samples = to_int16(load_speech(path))
    except UserError as error:
        return str(error)
    signal = (samples / INT16_SCALE).astype(np.float32)
    fault = _unusable(signal)
    return f"{path}: {fault}" if fault else _Decoded(samples, group_levels(signal, gain_mode))


def checked_file(file: SpeechFile, gain_mode: str) -> tuple[str, tuple[int, int] | None]:
    """Why a file cannot be used for training or scoring, in one line, or nothing; and the key of its samples."""
    decoded = _decode(file.path, gain_mode)
    if isinstance(decoded, str):
        return decoded, None
    data = decoded.samples.astype("<i2").tobytes()
    return "", (zlib.crc32(data), len(decoded.samples))


def _unusable(signal: NDArray[np.float32]) -> str:
    """Why a signal cannot be used for training or scoring, or nothing."""
    seconds = len(signal) / SAMPLE_RATE
    if seconds < SHORTEST_SECONDS:
        return f"too short, {seconds:.2f} s of at least {SHORTEST_SECONDS} s"
    loudest = GAIN_FLOOR_DB + GAIN_STEP_DB * group_levels(signal - signal.mean()).max()
    return f"silent, at most {loudest:.0f} dB re full scale" if loudest < SILENCE_DB else ""


def _pack_into(folder: Path, files: Sequence[SpeechFile], gain_mode: str) -> None:
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


def _decode_all(files: Sequence[SpeechFile], gain_mode: str) -> Iterator[_Decoded | str]:
    """Decode in two threads, in order, holding few files at a time."""
    with (
        ThreadPoolExecutor(2) as pool,
        tqdm(total=len(files), desc="packing speech", unit="file", disable=None) as progress,
    ):
        for first in range(0, len(files), FILES_AT_ONCE):
            paths = [file.path for file in files[first : first + FILES_AT_ONCE]]
            for decoded in pool.map(lambda path: _decode(path, gain_mode), paths):
                progress.update()
                yield decoded


def steps_in_epoch(corpus: Corpus, batch_size: int) -> int:
    """Whole batches of audible training frames in one pass over the corpus, at least one."""
    return max(1, corpus.num_training_frames() // batch_size)


def training_batches(
    corpus: Corpus,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    first_step: int,
    num_steps: int,
    pre_emphasis: bool,
    high_pass: bool,
    gain_augmentation_db: float = 0.0,
    consecutive: int = 1,
    length: int = LPC_WINDOW_LENGTH,
    share: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Steps `first_step` to `num_steps` - 1 of an epoch: to resume is to start at a later step.

    The order is drawn from (seed, epoch) alone; step s takes its places s * batch_size and on, wrapping round when
    the split has fewer frames than the epoch asks for. Digital silence is skipped.

    Args:
        corpus: packed speech; its split 'train' is used.
        batch_size: frames in a batch.
        seed: seed of the order and of the gains.
        epoch: number of the epoch, from 0.
        first_step: first step to give, from 0.
        num_steps: steps of the whole epoch, `steps_in_epoch` for one pass over the corpus.
        pre_emphasis: see `PackedCorpus.contexts`.
        high_pass: see `PackedCorpus.contexts`.
        gain_augmentation_db: frames are scaled by random gains within +- this many dB.
        consecutive: a batch consists of runs of so many neighbouring frames, which divides 16: each has one gain.
        length: samples centred on each frame: with long ones, frames only say where stretches of speech lie.
        share: number of this reader, from 0, and number of readers that divide each batch among them; all shares
            together are the batch that one reader would get.

    Returns:
        Dataset of float32 [batch_size / readers, length].

    Raises:
        UserError: the training split holds no audible frame.
    """
    if not corpus.num_training_frames(consecutive):
        raise UserError("expected training speech, found no audible frame in split train; give more training speech")
    reader, readers = share
    size = batch_size // readers
    own = slice(reader * size, (reader + 1) * size)

    def batch(order: Order, step: int) -> NDArray[np.float32]:
        places = np.arange(step * batch_size, (step + 1) * batch_size)[own]
        contexts = order.contexts(places, pre_emphasis=pre_emphasis, high_pass=high_pass, length=length)
        shape = (batch_size // consecutive, 1)
        level = generator_of((seed, epoch), step).uniform(-gain_augmentation_db, gain_augmentation_db, shape)
        return contexts * (10 ** (level.repeat(consecutive, axis=0)[own] / 20)).astype(np.float32)

    def batches() -> Iterator[NDArray[np.float32]]:
        # made here, since TensorFlow keeps what it calls for ever, and what that holds
        order = corpus.order((seed, epoch), consecutive)
        yield from (batch(order, step) for step in range(first_step, num_steps))

    signature = tf.TensorSpec((size, length), tf.float32)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.prefetch(PREFETCHED_BATCHES)


@contextmanager
def naming_faults() -> Iterator[None]:
    """Turn errors of batches, which TensorFlow wraps in its own, back into UserErrors with their message.

    Raises:
        UserError: packed speech is damaged.
    """
    try:
        yield
    except tf.errors.UnknownError as error:
        words = re.search(r"UserError: (.*)", error.message)
        if not words:
            raise
        raise UserError(words[1]) from None


def generator_of(seed_and_epoch: tuple[int, int], *key: int) -> np.random.Generator:
    """Random numbers that (seed, epoch) and a key within the epoch decide: none for an order, the step for gains."""
    # A named bit generator draws the same everywhere; the spawn key keeps steps off the order's stream.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed_and_epoch, spawn_key=key)))
