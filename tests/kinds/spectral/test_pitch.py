"""The pitch of decoded speech: of signals whose period is known, and the same in training as in the codec."""

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from kinds.spectral.decoded import enhancer as trained
from nsc.kinds.spectral.pitch import AHEAD, BLOCK, FADE, HISTORY, LONGEST, SHORTEST, lagged, pitch_of

Array = NDArray[np.float32]


def pulses(period: float, samples: int = 8000) -> Array:
    """A voice of 20 harmonics, all in phase, whose spectrum falls by 6 dB an octave."""
    time = np.arange(samples)
    harmonics = range(1, min(20, int(period / 2)) + 1)
    voice = sum(np.cos(2 * np.pi * n * time / period) / n for n in harmonics)
    return (0.1 * voice).astype(np.float32)


def after_silence(signal: Array) -> Array:
    return np.pad(signal, (HISTORY, 0))


@pytest.mark.parametrize("period", [44, 57.3, 80, 121.8, 160, 255])
def test_the_lag_of_a_synthetic_voice_is_its_period(period: float) -> None:
    pitch = pitch_of(after_silence(pulses(period)))
    inside = slice(8, None)  # blocks whose window is full
    np.testing.assert_array_less(np.abs(pitch.lags[inside] - period), 1.0)
    assert pitch.correlations[inside].min() > 0.97


def test_a_gliding_voice_is_followed_within_a_few_blocks() -> None:
    periods = np.linspace(70, 130, 16000)
    phase = 2 * np.pi * np.cumsum(1 / periods)
    harmonics = np.arange(1, 20)[:, None]
    voice = np.sum(np.cos(harmonics * phase) / harmonics, 0).astype(np.float32)
    lags = pitch_of(after_silence(voice)).lags
    middle_of_window = periods[np.clip(BLOCK * np.arange(1, len(lags) + 1) - 400, 0, None)]
    np.testing.assert_array_less(np.abs(lags - middle_of_window)[10:], 4)


def test_noise_has_little_correlation_and_silence_and_a_constant_none() -> None:
    noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    voiced = pitch_of(after_silence(pulses(100))).correlations[8:].mean()
    assert pitch_of(after_silence(noise)).correlations[8:].mean() < voiced - 0.5
    assert not pitch_of(np.zeros(HISTORY + 800, np.float32)).correlations.any()
    assert np.abs(pitch_of(np.full(HISTORY + 800, 0.3, np.float32)).correlations).max() < 0.01


def test_pitch_does_not_depend_on_level() -> None:
    signal = after_silence(pulses(90) + 0.02 * np.random.default_rng(1).standard_normal(8000).astype(np.float32))
    loud, soft = pitch_of(signal), pitch_of(0.01 * signal)
    np.testing.assert_array_equal(loud.lags, soft.lags)
    np.testing.assert_allclose(loud.correlations, soft.correlations, atol=1e-3)


def test_pitch_depends_on_the_past_alone(real_speech: Array) -> None:
    signal = after_silence(real_speech[:8000])
    changed = signal.copy()
    changed[HISTORY + 4000 :] = 0.5
    pitch, other = pitch_of(signal), pitch_of(changed)
    np.testing.assert_array_equal(pitch.lags[:50], other.lags[:50])
    np.testing.assert_array_equal(pitch.correlations[:50], other.correlations[:50])


def test_blocks_of_any_number_find_what_the_whole_signal_finds(real_speech: Array) -> None:
    signal = after_silence(real_speech[:8000])
    whole = pitch_of(signal)
    for first, count in ((0, 1), (13, 4), (60, 40)):
        piece = pitch_of(signal[BLOCK * first : BLOCK * (first + count) + HISTORY])
        np.testing.assert_array_equal(piece.lags, whole.lags[first : first + count])


def test_training_and_codec_find_the_same_pitch_of_speech(real_speech: Array) -> None:
    signals = np.stack([real_speech[:16000], real_speech[16000:32000]])
    found = trained.pitch_of(tf.constant(signals))
    for lags, correlations, signal in zip(found.lags, found.correlations, signals, strict=True):
        expected = pitch_of(after_silence(signal))
        assert np.mean(lags == expected.lags) > 0.99  # rounding decides between two peaks of equal height
        same = lags == expected.lags
        np.testing.assert_allclose(correlations[same], expected.correlations[same], atol=1e-4)


def test_training_and_codec_take_the_same_lagged_speech(real_speech: Array) -> None:
    signal = real_speech[:8000]
    lags = np.random.default_rng(2).integers(SHORTEST, LONGEST + 1, 100).astype(np.int32)
    found = trained.lagged(tf.constant(signal[None]), tf.constant(lags[None]))[0]
    np.testing.assert_allclose(found, lagged(after_silence(signal), np.concatenate([[SHORTEST], lags])), atol=1e-7)


def test_lagged_speech_is_that_one_and_two_lags_ago() -> None:
    signal = np.arange(HISTORY + 240, dtype=np.float32)
    lags = np.array([50, 50, 100, 100])
    found = lagged(signal, lags)
    now = signal[HISTORY:]
    np.testing.assert_array_equal(found[:, 0], now)
    np.testing.assert_array_equal(found[:BLOCK, 1], now[:BLOCK] - 50)
    settled = slice(BLOCK + FADE, None)
    expected = np.stack([now - 100, now - 200, now - 100 + AHEAD, now - 200 + AHEAD], 1)
    np.testing.assert_array_equal(found[settled, 1:], expected[settled])
    fading = found[BLOCK : BLOCK + FADE, 1] - now[BLOCK : BLOCK + FADE]
    np.testing.assert_allclose(fading, -50 - 50 * np.arange(1, FADE + 1) / FADE, rtol=1e-6)
