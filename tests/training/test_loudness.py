"""The loss on loudness against an independent float64 implementation, psychoacoustic facts and finite differences."""

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy import signal

from training.losses.loudness import WINDOWS, bark_filterbank, loudness, loudness_loss, threshold_in_quiet
from utilities import cut_frames

Array = NDArray[np.floating]


@pytest.fixture
def frames(real_speech: Array) -> Array:
    """Eight frames of speech at unit power."""
    loud = cut_frames(real_speech)[20:28]
    return (loud / loud.std()).astype(np.float32)


def noisy(frames: Array, level: float) -> Array:
    return (frames + level * np.random.default_rng(1).standard_normal(frames.shape)).astype(np.float32)


def reference_bank(window: int, bands: int) -> Array:
    """Which band each of a thousand places within every bin belongs to."""
    steps = 1000
    places = (np.arange(steps * (window // 2)) + 0.5) / steps  # in bins
    frequencies = places * 16_000 / window
    first, last = (26.81 * edge / (1960 + edge) for edge in (50.0, 8000.0))
    band = np.floor((26.81 * frequencies / (1960 + frequencies) - first) / (last - first) * bands).astype(int)
    bank = np.zeros((window // 2 + 1, bands))
    np.add.at(bank, (np.rint(places).astype(int)[band >= 0], band[band >= 0]), 1 / steps)
    return bank


def reference_loudness(frames: Array, window: int, bands: int) -> Array:
    """By scipy's spectrogram, in float64."""
    padded = np.pad(frames.astype(np.float64), [(0, 0), (window // 2, window // 2)])
    density = signal.spectrogram(padded, window="hann", nperseg=window, noverlap=window // 2, detrend=False)[2]
    density[:, [0, -1]] *= 2  # one-sided densities count them once
    power = density.transpose(0, 2, 1) / window * 10**7.9
    shares = reference_bank(window, bands)
    quiet = threshold_in_quiet(bands).astype(np.float64)
    over = power @ shares / quiet
    return (quiet / 0.5) ** 0.23 * (np.maximum(0.5 + 0.5 * over, 1) ** 0.23 - 1)


def reference_loss(target: Array, decoded: Array) -> float:
    losses = []
    for window, bands in WINDOWS.items():
        wanted, found = (reference_loudness(each, window, bands) for each in (target, decoded))
        heard = np.maximum(np.abs(found - wanted) - np.minimum(found, wanted) / 4, 0)
        heard *= 1 + np.where(found > wanted, 1 - np.exp(-heard / (wanted + 0.1)), 0)
        losses.append(np.mean(heard**2))
    return float(np.mean(losses))


@pytest.mark.parametrize(("window", "bands"), WINDOWS.items())
def test_loudness_agrees_with_scipys_spectrogram_on_speech(window: int, bands: int, frames: Array) -> None:
    expected = reference_loudness(frames, window, bands)
    np.testing.assert_allclose(loudness(frames, window, bands), expected, rtol=0.01, atol=0.01)


def test_the_loss_agrees_with_its_definition_on_speech(frames: Array) -> None:
    decoded = noisy(frames, 0.2)
    assert float(loudness_loss(frames, decoded)) == pytest.approx(reference_loss(frames, decoded), rel=0.01)


def test_signals_that_no_window_divides_are_heard_to_their_end(frames: Array) -> None:
    signals = frames.reshape(1, -1)[:, : 4 * 480 + 32]
    changed = np.concatenate([signals[:, :-16], -8 * signals[:, -16:]], axis=1)
    assert float(loudness_loss(signals, changed)) > 0.01
    assert loudness(signals, 512, 48).shape == (1, 9, 48)


@pytest.mark.parametrize(("window", "bands"), WINDOWS.items())
def test_bands_share_every_bin_from_50_hz_to_8_khz_once(window: int, bands: int) -> None:
    bank = bark_filterbank(window, bands)
    assert np.all(bank.sum(axis=0) > 0)
    np.testing.assert_allclose(bank, reference_bank(window, bands), atol=0.002)
    lowest_whole_bin = int(np.ceil(50 * window / 16_000 + 0.5))
    np.testing.assert_allclose(bank.sum(axis=1)[lowest_whole_bin:-1], 1, atol=1e-6)


def test_hearing_is_keenest_between_2_and_5_khz() -> None:
    rates = np.linspace(26.81 * 50 / 2010, 26.81 * 8000 / 9960, 49)
    centres = (rates[1:] + rates[:-1]) / 2
    keenest = (1960 * centres / (26.81 - centres))[np.argmin(threshold_in_quiet(48))]
    assert 2000 < keenest < 5000


def test_a_tone_ten_decibels_louder_sounds_about_1_7_times_as_loud() -> None:
    tone = np.sin(2 * np.pi * 1000 / 16_000 * np.arange(512))[None].astype(np.float32)
    soft, loud = (float(tf.reduce_max(loudness(level * tone, 512, 48))) for level in (1.0, np.sqrt(10)))
    assert loud / soft == pytest.approx(10**0.23, rel=0.02)


def test_what_lies_under_the_threshold_in_quiet_is_not_heard(frames: Array) -> None:
    whisper = noisy(0 * frames, 10 ** (-95 / 20))
    assert float(loudness_loss(0 * frames, whisper)) == 0
    assert float(loudness_loss(0 * frames, noisy(0 * frames, 10 ** (-40 / 20)))) > 1


def test_a_change_of_loudness_under_a_quarter_is_masked(frames: Array) -> None:
    assert float(loudness_loss(frames, frames * 10 ** (2 / 20))) < 0.005
    assert float(loudness_loss(frames, frames * 10 ** (9 / 20))) > 0.5


def test_loudness_added_costs_more_than_the_same_taken_away(frames: Array) -> None:
    poor = tf.signal.irfft(tf.signal.rfft(frames) * (np.arange(257) < 128))
    assert float(loudness_loss(poor, frames)) > 1.5 * float(loudness_loss(frames, poor))


def test_the_loss_grows_with_noise(frames: Array) -> None:
    losses = [float(loudness_loss(frames, noisy(frames, level))) for level in (0, 0.01, 0.1, 1)]
    assert losses == sorted(losses) and losses[0] == 0 and losses[3] > 2 * losses[1]


def test_gradients_agree_with_finite_differences(frames: Array) -> None:
    point = tf.constant(noisy(frames, 0.2))
    with tf.GradientTape() as tape:
        tape.watch(point)
        loss = loudness_loss(frames, point)
    slopes = tape.gradient(loss, point).numpy()
    for direction in np.random.default_rng(4).standard_normal((4, *slopes.shape)):
        ahead, behind = (reference_loss(frames, point.numpy() + step * direction) for step in (1e-5, -1e-5))
        scale = float(np.linalg.norm(slopes) * np.linalg.norm(direction))
        assert np.sum(slopes * direction) == pytest.approx((ahead - behind) / 2e-5, abs=0.02 * scale)


@pytest.mark.parametrize("silent_target", [True, False])
@pytest.mark.parametrize("silent_decoded", [True, False])
def test_gradients_are_finite_in_silence(silent_target: bool, silent_decoded: bool, frames: Array) -> None:
    point = tf.constant(frames * (not silent_decoded))
    with tf.GradientTape() as tape:
        tape.watch(point)
        loss = loudness_loss(frames * (not silent_target), point)
    assert np.all(np.isfinite(tape.gradient(loss, point)))
