"""Where the noise is: known noise in a known band, levels, pauses, and the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import report
from comparison.figures.spectrum import CENTRES, band_of_bins, spectra
from comparison.peers.baselines import write_flac
from comparison.results import Codec, Result, Store
from tests.helpers.places import CORPUS
from utilities import load_speech, to_int16

CLIPS = sorted(CORPUS.rglob("*.flac"))[:2]
Signal = NDArray[np.float64]


def tone(hertz: float, seconds: float = 2.0) -> Signal:
    return np.sin(2 * np.pi * hertz * np.arange(round(16_000 * seconds)) / 16_000)


def white(length: int, seed: int = 0) -> Signal:
    return np.random.default_rng(seed).standard_normal(length)


def test_every_bin_from_45_hz_up_belongs_to_the_octave_about_a_centre() -> None:
    bands = band_of_bins()
    assert [bands[round(centre / 31.25)] for centre in CENTRES] == list(range(len(CENTRES)))
    assert bands[0] == bands[1] == -1 and np.all(np.diff(bands) >= 0)


def test_noise_shows_in_its_own_band_at_its_ratio() -> None:
    signal = white(64_000)
    found = spectra(signal, signal + 0.1 * tone(1000, 4.0))["speech"]
    assert np.argmax(found.noise) == CENTRES.index(1000)
    expected = 10 * np.log10(0.005 / (707 / 8000))  # of the white noise, an octave has this share
    assert found.noise[CENTRES.index(1000)] == pytest.approx(expected, abs=0.5)
    assert np.all(np.delete(found.noise, CENTRES.index(1000)) < expected - 20)


def test_a_change_of_level_shows_as_such_and_as_the_noise_that_it_is() -> None:
    signal = white(32_000)
    found = spectra(signal, 0.5 * signal)["speech"]
    assert np.allclose(found.level, -6.02, atol=0.01)
    assert np.allclose(found.noise, -6.02, atol=0.01)


def test_pauses_are_told_apart_from_speech() -> None:
    loud, quiet = white(32_000), 1e-3 * white(32_000, seed=1)
    signal = np.concatenate([loud, quiet])
    decoded = np.concatenate([loud, 2 * quiet])
    found = spectra(signal, decoded)
    assert np.allclose(found["speech"].level, 0, atol=0.01)
    assert np.allclose(found["pauses"].level, 6.02, atol=0.3)
    assert np.all(np.isnan(spectra(loud, loud)["pauses"].noise))


@pytest.mark.slow
def test_the_command_draws_a_picture_per_codec_alongside_opus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is an optional extra")
    store = Store(tmp_path)
    store.describe(Codec("ours", "ours", "ours", "model"))
    store.describe(Codec("opus-audio-vbr-16", "opus-audio-vbr-16", "Opus", "peer"))
    for name, level in (("ours", 0.01), ("opus-audio-vbr-16", 0.02)):
        store.append([_noisy(tmp_path, name, level, place) for place in range(2)])
    assert report.main(["spectrum", "--output", str(tmp_path)]) == 0
    assert np.ptp(np.asarray(Image.open(tmp_path / "plots" / "spectrum_ours.png").convert("L"))) > 200
    assert report.main(["spectrum", "--output", str(tmp_path), "--codecs", "mp3"]) == 2
    assert "found none for 'mp3'; there are" in capsys.readouterr().err


def _noisy(folder: Path, name: str, level: float, place: int) -> Result:
    signal = load_speech(CLIPS[place])
    decoded = folder / "coded" / f"{name}-{place}.flac"
    write_flac(decoded, to_int16(signal + level * white(len(signal))))
    file = str(CLIPS[place].relative_to(CORPUS))
    sex, bits = "FM"[place], len(signal)
    return Result(
        name, 0, 0.0, str(CORPUS), file, f"s{place}", len(signal) / 16_000, bits, decoded=str(decoded), sex=sex
    )
