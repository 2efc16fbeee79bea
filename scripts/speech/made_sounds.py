"""Adds made sounds to a corpus of speech: tones, chords, high voices, pauses of noise, DC; and more corpora, if wanted.

python -m scripts.speech.made_sounds SPEECH OUT [--add OTHER ...] [--seconds 240]

OUT then trains: its `manifest.csv` lists the recordings of SPEECH and of the other corpora where they lie, and the made
sounds, which are all for training. A codec that heard nothing but speech spends its bits on narrow lines in every
spectrum, and on the noise of a pause.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from constants import SAMPLE_RATE
from corpus.find import find_speech
from corpus.manifest import write_manifest
from corpus.speech_file import SpeechFile
from nsc.console import exit_status
from nsc.errors import UserError
from utilities import load_speech

SECONDS: Final = 6  # of a made sound
SPEECH_SECONDS: Final = 3  # at most, of the speech before a pause or over a DC
HIGHEST: Final = 7800.0  # Hz, of a partial
Signal = NDArray[np.float64]


def tones(draw: np.random.Generator) -> Signal:
    """One to four sines between 60 Hz and 7 kHz, which change every half second in half of the cases."""
    sounds = [_partials(draw, 60.0 * (7000 / 60) ** draw.random(draw.integers(1, 5))) for _ in range(2 * SECONDS)]
    return np.tile(sounds[0], 2 * SECONDS) if draw.random() < 0.5 else np.concatenate(sounds)


def chords(draw: np.random.Generator) -> Signal:
    """Decaying chords of three notes and a bass, eight harmonics each."""
    time = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    sounds = []
    for _ in range(2 * SECONDS):
        root = 110.0 * 2 ** draw.uniform(0, 2)
        notes = root * 2 ** (np.array([0, draw.choice([3, 4]), 7, -12]) / 12)
        harmonics = np.arange(1, 9)[:, None]
        each = [np.sin(2 * np.pi * note * harmonics * time) * np.exp(-time * (3 + harmonics)) for note in notes]
        sounds.append(np.sum([np.sum(note / harmonics, 0) for note in each], 0))
    return np.concatenate(sounds)


def high_voice(draw: np.random.Generator) -> Signal:
    """Harmonics under formants, the fundamental gliding between 250 and 1000 Hz."""
    time = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    pitch = draw.uniform(250, 550) + draw.uniform(0, 450) * np.sin(np.pi * draw.uniform(0.05, 0.3) * time) ** 2
    pitch *= 1 + 0.02 * np.sin(2 * np.pi * draw.uniform(4, 7) * time)
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    formants = draw.uniform([300, 900, 2300], [900, 2000, 3200])
    voice = np.zeros(len(time))
    for harmonic in range(1, int(HIGHEST / pitch.min()) + 1):
        found = harmonic * pitch
        gain = sum(1 / (1 + ((found - formant) / 140) ** 2) for formant in formants) / harmonic**0.3
        voice += np.where(found < HIGHEST, gain, 0) * np.sin(harmonic * phase)
    return voice


def pause(draw: np.random.Generator, speech: Signal) -> Signal:
    """Speech, then a pause, over a bed of white or pink noise 25 to 55 dB under the speech."""
    spectrum = np.fft.rfft(draw.normal(size=SECONDS * SAMPLE_RATE))
    spectrum /= np.sqrt(np.arange(len(spectrum)) + 1.0) ** draw.integers(0, 2)
    bed = _at(np.fft.irfft(spectrum), _rms(speech) * 10 ** (-draw.uniform(25, 55) / 20))
    return np.pad(speech, (0, len(bed) - len(speech))) + bed


def direct_current(draw: np.random.Generator, speech: Signal) -> Signal:
    """Speech over a DC of up to ten times its level."""
    return speech + draw.choice([-1, 1]) * _rms(speech) * draw.uniform(0.3, 10)


OF_NOTHING: Final[Sequence[Callable[[np.random.Generator], Signal]]] = (tones, chords, high_voice)
OF_SPEECH: Final[Sequence[Callable[[np.random.Generator, Signal], Signal]]] = (pause, pause, direct_current)


def make_sounds(folder: Path, speech: Sequence[Path], count: int, seed: int = 0) -> list[Path]:
    """Writes `count` sounds as 16-bit FLAC, of each of the six kinds in turn, at levels between -35 and -15 dB.

    Args:
        folder: for the sounds.
        speech: recordings whose beginnings are used.
        count: number of sounds.
        seed: of the random numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        turn, kind = divmod(number, len(OF_NOTHING))
        if turn % 2:
            before = load_speech(speech[int(draw.integers(len(speech)))])[: SPEECH_SECONDS * SAMPLE_RATE]
            name, sound = OF_SPEECH[kind].__name__, OF_SPEECH[kind](draw, before.astype(np.float64))
        else:
            name, sound = OF_NOTHING[kind].__name__, OF_NOTHING[kind](draw)
        level = 10 ** (draw.uniform(-35, -15) / 20)
        paths.append(folder / f"{number:04d}_{name}.flac")
        soundfile.write(paths[-1], np.clip(_at(sound, level), -1, 1), SAMPLE_RATE, subtype="PCM_16")
    return paths


def _partials(draw: np.random.Generator, frequencies: Signal) -> Signal:
    time = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    return np.sum(draw.uniform(0.2, 1, [len(frequencies), 1]) * np.sin(2 * np.pi * frequencies[:, None] * time), 0)


def _rms(signal: Signal) -> float:
    return float(np.sqrt(np.mean(signal**2)))


def _at(signal: Signal, level: float) -> Signal:
    return signal * (level / max(_rms(signal), 1e-9))


def make_corpus(speech: Path, out: Path, others: Sequence[Path], seconds: int) -> Path:
    """Writes the sounds and the manifest of all.

    Raises:
        UserError: too few seconds, or no speech to train with.
    """
    if seconds < SECONDS:
        raise UserError(f"--seconds: expected at least {SECONDS}, found {seconds}")
    files = [file for corpus in (speech, *others) for file in find_speech(corpus)]
    training = [file.path for file in files if file.split == "train"]
    if not training:
        raise UserError(f"{speech}: expected training speech, found none")
    made = make_sounds(out / "made", training, seconds // SECONDS)
    return write_manifest([*files, *(SpeechFile(path, f"made-{path.stem}", "train") for path in made)], out)


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path, help="corpus of speech")
    parser.add_argument("out", type=Path, help="folder for the sounds and the manifest of all")
    parser.add_argument("--add", type=Path, nargs="*", default=[], help="more corpora, listed with their own splits")
    parser.add_argument("--seconds", type=int, default=240, help="of made sounds (default %(default)s)")
    options = parser.parse_args()
    return exit_status(
        "made_sounds.py", lambda: print(make_corpus(options.speech, options.out, options.add, options.seconds))
    )


if __name__ == "__main__":
    sys.exit(main())
