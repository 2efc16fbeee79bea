"""The loss on energies in short windows: closed forms, an independent computation, and what it is there to hear."""

from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft, signal

from training.losses.short_windows import FLOOR, SPEECH, WINDOWS, short_window_losses

Array = NDArray[np.floating]


@pytest.fixture
def speech(real_speech: Array) -> Array:
    return (real_speech[:32000] / real_speech[:32000].std()).astype(np.float32)


def loss(target: Array, decoded: Array) -> float:
    return float(short_window_losses(target[None].astype(np.float32), decoded[None].astype(np.float32))[0])


def independent_loss(target: Array, decoded: Array) -> float:
    """By scipy, in float64."""
    found = []
    for window, edges in WINDOWS.items():
        hann = signal.windows.hann(window, sym=False)
        pieces = [sliding_window_view(each, window)[:: window // 4] for each in (target, decoded)]
        powers = [np.abs(fft.rfft(piece * hann)) ** 2 for piece in pieces]
        a, b = (np.stack([p[:, lo:hi].mean(1) for lo, hi in pairwise(edges)], 1) for p in powers)
        loud = a.sum(1)
        floor = FLOOR * loud.max()
        errors = np.abs(np.log10((b + floor) / (a + floor))).mean(1)
        found.append(errors[loud > SPEECH * loud.max()].mean())
    return float(np.mean(found))


def test_equal_signals_cost_nothing(speech: Array) -> None:
    assert loss(speech, speech) == 0


@pytest.mark.parametrize("decibels", [-6.0, 6.0])
def test_6_decibels_too_soft_or_too_loud_cost_six_tenths(decibels: float) -> None:
    noise = np.random.default_rng(0).standard_normal(16000)
    assert loss(noise, noise * 10 ** (decibels / 20)) == pytest.approx(0.6, rel=0.01)


def test_an_independent_computation_agrees(speech: Array) -> None:
    noisy = speech + 0.1 * np.random.default_rng(0).standard_normal(len(speech))
    assert loss(speech, noisy) == pytest.approx(independent_loss(speech, noisy), rel=1e-3)


def test_a_pulse_smeared_over_10_ms_costs_though_its_spectrum_is_kept() -> None:
    pulses = np.zeros(16000, np.float32)
    pulses[::160] = 1.0
    random = np.exp(2j * np.pi * np.random.default_rng(0).random(8001))
    smeared = np.fft.irfft(np.fft.rfft(pulses) * random).astype(np.float32)
    assert loss(pulses, smeared) > 0.4  # 4 dB


def test_the_gradient_is_finite_in_digital_silence() -> None:
    silent = tf.zeros([1, 3200])
    with tf.GradientTape() as tape:
        tape.watch(silent)
        value = short_window_losses(tf.zeros([1, 3200]), silent)
    assert np.isfinite(tape.gradient(value, silent)).all() and float(value[0]) == 0
