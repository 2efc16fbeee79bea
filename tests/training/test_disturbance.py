"""The loss on the disturbance of P.862 against the `pesq` package, psychoacoustic facts and finite differences."""

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy import signal

import nsc
from measures.measures import pesq_wb
from training.losses import disturbance
from training.losses.disturbance import (
    AMPLITUDE,
    BINS,
    HEARD,
    POWER,
    THRESHOLDS,
    WIDTHS,
    band_power,
    disturbance_losses,
)

Array = NDArray[np.floating]


@pytest.fixture
def speech(real_speech: Array) -> Array:
    """Speech whose loudest 0.32 s have unit power."""
    blocks = real_speech[: real_speech.size // 5120 * 5120].reshape(-1, 5120)
    return (real_speech / np.sqrt(np.mean(blocks**2, 1).max())).astype(np.float32)


def points(target: Array, decoded: Array) -> float:
    """Points that the disturbance takes off."""
    return float(np.sqrt(disturbance_losses(target[None].astype(np.float32), decoded[None].astype(np.float32))[0]))


def points_of_pesq(target: Array, decoded: Array) -> float:
    """Points that PESQ-WB has taken off, its mapping (P.862.2) undone."""
    score = pesq_wb(target / 10, decoded / 10)
    return 4.5 - (3.8224 - np.log(4 / (score - 0.999) - 1)) / 1.3669


def test_all_bins_but_the_first_belong_to_a_band() -> None:
    assert BINS.sum() == 255
    assert BINS.shape == POWER.shape == WIDTHS.shape == THRESHOLDS.shape == (48,)
    assert WIDTHS.sum() == pytest.approx(21.2, abs=0.1)  # Bark from 16 Hz to 8 kHz


def test_a_tone_of_40_decibels_has_a_power_of_10000() -> None:
    amplitude = 29.54 / AMPLITUDE  # by which P.862 calibrates its model
    tone = amplitude * np.sin(2 * np.pi * 1000 / 16000 * np.arange(4096)).astype(np.float32)
    heard = signal.lfilter(*HEARD, tone)
    amplified = np.mean(heard[2048:] ** 2) / np.mean(tone[2048:] ** 2)
    assert band_power(tone[None]).numpy()[0, 8].max() == pytest.approx(10_000 * amplified, rel=0.02)


@pytest.mark.parametrize("kbps", [7, 12, 20])
def test_it_takes_off_the_points_that_pesq_takes_off(speech: Array, kbps: int) -> None:
    coded = nsc.decode(nsc.encode(speech / 10, "cq", kbps=kbps)).signal * 10
    # PESQ sets the level by the whole file and aligns spectra, which the loss does not
    assert points(speech, coded) == pytest.approx(points_of_pesq(speech, coded), rel=0.2, abs=0.15)


def test_6_decibels_more_in_the_valleys_cost_more_than_6_decibels_less(speech: Array) -> None:
    spectrum = signal.stft(speech, nperseg=512)[2]
    quiet = np.abs(spectrum) < 0.1 * np.abs(spectrum).max(0)  # between harmonics and above them
    valleys = signal.istft(np.where(quiet, spectrum, 0))[1][: speech.size].astype(np.float32)
    lost, added = points(speech, speech - 0.5 * valleys), points(speech, speech + valleys)
    assert added > 1.5 * lost


def test_nothing_is_taken_off_equal_speech_and_next_to_nothing_for_half_a_decibel(speech: Array) -> None:
    assert points(speech, speech) < 0.001
    assert points(speech, speech * 10**0.025) < 0.01


@pytest.mark.parametrize("other", ["SYMMETRIC", "ASYMMETRIC"])
def test_soft_pieces_count_more_in_both_disturbances(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the power of -0.04 of a piece's power, 30 dB under the usual one."""
    random = np.random.default_rng(4)
    noise = random.standard_normal((2, 8000)) * 0.002  # as loud in all pieces
    audible = np.where(band_power(noise[:1].astype(np.float32)) > 10 ** (THRESHOLDS / 10), 1, 0)
    power = float(np.mean(np.sum(audible * band_power(noise[:1].astype(np.float32)), -1)))
    assert power < 1e5
    monkeypatch.setattr(disturbance, other, 0.0)
    weighted = points(noise[0], noise.sum(0))
    monkeypatch.setattr(disturbance, "LEVEL_POWER", 0.0)
    unweighted = points(noise[0], noise.sum(0))
    assert weighted / unweighted == pytest.approx(((power + 1e5) / 1e7) ** -0.04, rel=0.01)


def test_the_gradient_is_that_of_finite_differences(speech: Array) -> None:
    loud = int(np.argmax(np.abs(speech))) - 2560
    target = speech[loud : loud + 6400]
    noise = np.random.default_rng(1).standard_normal((2, target.size)).astype(np.float32)
    decoded = tf.constant((target + 0.1 * noise[0])[None])
    with tf.GradientTape() as tape:
        tape.watch(decoded)
        loss = disturbance_losses(target[None], decoded)
    slope = float(tf.reduce_sum(tape.gradient(loss, decoded) * noise[1]))
    ahead, behind = (disturbance_losses(target[None], decoded + step * noise[1]) for step in (1e-3, -1e-3))
    assert slope == pytest.approx(float((ahead - behind)[0]) / 2e-3, rel=0.02)


def test_silence_and_short_stretches_have_finite_losses_and_gradients() -> None:
    decoded = tf.zeros([1, 1500])
    with tf.GradientTape() as tape:
        tape.watch(decoded)
        loss = disturbance_losses(tf.zeros([1, 1500]), decoded)
    assert np.isfinite(loss.numpy()).all()
    assert np.isfinite(tape.gradient(loss, decoded).numpy()).all()
