"""Layouts in which corpora are published: the folders that hold speakers or splits, and names that tell the speaker."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Final, NamedTuple

SPLITS_BY_NAME: Final = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
# train, dev-clean, train-clean-100, train-100, clean_trainset_28spk_wav, TRAINING
SPLIT_FOLDER: Final = re.compile(
    rf"(?:(?:clean|noisy)_)?({'|'.join(SPLITS_BY_NAME)})(?:set|ing)?(?:[-_](?:clean|other|wav|\d+(?:h|spk)?))*",
    re.IGNORECASE,
)
# Folders that hold speakers, or a speaker's recordings, without being one.
CONTAINER: Final = re.compile(
    r"wavs?|wav\d+.*|flac|mp3|m4a|aac|ogg|opus|sph|audio|clips|dr[1-8]|by_book|female|male", re.IGNORECASE
)
TIMIT_FILE: Final = re.compile(r"(?:^|/)(train|test)/dr[1-8]/([^/]+)/[^/]+$", re.IGNORECASE)
# Paths that tell the speaker, whatever folder is given.
NAMED: Final = (
    re.compile(r"/(?P<speaker>\d+)/(?P<book>\d+)/(?P=speaker)[-_](?P=book)[-_]\d+\.[^/]+$"),  # LibriSpeech, MLS
    re.compile(r"/(?P<speaker>[fm]\d{1,2})_script\d[^/]*$"),  # DAPS, whose folders are rooms
    re.compile(r"/(?P<speaker>p\d{3}|s5)_\d{3}(?:_mic[12])?\.[^/]+$"),  # VCTK, VoiceBank-DEMAND
    re.compile(r"/(?P<speaker>dr[1-8]-[fm][a-z]{2,3}\d)/[^/]+$", re.IGNORECASE),  # nltk's sample of TIMIT
    re.compile(r"/sph/(?P<speaker>[^/]+)_(?:19|20)\d\d\w*\.sph$"),  # TED-LIUM
    re.compile(r"/(?P<speaker>)common_voice_[^/]+$"),  # only tables tell who speaks
)
MIXTURE: Final = re.compile(r"/\d+-\d+-\d+_\d+-\d+-\d+(?:_\d+-\d+-\d+)?\.[^/]+$")  # LibriMix: two or three speakers


class SplitFolder(NamedTuple):
    """A folder that holds a split: of which one, and where it is."""

    split: str
    path: Path


def split_folder(path: Path, data_dir: Path) -> SplitFolder | None:
    """The outermost folder below `data_dir` that names the split of a recording."""
    folders = path.relative_to(data_dir).parts[:-1]
    for depth, name in enumerate(folders, start=1):
        match = SPLIT_FOLDER.fullmatch(name)
        if match:
            return SplitFolder(SPLITS_BY_NAME[match[1].lower()], data_dir.joinpath(*folders[:depth]))
    return None


def speaker_of(path: Path, data_dir: Path) -> str:
    """The speaker of a recording, or '' where nothing tells.

    A path as in `NAMED` says so itself; otherwise it is the folder below the last container, or else the first that is
    none.
    """
    whole = path.absolute().as_posix()
    named = next((match["speaker"] for match in (pattern.search(whole) for pattern in NAMED) if match), None)
    if named is not None:
        return named
    folders = path.relative_to(data_dir).parts[:-1]
    inside = [name for above, name in itertools.pairwise(folders) if _is_container(above)]
    own = [name for name in inside[::-1] + list(folders) if not _is_container(name)]
    return own[0] if own else ""


def _is_container(name: str) -> bool:
    return bool(CONTAINER.fullmatch(name) or SPLIT_FOLDER.fullmatch(name))
