"""A recording of a corpus: its file, its speaker and its split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

SPLITS = ("train", "val", "test")
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class SpeechFile:
    """One recording, who speaks in it, and the split that this speaker belongs to."""

    path: Path
    speaker: str
    split: str


def spread(files: Sequence[Entry], count: int) -> list[Entry]:
    """At most so many files, evenly spread; all for 0."""
    count = min(count or len(files), len(files))
    return [files[place * len(files) // count] for place in range(count)]
