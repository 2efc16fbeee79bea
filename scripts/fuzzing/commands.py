"""Command lines of a grammar, given to the command, which has to do what they say or to end in one line."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import numpy as np
import soundfile

import nsc
from nsc import cli
from scripts.fuzzing.choice import Generator, one_of

COMMANDS = (
    *("encode", "decode", "info", "truncate", "regroup", "models", "demo", "call"),
    *("", "", "", "", "sing", "--version", "--", "-"),
)
WAITING = {"demo": "--port", "call": "--listen"}  # commands that wait, unless their port is none
FLAGS = (
    *(
        "--model",
        "--layers",
        "--kbps",
        "--quality",
        "--cbr",
        "--frames_per_group",
        "--refresh",
        "--spans",
        "--force",
        "--loss",
    ),
    *("--burst", "--seed", "--bitrate", "-q", "-h", "--", "--kbps=", "--layers=", "--=", "---", "-", "--no_browser"),
)
VALUES = (
    *("", "0", "1", "2", "16", "12", "-1", "1.5", "1e308", "-1e308", "nan", "inf", "-inf", "1e-320", "9" * 5000),
    *(
        "cq",
        "cq-9k",
        "cq-scalable",
        "cq-24k",
        "0123abcd",
        "models",
        "x",
        "\0",
        "\u0661",
        "²",
        "None",
        "true",
        "-",
        "--",
    ),
)
NAMES = (
    *("speech.wav", "speech.nsc", "scalable.nsc", "cut.nsc", "text.wav", "text.nsc", "empty.wav", "empty.nsc"),
    *("out.nsc", "out.wav", "out.flac", "out.ogg", "out.opus", "out", "folder", "folder/", ".", "..", "/", "", "-dash"),
    *(
        "none.wav",
        "none/x.nsc",
        "speech.wav/x.nsc",
        "x" * 300 + ".nsc",
        "a\0b.wav",
        "a\nb.nsc",
        "\x1b[31m.wav",
        "\udce9",
    ),
    *("\udce9", "loud.wav", "nan.wav", "NUL", "*.wav", "~", "$HOME", "%s%n", "{0}", "http://[/x", "é" * 130 + ".nsc"),
)
PAIRS = (
    *(["speech.wav", f"out{suffix}"] for suffix in (".nsc", ".nsc", ".opus", "")),
    *(["speech.nsc", f"out{suffix}"] for suffix in (".wav", ".flac", ".ogg", ".mp3", ".nsc")),
    *([name] for name in ("speech.nsc", "scalable.nsc", "cut.nsc")),
)
MOST_NAMES = 3


class Commands:
    """Runs command lines in a folder of their own."""

    def __init__(self, place: Path) -> None:
        """Takes an empty folder, in which it puts a few files."""
        self._place = place
        speech = np.random.default_rng(0).normal(0, 0.1, 4000).clip(-1, 1)
        soundfile.write(place / "speech.wav", speech, nsc.SAMPLE_RATE)
        soundfile.write(place / "loud.wav", np.full(100, 9000.0), nsc.SAMPLE_RATE, "FLOAT")
        soundfile.write(place / "nan.wav", np.full(100, np.nan), nsc.SAMPLE_RATE, "FLOAT")
        data = nsc.encode(speech, "cq")
        contents = {"speech.nsc": data, "cut.nsc": data[: len(data) // 2], "text.wav": b"text", "text.nsc": b"text"}
        contents |= {"scalable.nsc": nsc.encode(speech, "cq-scalable"), "empty.wav": b"", "empty.nsc": b""}
        for name, content in contents.items():
            (place / name).write_bytes(content)
        (place / "folder").mkdir()
        self._kept = {path.name for path in place.iterdir()}

    def words(self, generator: Generator) -> list[str]:
        """A command line; every other one has names that fit."""
        words = [one_of(COMMANDS, generator)]
        if generator.integers(2):
            words += one_of(PAIRS, generator)
        else:
            words += [one_of(NAMES, generator) for _ in range(int(generator.integers(MOST_NAMES + 1)))]
        for _ in range(int(generator.integers(4))):
            flag, value = one_of(FLAGS, generator), one_of(VALUES, generator)
            added = [flag + value] if flag.endswith("=") else [flag, value] if generator.integers(4) else [flag]
            at = int(generator.integers(1, len(words) + 1))
            words[at:at] = added
        if words[0] in WAITING:
            words += [WAITING[words[0]], "-1"]
        return words[1:] if not words[0] else words

    def outcome(self, generator: Generator) -> str:
        """How a command line ends."""
        words, before = self.words(generator), os.getcwd()
        told, printed = io.StringIO(), io.TextIOWrapper(io.BytesIO(), errors="backslashreplace", write_through=True)
        os.chdir(self._place)
        try:
            with contextlib.redirect_stderr(told), contextlib.redirect_stdout(printed):
                status = _status(words)
        finally:
            os.chdir(before)
        written = self._tidy()
        lines = told.getvalue().splitlines()
        if (
            status not in (0, 2)
            or (status == 2 and not lines[-1].startswith("nsc: "))
            or "Traceback" in told.getvalue()
        ):
            raise AssertionError(f"{words!r}: status {status}, {told.getvalue()!r}")
        if not all(line.isprintable() for line in lines):
            raise AssertionError(f"{words!r}: {told.getvalue()!r}")
        return "one line" if status else "written" if written else "done"

    def _tidy(self) -> bool:
        """Removes what was written; whether there was anything."""
        written = False
        for path in self._place.rglob("*"):
            if path.relative_to(self._place).parts[0] not in self._kept or path.name.endswith(".part"):
                if path.name.endswith(".part"):
                    raise AssertionError(f"{path} is left")
                written = True
                if path.is_file():
                    path.unlink()
        return written


def _status(words: list[str]) -> int:
    try:
        return cli.main(words)
    except SystemExit as stop:  # --help, --version
        return int(stop.code or 0)
