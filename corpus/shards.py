"""Corpora larger than memory: packed folders of a few hours each, of which a few are open and shuffled at a time."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from constants import FRAMES_PER_GROUP, LPC_WINDOW_LENGTH, SAMPLE_RATE
from corpus.decode import checked_file
from corpus.find import find_speech
from corpus.interface import Corpus
from corpus.packed import PackedCorpus, Shuffle
from corpus.seeds import generator_of
from corpus.shard_manifest import PACK_AGAIN, PACKING_FORMAT, SHARDS, is_packed, read_shards
from corpus.speech_file import SPLITS, SpeechFile
from nsc.errors import UserError
from utilities import atomic_write, load_speech

OPEN_SHARDS = 8  # shuffled together: 16 hours of speech, whose order takes 15 MB and whose samples 1.8 GB of page cache
RUN_LENGTHS = tuple(length for length in range(1, FRAMES_PER_GROUP + 1) if FRAMES_PER_GROUP % length == 0)
FILES_OF_A_SHARD = ("samples.int16", "index.npz")
WINDOW = 0  # key of the random numbers that shuffle a window


def open_corpus(files: Sequence[SpeechFile], data_dir: str | Path, cache_dir: str | Path, gain_mode: str) -> Corpus:
    """The speech to train on: a packed corpus as it is, any other one after it was packed into `cache_dir`.

    Args:
        files: what `find_speech` lists in `data_dir`.
        data_dir: folder of speech, or of shards.
        cache_dir: folder of packed corpora.
        gain_mode: "group" or "utterance".

    Raises:
        UserError: no usable speech, or a packed corpus that is damaged or was packed with another gain.
    """
    return ShardedCorpus(data_dir, gain_mode) if is_packed(data_dir) else PackedCorpus.pack(files, cache_dir, gain_mode)


class ShardedCorpus:
    """Packed speech in shards; memory holds a few numbers per shard, and the frame numbers of those that are open.

    Attributes:
        left_out: one line with path and reason for each file that was too short, silent or broken.
    """

    def __init__(self, data_dir: str | Path, gain_mode: str) -> None:
        folder = Path(data_dir)
        manifest = read_shards(folder)
        if manifest["gain"] != gain_mode:
            raise UserError(
                f"{folder}: expected speech packed with --gain {gain_mode}, found {manifest['gain']}; give --gain"
                f" {manifest['gain']}, or {PACK_AGAIN} into a new folder"
            )
        self.left_out: list[str] = manifest["left_out"]
        self._manifest = manifest
        self._folders = [folder / shard["name"] for shard in manifest["shards"]]
        # runs of each length that a shard holds: what a seek to a place needs to know
        self._runs = np.array([shard["runs"] for shard in manifest["shards"]], np.int64).reshape(-1, len(RUN_LENGTHS))
        for path, shard in zip(self._folders, manifest["shards"], strict=True):
            _check_sizes(path, shard["bytes"])

    def files(self, split: str) -> list[SpeechFile]:
        """The usable recordings of a split; of 'train' those of the first shards, which hold recordings at random."""
        if split == "train":
            return [file for folder in self._folders[:OPEN_SHARDS] for file in PackedCorpus(folder).files(split)]
        held_out = (SpeechFile(Path(path), speaker, own) for path, speaker, own in self._manifest["held_out"])
        return [file for file in held_out if file.split == split]

    def speakers(self) -> dict[str, int]:
        return self._manifest["speakers"]

    def twins(self) -> list[tuple[SpeechFile, SpeechFile]]:
        """None: `pack_shards` looks for them, which sees all samples."""
        return []

    def checksums(self) -> dict[str, str]:
        """CRC-32 of the index of each shard, which holds those of its recordings."""
        return {folder.name: f"{zlib.crc32((folder / 'index.npz').read_bytes()):08x}" for folder in self._folders}

    def num_training_frames(self, consecutive: int = 1) -> int:
        return int(self._frames(consecutive).sum())

    def order(self, seed_and_epoch: tuple[int, int], consecutive: int) -> WindowedShuffle:
        """Shards in random order, a few of which at a time are shuffled frame by frame, drawn from (seed, epoch)."""
        return WindowedShuffle(self._folders, self._frames(consecutive), seed_and_epoch, consecutive)

    def _frames(self, consecutive: int) -> NDArray[np.int64]:
        """Audible frames of each shard [shards] that are part of whole runs of so many."""
        return consecutive * self._runs[:, RUN_LENGTHS.index(consecutive)]


class WindowedShuffle:
    """The order of an epoch over shards: windows of neighbours in a permutation of shards, each shuffled in itself.

    Attributes:
        num_frames: frames of one pass.
    """

    def __init__(
        self, folders: Sequence[Path], frames: NDArray[np.int64], seed_and_epoch: tuple[int, int], consecutive: int
    ) -> None:
        """Shards of so many `frames` [shards] each."""
        order = generator_of(seed_and_epoch).permutation(len(folders))
        starts = range(0, len(order), OPEN_SHARDS)
        self._windows = [[folders[shard] for shard in order[start : start + OPEN_SHARDS]] for start in starts]
        self._ends = np.cumsum([frames[order[start : start + OPEN_SHARDS]].sum() for start in starts], dtype=np.int64)
        self._seed_and_epoch, self._consecutive = seed_and_epoch, consecutive
        self._open: dict[int, Shuffle] = {}  # one at most
        self.num_frames = int(frames.sum())

    def contexts(
        self, places: NDArray[np.integer], *, pre_emphasis: bool, high_pass: bool, length: int = LPC_WINDOW_LENGTH
    ) -> NDArray[np.float32]:
        places = places % self.num_frames
        windows = np.searchsorted(self._ends, places, side="right")
        contexts = np.empty((len(places), length), np.float32)
        for window in np.unique(windows).tolist():
            own = windows == window
            first = self._ends[window - 1] if window else 0
            contexts[own] = self._window(window).contexts(
                places[own] - first, pre_emphasis=pre_emphasis, high_pass=high_pass, length=length
            )
        return contexts

    def _window(self, number: int) -> Shuffle:
        if number not in self._open:
            self._open.clear()
            shards = [PackedCorpus(folder) for folder in self._windows[number]]
            for shard in shards:
                shard.read_ahead()
            generator = generator_of(self._seed_and_epoch, WINDOW, number)
            self._open[number] = Shuffle(shards, generator, self._consecutive)
        return self._open[number]


def _check_sizes(folder: Path, sizes: Iterable[int]) -> None:
    """Raises UserError where a shard's files are not those that were written."""
    for name, size in zip(FILES_OF_A_SHARD, sizes, strict=True):
        path = folder / name
        found = f"{path.stat().st_size} bytes" if path.is_file() else "none"
        if found != f"{size} bytes":
            raise UserError(f"{path}: expected {size} bytes, found {found}; delete {folder} and {PACK_AGAIN}")


@dataclass(frozen=True)
class Packing:
    """How a corpus is packed.

    data_dir: folder of speech, as `find.find_speech` takes it.
    gain: "group" or "utterance".
    shard_hours: hours of speech a shard, about.
    seed: of the speakers held out, where the corpus does not say, and of the order in which files fill the shards.
    """

    data_dir: str
    gain: str = "group"
    shard_hours: float = 2.0
    seed: int = 0


def pack_shards(packing: Packing, output: Path, processes: int = 1) -> dict[str, Any]:
    """Packs a corpus, or continues where packing was stopped: existing shards are left as they are.

    Args:
        packing: what to pack and how; its folder is written down as an absolute path.
        output: folder of the packed corpus.
        processes: number of shards that are packed at the same time.

    Returns:
        The manifest, as it was written to `output`.

    Raises:
        UserError: no usable speech, or `output` holds something else.
    """
    packing = replace(packing, data_dir=str(Path(packing.data_dir).resolve()))
    _check_output(packing, output)
    files = find_speech(packing.data_dir, seed=packing.seed)
    if not (output / SHARDS).exists():
        _write_manifest(packing, output, finished=False)
    parts = _shares([file for file in files if file.split == "train"], packing)
    held_out = [file for file in files if file.split != "train"]
    with _mapping(processes) as run:
        shards = list(run(partial(_pack_shard, output=output, gain=packing.gain), parts, "packing shards"))
        checked = list(run(partial(checked_file, gain_mode=packing.gain), held_out, "checking what is held out"))
    faults = [fault for fault, _ in checked]
    _refuse_twins(shards, output, {key: file for file, (_, key) in zip(held_out, checked, strict=True) if key})
    for unfinished in output.glob(".packed-*.part"):
        shutil.rmtree(unfinished, ignore_errors=True)
    usable = [file for file, fault in zip(held_out, faults, strict=True) if not fault]
    speakers = {split: {file.speaker for file in usable if file.split == split} for split in SPLITS}
    speakers["train"] = set().union(*(shard.speakers for shard in shards))
    return _write_manifest(
        packing,
        output,
        finished=True,
        hours=sum(shard.seconds for shard in shards) / 3600,
        speakers={split: len(names) for split, names in speakers.items()},
        left_out=[line for shard in shards for line in shard.left_out] + list(filter(None, faults)),
        held_out=[[str(file.path), file.speaker, file.split] for file in usable],
        shards=[{"name": shard.name, "bytes": shard.sizes, "runs": shard.runs} for shard in shards],
    )


def _refuse_twins(shards: Sequence[_Shard], output: Path, held_out: dict[tuple[int, int], SpeechFile]) -> None:
    """Raises UserError where a recording that is held out is one of the training recordings, too."""
    for shard in shards:
        for file, key in PackedCorpus(output / shard.name).sample_keys():
            if key in held_out:
                other = held_out[key]
                raise UserError(
                    f"expected every recording in one split, found the same samples in {file.split} ({file.path}) and"
                    f" {other.split} ({other.path}); take one of them out"
                )


def _check_output(packing: Packing, output: Path) -> None:
    """Raises UserError where a folder holds anything but what this packing has begun."""
    if is_packed(output):
        found = read_shards(output, unfinished=True)
        other = [name for name, value in asdict(packing).items() if found.get(name) != value]
        if other:
            raise UserError(
                f"{output}: expected a corpus packed with {other[0]} {getattr(packing, other[0])}, found"
                f" {found.get(other[0])}; give the same options as before, or a new --output"
            )
    elif output.exists() and (output.is_file() or any(output.iterdir())):
        raise UserError(f"{output}: expected a new or empty folder, found files; give another --output")


def _write_manifest(packing: Packing, output: Path, **entries: Any) -> dict[str, Any]:
    manifest = {"format": PACKING_FORMAT, **asdict(packing), **entries}
    output.mkdir(parents=True, exist_ok=True)
    atomic_write(output / SHARDS, json.dumps(manifest, indent=1) + "\n")
    return manifest


def _shares(files: Sequence[SpeechFile], packing: Packing) -> list[list[SpeechFile]]:
    """Files in random order, so that a shard holds speech of all kinds, divided into shards of about equal length."""
    with ThreadPoolExecutor() as pool:
        seconds = np.fromiter(pool.map(_seconds, files), np.float64, len(files))
    order = np.random.Generator(np.random.PCG64(packing.seed)).permutation(len(files))
    number = max(1, round(seconds.sum() / 3600 / packing.shard_hours))
    begins = np.cumsum(seconds[order]) - seconds[order]
    shard = np.minimum(begins * number / max(seconds.sum(), 1), number - 1).astype(int)
    bounds = np.flatnonzero(np.diff(shard)) + 1
    return [[files[place] for place in part] for part in np.split(order, bounds)]


def _seconds(file: SpeechFile) -> float:
    """Duration by the file's header; none of a file that packing will skip."""
    try:
        found = soundfile.info(os.fsencode(file.path))
        # a stream's header does not know its length
        return found.duration if found.frames < 1 << 40 else len(load_speech(file.path)) / SAMPLE_RATE
    except (soundfile.SoundFileError, OSError, UserError):
        return 0.0


class _Shard(NamedTuple):
    name: str
    sizes: list[int]  # bytes
    runs: list[int]  # audible runs of each of RUN_LENGTHS
    seconds: float
    speakers: set[str]
    left_out: list[str]


def _pack_shard(files: Sequence[SpeechFile], *, output: Path, gain: str) -> _Shard:
    corpus = PackedCorpus.pack(files, output, gain)
    return _Shard(
        corpus.folder.name,
        [(corpus.folder / name).stat().st_size for name in FILES_OF_A_SHARD],
        [len(corpus.training_runs(length)) for length in RUN_LENGTHS],
        corpus.seconds("train"),
        {file.speaker for file in corpus.files("train")},
        corpus.left_out,
    )


@contextmanager
def _mapping(processes: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """A map over a list in several processes that keeps its order and shows a progress bar."""
    # Started afresh: a process that holds TensorFlow's threads cannot be copied safely.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) if processes > 1 else nullcontext() as pool:

        def run(function: Callable[[Any], Any], entries: Sequence[Any], name: str) -> Iterator[Any]:
            results = pool.map(function, entries) if pool else map(function, entries)
            yield from tqdm(results, total=len(entries), desc=name, disable=None)

        yield run
