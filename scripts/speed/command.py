"""Cost of a call of the command `nsc`, imports included: wall-clock seconds and peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Call(NamedTuple):
    """A call of the command: the least seconds of all turns and the most megabytes."""

    name: str
    seconds: float
    megabytes: float


def calls_of(speech: Path, scratch: Path, turns: int) -> list[Call]:
    """Coding, decoding and describing a speech file, each in a process of its own."""
    coded = str(scratch / "command.nsc")
    commands = {
        "encode": ["encode", str(speech), coded, "--force"],
        "decode": ["decode", coded, str(scratch / "command.wav"), "--force"],
        "info": ["info", coded],
    }
    return [_best(name, words, turns) for name, words in commands.items()]


def _best(name: str, words: Sequence[str], turns: int) -> Call:
    found = [_call(words) for _ in range(turns)]
    return Call(name, min(seconds for seconds, _ in found), max(megabytes for _, megabytes in found))


def _call(words: Sequence[str]) -> tuple[float, float]:
    """Seconds on the clock and peak megabytes of one call."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "nsc", *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"nsc {' '.join(words)} ended with status {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - begun, unit * usage.ru_maxrss / 1e6
