"""What is no speech, or has been coded before, keeps its level: high voices, tones, clicks, DC, generations."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
from nsc.coding.interface import Model

pytestmark = pytest.mark.slow  # the networks of the model that ships
Signal = NDArray[np.float32]
RATE = 16_000
SECOND = np.arange(RATE) / RATE
ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)  # Hz, of the keys of a telephone
QUALITY = 5.0  # 11 to 14 kbps of speech


@pytest.fixture(scope="module")
def model() -> Model:
    return nsc.load("cq")


def coded(signal: NDArray[np.floating], model: Model) -> Signal:
    return nsc.decode(nsc.encode(signal.astype(np.float32), model, quality=QUALITY)).signal


def level(signal: NDArray[np.floating]) -> float:
    return float(20 * np.log10(signal.std()))


def high_voice() -> NDArray[np.float64]:
    """Harmonics of 900 Hz."""
    return 0.2 * np.sum([np.sin(2 * np.pi * 900 * number * SECOND + number) / number for number in range(1, 8)], axis=0)


def clicks() -> NDArray[np.float64]:
    """Five single samples in silence."""
    return np.where(np.isin(np.arange(RATE), np.arange(1600, RATE, 3200)), 0.5, 0.0)


@pytest.mark.parametrize(("signal", "decibels"), [(high_voice(), 0.8), (clicks(), 1.5)])
def test_sounds_beyond_speech_keep_their_level(signal: NDArray[np.float64], decibels: float, model: Model) -> None:
    assert abs(level(coded(signal, model)) - level(signal)) < decibels


def test_a_tone_near_full_scale_does_not_overshoot(model: Model) -> None:
    decoded = coded(0.7 * np.sin(2 * np.pi * 1000 * SECOND), model)
    assert np.abs(decoded).max() < 0.9 and abs(level(decoded) - level(0.7 * np.sin(2 * np.pi * SECOND))) < 0.3


def test_every_key_of_a_telephone_is_heard(model: Model) -> None:
    keys = list(product(ROWS, COLUMNS))
    time = np.arange(RATE // 10) / RATE
    tones = [0.3 * (np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)) for low, high in keys]
    pause = np.zeros(RATE // 20)
    decoded = coded(np.concatenate([part for tone in tones for part in (tone, pause)]), model)
    for number, key in enumerate(keys):
        begin = number * (len(time) + len(pause))
        heard = decoded[begin : begin + len(time)] * np.hanning(len(time))
        power = {tone: abs(heard @ np.exp(-2j * np.pi * tone * time)) for tone in (*ROWS, *COLUMNS)}
        assert (max(ROWS, key=power.__getitem__), max(COLUMNS, key=power.__getitem__)) == key


def test_speech_on_dc_keeps_both(model: Model, speech_signals: list[Signal]) -> None:
    speech = 0.3 * speech_signals[0] + np.float32(0.3)
    decoded = coded(speech, model)
    assert abs(decoded.mean() - speech.mean()) < 0.01 and abs(level(decoded) - level(speech)) < 1


def test_five_generations_lose_no_level(model: Model, speech_signals: list[Signal]) -> None:
    decoded = speech = speech_signals[0][: 3 * RATE // 2]
    for _ in range(5):
        decoded = coded(decoded, model)
    assert abs(level(decoded) - level(speech)) < 0.2


@pytest.mark.parametrize("decibels", [-60, -45])
def test_a_noisy_pause_costs_less_than_the_speech_before_it_and_keeps_its_level(
    decibels: float, model: Model, speech_signals: list[Signal]
) -> None:
    speech = speech_signals[0][: 2 * RATE]
    noise = 10 ** (decibels / 20) * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    data = nsc.encode(np.concatenate([speech, noise]), model, quality=QUALITY)
    assert len(data) < 2 * len(nsc.encode(speech, model, quality=QUALITY))
    assert abs(level(nsc.decode(data).signal[-RATE:]) - level(noise)) < 2
