"""A blind listening test as a folder that opens from disk: MUSHRA after ITU-R BS.1534, or ABX; answers are a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from comparison.numbers.points import points_of
from comparison.page.choice import Column, choose_columns, choose_files
from comparison.page.listening_test import INSTRUCTIONS, MOST_CODECS, PARTS, REFERENCE, flac_text, sounds_of, templates
from comparison.results import Store
from nsc.errors import UserError
from utilities import atomic_write

MUSHRA, ABX = METHODS = ("mushra", "abx")
ABX_INSTRUCTIONS: Final = (
    "A is the original, B is a coded version, X is one of the two. Listen as often as you like, then say which one X "
    "is. Guess where you hear no difference."
)


def write_blind_test(store: Store, patterns: Sequence[str], num_trials: int, folder: Path, method: str) -> Path:
    """Writes index.html and its sounds; the first of the trials is practice.

    Args:
        store: results with decoded files.
        patterns: codecs to be heard, by label or name.
        num_trials: files, practice among them.
        folder: gets the test.
        method: mushra or abx, in which each file is heard once with each codec.

    Returns:
        The page.

    Raises:
        UserError: nothing matches a pattern, there are too many codecs, or too few files.
    """
    columns = [column for column in choose_columns(points_of(store.codecs(), store.all()), patterns) if column.point]
    if len(columns) > MOST_CODECS:
        raise UserError(f"expected at most {MOST_CODECS} codecs in a trial, found {len(columns)}; name fewer")
    files = choose_files(columns, num_trials)
    if len(files) < 2:
        raise UserError(f"expected two files, one of them for practice, found {len(files)}; measure more")
    trials = [_trial(number, name, columns, folder, method) for number, name in enumerate(files)]
    listed = [each for trial in trials for each in trial]
    identity = hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:8]
    test = {"id": identity, "method": method, "trials": listed}
    page = (
        templates()
        .get_template("blind.html.jinja")
        .render(
            title="Listening test",
            instructions=INSTRUCTIONS if method == MUSHRA else ABX_INSTRUCTIONS,
            training="trial",
            style=(PARTS / "style.css").read_text(),
            script=(PARTS / "blind.js").read_text(),
            test=json.dumps(test).replace("<", "\\u003c"),
            sounds=[f"sounds/{number}.js" for number in range(len(files))],
        )
    )
    atomic_write(folder / "index.html", page)
    return folder / "index.html"


def _trial(number: int, name: str, columns: Sequence[Column], folder: Path, method: str) -> list[dict[str, Any]]:
    """The trials of a file, whose sounds are written on the way."""
    sounds, trial = sounds_of(columns, name, anchors=method == MUSHRA), f"file-{number}"
    coded = {each: flac_text(signal) for each, signal in sounds.items()}
    atomic_write(folder / "sounds" / f"{number}.js", f"sounds[{json.dumps(trial)}] = {json.dumps(coded)};\n")
    if method == MUSHRA:
        return [{"id": trial, "stimuli": list(sounds)}]
    return [{"id": trial, "codec": codec} for codec in sounds if codec != REFERENCE]
