"""A recording of a corpus: its file, its speaker and its split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SpeechFile:
    """One recording, who speaks in it, and the split that this speaker belongs to."""

    path: Path
    speaker: str
    split: str
