"""Judges that look at time and level, against computations by other ways, and judges that need extra packages."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray

from measures import measures
from measures.measures import octave_levels, score, time_structure
from measures.nisqa_mos import FOLDER_VARIABLE
from tests.helpers.places import ROOT

Signal = NDArray[np.float64]
EXTRA = ("distill_mos", "warpq", "nisqa", "plcmos")


@pytest.fixture
def speech(real_speech: NDArray[np.float32]) -> Signal:
    return real_speech.astype(np.float64)


def band_energy(signal: Signal, low: float, high: float, start: int, window: int) -> float:
    """Of one window, by a filter that multiplies the spectrum of the padded signal."""
    size = 2 * len(signal)
    frequencies = np.fft.rfftfreq(size, 1 / 16_000)
    numerator, denominator = scipy.signal.butter(4, (low, high), "bandpass", fs=16_000)
    _, response = scipy.signal.freqz(numerator, denominator, worN=frequencies, fs=16_000)
    filtered = np.fft.irfft(np.fft.rfft(signal, size) * np.abs(response) ** 2)
    return float(np.mean(filtered[start : start + window] ** 2))


def test_the_time_structure_is_what_filtering_in_the_spectrum_gives() -> None:
    random = np.random.default_rng(2)
    reference = np.zeros(9 * 512)
    reference[1024:4096] = random.standard_normal(3072)  # silence at both ends: filters need not agree on edges
    decoded = reference * (1 + 0.8 * np.sin(np.arange(len(reference)) / 40))
    found = time_structure(reference, decoded)
    for low, high in ((1000, 2500), (4500, 7900)):
        energies = [
            [band_energy(each, low, high, start, 512) for start in range(0, len(reference), 512)]
            for each in (reference, decoded)
        ]
        floor = np.percentile(energies[0], 5) + 1e-9
        speech = [place for place in range(9) if np.mean(reference[512 * place : 512 * (place + 1)] ** 2) > 0]
        errors = [10 * math.log10((energies[1][at] + floor) / (energies[0][at] + floor)) for at in speech]
        assert found[f"rms_32ms_{low}"] == pytest.approx(math.sqrt(sum(each**2 for each in errors) / 6), abs=0.02)
        assert found[f"level_{low}"] == pytest.approx(sum(errors) / 6, abs=0.02)


def test_a_louder_signal_has_its_level_as_the_error_of_every_band_and_octave() -> None:
    noise = np.random.default_rng(1).standard_normal(32_000)
    noise[:3200] *= 1e-6  # a pause: without one, the floor is a twentieth of the speech
    louder = {**time_structure(noise, 2 * noise), **octave_levels(noise, 2 * noise)}
    assert np.allclose(list(louder.values()), 20 * math.log10(2), atol=0.02)
    softer = octave_levels(noise, noise / 2)
    assert np.allclose(list(softer.values()), -20 * math.log10(2), atol=0.02)


def test_equal_signals_have_no_errors(speech: Signal) -> None:
    assert set({**time_structure(speech, speech), **octave_levels(speech, speech)}.values()) == {0.0}


def test_a_tone_that_is_lost_is_missed_in_its_octave_alone(speech: Signal) -> None:
    noise = np.random.default_rng(0).standard_normal(len(speech))
    noise[:3200] *= 1e-6
    tone = 10 * np.sin(2 * np.pi * 500 * np.arange(len(speech)) / 16_000)
    tone[:3200] = 0
    levels = octave_levels(noise + tone, noise)
    assert min(levels, key=lambda name: levels[name]) == "octave_500"
    assert levels["octave_500"] < -15
    assert all(abs(levels[f"octave_{centre}"]) < 1 for centre in (125, 2000, 4000, 8000))


def test_noise_smeared_within_32_ms_shows_in_windows_of_4_ms_only() -> None:
    random = np.random.default_rng(0)
    pulses = np.zeros(32_000)
    pulses[::512] = 1  # one a long window
    decoded = random.standard_normal(32_000) * math.sqrt(1 / 512)
    found = time_structure(pulses, decoded)
    assert found["rms_4ms"] > 4 * found["rms_32ms"]


def test_the_time_structure_of_too_little_speech_has_a_reason(speech: Signal) -> None:
    values, failures = score(speech[4000:4500], speech[4000:4500], ["time_structure"])
    assert all(map(math.isnan, values.values()))
    assert set(failures.values()) == {"the time structure needs 32 ms"}
    assert set(score(0 * speech, speech, ["octave_levels"]).failures.values()) == {"the reference is silent"}


def test_the_definition_gives_the_same_numbers(speech: Signal) -> None:
    path = ROOT.parent / "shared" / "jury" / "time_structure.py"
    if not path.is_file():
        pytest.skip("the definition is not here")
    spec = importlib.util.spec_from_file_location("definition", path)
    assert spec and spec.loader
    definition = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(definition)
    decoded = 0.7 * speech + 0.02 * np.random.default_rng(0).standard_normal(len(speech))
    whole = len(speech) // 512 * 512
    expected = definition.time_structure(speech, decoded)
    found = time_structure(speech[:whole], decoded[:whole])
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("name", EXTRA)
def test_a_judge_of_an_extra_ranks_noise_or_says_what_it_needs(name: str, speech: Signal) -> None:
    need = measures.missing([name]).get(name)
    noise = np.random.default_rng(0).standard_normal(len(speech)) * speech.std()
    first, *_ = measures.ALL_MEASURES[name].columns
    scores = [score(speech, speech + noise * share, [name]) for share in (0.03, 0.3)]
    if need:
        assert all(math.isnan(each.values[first]) and each.failures[first] == need for each in scores)
        assert "pip install" in need or FOLDER_VARIABLE in need
        pytest.skip(f"without {name}, which needs {need}")
    assert scores[0].failures == {}
    assert scores[0].values[first] > scores[1].values[first]


def test_nisqa_names_what_its_folder_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert "set NISQA_DIR to a checkout" in measures.missing(["nisqa"])["nisqa"]
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert "has no nisqa/NISQA_lib.py and no weights/nisqa.tar" in measures.missing(["nisqa"])["nisqa"]


def test_the_jury_has_a_column_of_its_own_for_every_value() -> None:
    columns = measures.columns_of(list(measures.ALL_MEASURES))
    assert len(set(columns)) == len(columns)
    assert set(measures.JURY) == set(measures.ALL_MEASURES) - {"plcmos"}
