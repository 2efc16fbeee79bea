"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a file alongside `path` for writing and renames it at the end, so that `path` is never half-written.

    Folders on the way are created; after an exception `path` is what it was before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def atomic_write(path: str | Path, data: bytes | str) -> None:
    """Writes bytes or UTF-8 text by `written_whole`."""
    with written_whole(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """Gives an empty folder alongside `path`, which must not exist, and renames it at the end.

    Raises:
        FileExistsError: `path` is there already.
    """
    if path.exists():
        raise FileExistsError(17, "it exists already", str(path))
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
