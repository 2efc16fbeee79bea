"""Claims on pieces of work, so that processes on machines with a shared folder do each of them once."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

HEARTBEAT = 15.0  # seconds between two signs of life of who holds a claim
LIFETIME = 90.0  # seconds after the last sign of life until another may take it
TAKEN = 75  # exit status of the command line when another holds the claim


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Whether this process holds the claim while the context lasts: it does unless another does, and lives.

    Args:
        path: file that represents the claim; the folder may be on a file system that machines share.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _take(path):
        yield False
        return
    ended = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, ended), daemon=True)
    heart.start()
    try:
        yield True
    finally:
        ended.set()
        heart.join()
        path.unlink(missing_ok=True)


def holder(path: Path) -> str:
    """Machine and process that hold a claim."""
    try:
        return path.read_text().strip() or "unknown"
    except OSError:
        return "nobody"


def _take(path: Path) -> bool:
    if _create(path):
        return True
    if _age(path) < LIFETIME:
        return False
    # only one of those who find the claim stale can rename it
    stale = path.with_name(f".{path.name}.{uuid.uuid4().hex}.stale")
    with suppress(FileNotFoundError):
        path.rename(stale)
        stale.unlink()
    return _create(path)


def _create(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{socket.gethostname()} {os.getpid()}\n")
    return True


def _age(path: Path) -> float:
    """Seconds since the last sign of life, by the clock of the file system, which all machines share."""
    now = path.with_name(f".{path.name}.{uuid.uuid4().hex}.now")
    try:
        now.touch()
        return now.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return LIFETIME  # released meanwhile
    finally:
        now.unlink(missing_ok=True)


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT):
        with suppress(FileNotFoundError):
            os.utime(path)


def main(arguments: Sequence[str]) -> int:
    """Runs a command once for all machines: under a claim, and never again after it succeeded."""
    parser = argparse.ArgumentParser(prog="python -m comparison.claims", description=main.__doc__)
    parser.add_argument("path", type=Path, help="names the work; .claim and .done lie next to it")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command and its arguments")
    options = parser.parse_args(list(arguments))
    done = options.path.with_name(f"{options.path.name}.done")
    waiting = options.path.with_name(f"{options.path.name}.claim")
    with claim(waiting) as mine:
        if done.exists():
            return 0
        if not mine:
            print(f"{options.path.name} is in work by {holder(waiting)}", file=sys.stderr)
            return TAKEN
        status = subprocess.run(options.command).returncode
        if status == 0:
            done.touch()
        return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
