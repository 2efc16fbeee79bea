"""The manifest of a packed corpus, which names its shards and the recordings held out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nsc.errors import UserError

SHARDS = "shards.json"  # what makes a folder a packed corpus, see shards.py
PACKING_FORMAT = 2  # raised when what a packed folder holds changes
SHARDS_ENTRIES = ("gain", "hours", "speakers", "left_out", "held_out", "shards")
PACK_AGAIN = "run python -m scripts.pack_corpus again"


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
