"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

try:
    import fcntl
except ImportError:  # Windows, where nobody removes a file that is open
    fcntl = None  # type: ignore[assignment]

PART: Final = ".part"  # suffix of what is not whole yet
LEFT_SECONDS: Final = 60.0  # age from which on an unfinished file that nobody holds counts as left by a killed process
LEFT_FOLDER_SECONDS: Final = 86_400.0  # the same for folders, which nobody can hold
MOST_NAME: Final = 100  # bytes of the file's own name in that of its unfinished one
# Windows has neither of the second two; the first is its own
FLAGS: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def written_whole(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a file alongside `path` for writing and renames it at the end, so that `path` is never half-written.

    Folders on the way are created; after an exception `path` is what it was before. A link is followed, the mode of a
    file that is there is kept. The unfinished file has a name that nobody can foresee, and is made, not opened.

    Raises:
        OSError: names `path`, whatever failed.
    """
    target = Path(os.path.realpath(path))
    with naming(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        unfinished = _unfinished_name(target)
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | FLAGS, 0o666)
    try:
        with naming(path):
            with os.fdopen(descriptor, "wb") as file:
                _hold(descriptor)
                if target.exists() and hasattr(os, "fchmod"):
                    os.fchmod(descriptor, target.stat().st_mode & 0o7777)
                yield file
                file.flush()
                os.fsync(descriptor)
            os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def atomic_write(path: str | Path, data: bytes | str) -> None:
    """Writes bytes or UTF-8 text by `written_whole`."""
    with written_whole(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Errors of the system are reported with this path: a full disk names none, a renaming the unfinished file."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno is not None and (error.filename is None or str(error.filename).endswith(PART)):
            error.filename, error.filename2 = str(path), None
        raise


def _make_parents(path: Path) -> None:
    """Makes the folders above a path; a file among them is no folder, rather than one that exists already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from None


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Gives an empty folder alongside `folder`, which must not exist, and renames it at the end.

    Another process that was faster with the same folder wins.

    Raises:
        FileExistsError: `folder` is there already.
    """
    if folder.exists():
        raise FileExistsError(errno.EEXIST, "it exists already", str(folder))
    with naming(folder):
        _make_parents(folder)
        for left in folder.parent.glob(f"{glob.escape(_prefix(folder))}*{PART}"):
            if time.time() - left.stat().st_mtime > LEFT_FOLDER_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        unfinished = _unfinished_name(folder)
        unfinished.mkdir()
    try:
        with naming(folder):
            yield unfinished
            try:
                unfinished.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _unfinished_name(target: Path) -> Path:
    return target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}{PART}")


def _prefix(target: Path) -> str:
    """The beginning of an unfinished file's name: as much of the target's as fits, whatever bytes its letters take."""
    return f".{os.fsencode(target.name)[:MOST_NAME].decode(errors='ignore')}."


def _sweep(target: Path) -> None:
    """Removes what killed processes left of this file: old, and held by nobody."""
    prefix = _prefix(target)
    with suppress(OSError):
        for entry in os.scandir(target.parent):
            if entry.name.startswith(prefix) and entry.name.endswith(PART) and entry.is_file(follow_symlinks=False):
                _remove_if_left(Path(entry.path))


def _remove_if_left(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | FLAGS)
        try:
            patience = LEFT_SECONDS if _hold(descriptor) else LEFT_FOLDER_SECONDS
            is_left = time.time() - os.fstat(descriptor).st_mtime > patience
        except BlockingIOError:  # another process writes it
            is_left = False
        finally:
            os.close(descriptor)
        if is_left:
            path.unlink()


def _hold(descriptor: int) -> bool:
    """Marks a file as in use until it is closed; False where the file system or the system knows no such marks.

    Raises:
        BlockingIOError: another process holds it.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True
