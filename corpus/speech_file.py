"""A recording of a corpus: its file, its speaker and its split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SpeechFile:
    """One recording, who speaks in it, and the split that this speaker belongs to."""

    path: Path
    speaker: str
    split: str


def split_summary(files: Iterable[SpeechFile]) -> list[dict[str, str | int]]:
    """One row per split: its name, number of speakers and number of files."""
    files = list(files)
    rows: list[dict[str, str | int]] = []
    for split in SPLITS:
        own = [file for file in files if file.split == split]
        rows.append({"split": split, "speakers": len({file.speaker for file in own}), "files": len(own)})
    return rows
