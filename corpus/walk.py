"""Search for audio files below a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nsc.recording import FFMPEG_SUFFIXES, SNDFILE_SUFFIXES

SUFFIXES: Final = tuple(dict.fromkeys([*SNDFILE_SUFFIXES, *FFMPEG_SUFFIXES]))
# Leftovers of macOS, Synology and Windows; names that begin with a dot are hidden anyway.
LEFTOVERS: Final = frozenset(
    ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found")
)


def audio_paths(folder: Path) -> list[Path]:
    """All audio files below a folder, sorted; of SA1.WAV and its converted copy SA1.WAV.wav only the copy."""
    chosen: dict[str, Path] = {}
    for inside, names in _folders(folder):
        for name in sorted(names, key=len):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                utterance = re.sub(r"(\.wav)+$", "", name, flags=re.IGNORECASE)
                chosen[os.path.join(inside, utterance)] = inside / name
    return sorted(chosen.values())


def _folders(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder once, whatever links lead to it, with the names of its files; real folders before links."""
    seen: set[tuple[int, int]] = set()
    for inside, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(inside)
        if (status.st_dev, status.st_ino) in seen:
            folders[:] = []
            continue
        seen.add((status.st_dev, status.st_ino))
        wanted = [name for name in folders if not name.startswith(".") and name.lower() not in LEFTOVERS]
        folders[:] = sorted(wanted, key=lambda name: (os.path.islink(os.path.join(inside, name)), name))
        yield Path(inside), names
