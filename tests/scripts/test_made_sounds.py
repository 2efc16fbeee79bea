"""Made sounds for training: what they are, and the manifest that lists them beside the speech."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from constants import SAMPLE_RATE
from corpus.find import find_speech
from nsc.errors import UserError
from scripts.speech.made_sounds import SECONDS, Signal, chords, high_voice, make_corpus, make_sounds, pause, tones
from utilities import load_speech

SPEECH = 0.1 * np.sin(np.arange(SAMPLE_RATE) / 5)


@pytest.mark.parametrize("make", [tones, chords, high_voice])
def test_sounds_without_speech_have_their_length_and_nothing_above_8_khz(
    make: Callable[[np.random.Generator], Signal],
) -> None:
    sound = make(np.random.default_rng(0))
    assert len(sound) == SECONDS * SAMPLE_RATE
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    assert power[SECONDS * 7900 :].sum() < 1e-3 * power.sum()


def test_a_pause_holds_noise_25_to_55_db_under_the_speech() -> None:
    sound = pause(np.random.default_rng(0), SPEECH)
    under = 20 * np.log10(np.std(SPEECH) / np.std(sound[len(SPEECH) :]))
    assert 24 < under < 56


def test_the_corpus_trains_on_made_sounds_and_keeps_the_splits_of_speech(speech_folder: Path, tmp_path: Path) -> None:
    make_corpus(speech_folder, tmp_path, [], seconds=6 * SECONDS)
    before, after = find_speech(speech_folder), find_speech(tmp_path)
    made = [file for file in after if file.speaker.startswith("made-")]
    assert len(made) == 6 and {file.split for file in made} == {"train"}
    assert {(file.path.name, file.split) for file in after if file not in made} == {
        (file.path.name, file.split) for file in before
    }


def test_the_same_seed_makes_the_same_sounds(speech_folder: Path, tmp_path: Path) -> None:
    speech = [file.path for file in find_speech(speech_folder)]
    pairs = zip(*(make_sounds(tmp_path / name, speech, 6) for name in "ab"), strict=True)
    assert all(np.array_equal(load_speech(one), load_speech(other)) for one, other in pairs)


def test_too_few_seconds_are_one_line(speech_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--seconds: expected at least 6, found 5"):
        make_corpus(speech_folder, tmp_path, [], seconds=5)
