"""Listening tests after ITU-R BS.1534 (MUSHRA): sounds with anchors at one level, and their export to webMUSHRA."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import soundfile
from numpy.typing import NDArray

from comparison.figures.plots import INSTALL
from comparison.numbers.points import Point, points_of
from comparison.page.choice import Column, choose_columns, choose_files
from comparison.results import Result, Store
from constants import SAMPLE_RATE
from nsc.errors import UserError
from utilities import atomic_write, load_speech

PARTS = Path(__file__).parent
TEST_ID = "speech_codecs"
REFERENCE = "reference"  # webMUSHRA's name of the hidden reference, which it adds itself
ANCHORS = {"anchor35": 3500.0, "anchor70": 7000.0}  # Hz
ANCHOR_TAPS = 255  # of the low-pass: 60 dB within 230 Hz
PLAYED_RATE = 48_000  # Hz: what browsers play at, so that none of them converts
MOST_CODECS = 9  # twelve signals a trial with reference and anchors, BS.1534-3 section 5.2
HEADROOM = 0.98  # of full scale

INSTRUCTIONS = (
    "Rate the quality of each sound compared with the reference, from 0 (bad) to 100 (no difference). One of the "
    "sounds is the reference itself: give it 100. Headphones, please."
)

Signal = NDArray[np.float64]


def export(store: Store, patterns: Sequence[str], num_trials: int, folder: Path) -> Path:
    """Writes configs/speech_codecs.yaml and its sounds in the layout of webMUSHRA, to be copied into its folder.

    Every sound has the level of its reference. The hidden reference is webMUSHRA's own; anchors of 3.5 and 7 kHz are
    among the sounds.

    Args:
        store: results with decoded files.
        patterns: codecs to be rated, by label or name.
        num_trials: files.
        folder: gets the test.

    Returns:
        The YAML file.

    Raises:
        UserError: nothing matches a pattern, or there are more than MOST_CODECS.
    """
    columns = [column for column in choose_columns(points_of(store.codecs(), store.all()), patterns) if column.point]
    if len(columns) > MOST_CODECS:
        raise UserError(f"expected at most {MOST_CODECS} codecs in a trial, found {len(columns)}; name fewer")
    trials = [
        _export_trial(number, name, columns, folder)
        for number, name in enumerate(choose_files(columns, num_trials), start=1)
    ]
    path = folder / "configs" / f"{TEST_ID}.yaml"
    atomic_write(path, _yaml(_configuration(trials)))
    return path


def _yaml(configuration: Mapping[str, object]) -> str:
    """YAML with a page a line, each in JSON: webMUSHRA's parser takes YAML's list in a list for text."""
    lines = []
    for name, value in configuration.items():
        if isinstance(value, list):
            lines += [f"{name}:", *(f"  - {json.dumps(each, ensure_ascii=False)}" for each in value)]
        else:
            lines.append(f"{name}: {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _configuration(trials: Sequence[dict[str, object]]) -> dict[str, object]:
    first = trials[0]
    welcome = {"type": "generic", "id": "welcome", "name": "Welcome", "content": INSTRUCTIONS}
    volume = {
        "type": "volume",
        "id": "volume",
        "name": "Volume",
        "content": "Choose a comfortable volume and keep it from here on.",
        "stimulus": first["reference"],
        "defaultVolume": 0.5,
    }
    listener = {"type": "text", "label": "Listener", "name": "listener"}
    finish = {
        "type": "finish",
        "name": "Thank you",
        "content": "Your name or a number, then send.",
        "showResults": False,
        "writeResults": True,
        "questionnaire": [listener],
    }
    return {
        "testname": "Speech codecs",
        "testId": TEST_ID,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": True,
        "remoteService": "service/write.php",
        "pages": [welcome, volume, ["random", *trials], finish],
    }


def _export_trial(number: int, name: str, columns: Sequence[Column], folder: Path) -> dict[str, object]:
    trial = f"trial_{number}"
    sounds = sounds_of(columns, name)
    place = f"configs/resources/{TEST_ID}/{trial}"
    for sound, signal in sounds.items():
        atomic_write(folder / place / f"{sound}.wav", _wav(signal))
    return {
        "type": "mushra",
        "id": trial,
        "name": f"Sound {number}",
        "content": INSTRUCTIONS,
        "showWaveform": False,
        "enableLooping": True,
        "reference": f"{place}/{REFERENCE}.wav",
        "createAnchor35": False,
        "createAnchor70": False,
        "stimuli": {sound: f"{place}/{sound}.wav" for sound in sounds if sound != REFERENCE},
    }


def sounds_of(columns: Sequence[Column], file: str, *, anchors: bool = True) -> dict[str, Signal]:
    """The sounds of a trial, all at one level: the reference, anchors where wanted, and what each codec made of it."""
    results = sound_names([column.point for column in columns if column.point], file)
    reference = load_speech(Path(next(iter(results.values())).corpus) / file).astype(np.float64)
    lowered = {anchor: low_passed(reference, cutoff) for anchor, cutoff in ANCHORS.items()} if anchors else {}
    decoded = {codec: load_speech(result.decoded).astype(np.float64) for codec, result in results.items()}
    return level_matched({REFERENCE: reference} | lowered | decoded)


def sound_names(points: Sequence[Point], file: str) -> dict[str, Result]:
    """What each codec made of a file, under names that may be those of files."""
    return {_identifier(point.label): next(r for r in point.results if r.file == file) for point in points}


def _identifier(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", label).strip("-")


def low_passed(signal: Signal, cutoff: float) -> Signal:
    """A signal [n] of 16 kHz without what lies above a frequency in Hz, without delay."""
    taps = scipy.signal.firwin(ANCHOR_TAPS, cutoff, fs=SAMPLE_RATE, window=("kaiser", 6.0))
    return scipy.signal.fftconvolve(signal, taps, "same")


def level_matched(sounds: dict[str, Signal]) -> dict[str, Signal]:
    """Signals at the RMS of the reference, all of them made softer alike where one would clip."""
    level = _rms(sounds[REFERENCE])
    matched = {name: signal * (level / _rms(signal) if _rms(signal) else 1) for name, signal in sounds.items()}
    peak = max(float(np.max(np.abs(signal))) for signal in matched.values())
    return {name: signal * min(1, HEADROOM / peak) if peak else signal for name, signal in matched.items()}


def _rms(signal: Signal) -> float:
    return float(np.sqrt(np.mean(signal**2)))


def flac_text(signal: Signal | NDArray[np.float32]) -> str:
    """A signal as FLAC in base64, for scripts: a page opened from disk may load nothing else."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(signal, -1, 1), SAMPLE_RATE, subtype="PCM_16", format="FLAC")
    return base64.b64encode(buffer.getvalue()).decode()


def templates() -> Any:
    """The pages' templates.

    Raises:
        UserError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise UserError(f"expected jinja2, found none: {INSTALL}") from None
    return jinja2.Environment(loader=jinja2.FileSystemLoader(PARTS), autoescape=True, undefined=jinja2.StrictUndefined)


def _wav(signal: Signal) -> bytes:
    buffer = io.BytesIO()
    played = scipy.signal.resample_poly(signal, PLAYED_RATE // SAMPLE_RATE, 1)
    soundfile.write(buffer, np.clip(played, -1, 1), PLAYED_RATE, subtype="PCM_16", format="WAV")
    return buffer.getvalue()
