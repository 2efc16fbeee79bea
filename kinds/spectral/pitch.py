"""The pitch of decoded speech and the speech one and two lags ago, as `nsc.kinds.spectral.pitch` defines them."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from nsc.kinds.spectral.pitch import (
    AHEAD,
    BLOCK,
    FADE,
    HISTORY,
    LAG_COST,
    LAGS,
    LEAST_ENERGY,
    SHORTEST,
    TRANSFORM,
    WINDOW,
    low_pass,
)


class Pitch(NamedTuple):
    """Lag in samples, int32 [batch, blocks], and correlation there, float32 [batch, blocks]; no gradient."""

    lags: tf.Tensor
    correlations: tf.Tensor


def pitch_of(signals: tf.Tensor) -> Pitch:
    """The pitch of signals [batch, samples], whole blocks, before which there is silence."""
    taps = low_pass()
    padded = tf.pad(tf.stop_gradient(signals), [[0, 0], [WINDOW - BLOCK + len(taps) - 1, 0]])
    filtered = tf.nn.conv1d(padded[..., None], taps[:, None, None], 1, "VALID")[..., 0]
    frames = tf.signal.frame(filtered, WINDOW, BLOCK)
    frames -= tf.reduce_mean(frames, -1, keepdims=True)
    spectrum = tf.signal.rfft(frames, [TRANSFORM])
    power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
    products = tf.signal.irfft(tf.cast(power, tf.complex64), [TRANSFORM])
    energy = tf.cumsum(tf.pad(tf.square(frames), [[0, 0], [0, 0], [1, 0]]), -1)
    first = tf.gather(energy, WINDOW - LAGS, axis=-1)
    last = energy[..., -1:] - tf.gather(energy, LAGS, axis=-1)
    norm = tf.sqrt(tf.maximum(first * last, 0.0)) + LEAST_ENERGY
    correlations = tf.gather(products, LAGS, axis=-1) / norm
    best = tf.argmax(correlations - (LAG_COST * LAGS).astype("float32"), -1, tf.int32)
    return Pitch(SHORTEST + best, tf.gather(correlations, best, batch_dims=2))


def lagged(signals: tf.Tensor, lags: tf.Tensor) -> tf.Tensor:
    """Signals [batch, samples] beside their past by the lags of their blocks, float32 [batch, samples, 5]."""
    samples = signals.shape[1] or tf.shape(signals)[1]
    padded = tf.pad(signals, [[0, 0], [HISTORY, 0]])
    place = HISTORY + tf.range(samples)
    new = tf.minimum(tf.cast(tf.range(samples) % BLOCK + 1, tf.float32) / FADE, 1.0)

    def ago(lags: tf.Tensor) -> tf.Tensor:
        lag = tf.repeat(lags, BLOCK, axis=1)
        past = [
            tf.gather(padded, place - times * lag + ahead, batch_dims=1) for ahead in (0, AHEAD) for times in (1, 2)
        ]
        return tf.stack(past, -1)

    before = tf.pad(lags[:, :-1], [[0, 0], [1, 0]], constant_values=SHORTEST)
    past = new[:, None] * ago(lags) + (1 - new)[:, None] * ago(before)
    return tf.concat([signals[..., None], past], -1)
