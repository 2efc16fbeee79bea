"""A concealment of lost spectra: speech repeated along its pitch and noise, with gains of bands that a network sets.

As trained networks that only shape what a pitch-synchronous repetition gives, it needs little speech and few weights.
"""

from __future__ import annotations

import functools
import itertools
import math

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from constants import SAMPLE_RATE
from kinds.spectral.decoded.enhancer import Causal, pitch_of
from kinds.spectral.transform import inverse_mdct, mdct
from nn_core_operator import PRECISION
from nsc.kinds.spectral.concealment import CONDITIONS, CONTEXT, LEAST_PERIOD, LONGEST, past_samples
from nsc.kinds.spectral.pitch import BLOCK, HISTORY, SHORTEST

# Hz, between which gains are led from centre to centre: as wide as two spectra of 160 bins at first, then about a Bark
EDGES = (0, 100, 200, 300, 400, 500, 600, 700, 800, 1000, 1200, 1400, 1600, 1900, 2200, 2600, 3100, 3800, 4600, 5600)
BANDS = len(EDGES)
FADE_FROM = SAMPLE_RATE * 100 // 1000  # samples after which an outage fades, up to LONGEST
RECENT = 640  # samples of new speech whose levels noise takes
BLENDED = 4  # share of a period that is blended with the one before, so that repetition has no seam
VOICED_FROM, VOICED_TO = 0.2, 0.7  # correlations between which repetition takes over from noise
HARMONIC_TO = 2000  # Hz, above which less and less is harmonic
GAIN_SCALE = 0.3  # slows the network's outputs down at the start, when they are zero
MOST_LOG_GAIN = 2.0
POWER_FLOOR = 1e-6  # of a band, relative to the group's level


class Concealment(keras.layers.Layer):
    """Begins as a rule: repetition of what is voiced, noise for the rest, neither louder nor softer than before."""

    def __init__(self, width: int, hop: int, window: str) -> None:
        """Makes a network of so many units for spectra of a hop and window."""
        super().__init__(name="concealment", dtype=PRECISION, autocast=False)
        self.hop, self.window = hop, window
        self.averages, self.spread = bands_of(hop)
        self.context = [Causal(CONTEXT // hop * BANDS + CONDITIONS - 1, width), Causal(width, width)]
        self.place = self.add_weight(shape=(LONGEST // hop, width), initializer="zeros", name="place")
        self.spectra = [Causal(width + BANDS, width), Causal(width, width)]
        self.gains = Causal(width, 2 * BANDS, start="zeros")
        self.built = True

    def call(self, past: tf.Tensor, conditions: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Samples float32 [batch, (spectra + 1) hop] of lost spectra; both end hops lack their overlap.

        Args:
            past: float32 [batch, past_samples], emphasised, up to the loss.
            conditions: float32 [batch, 4], see `nsc.kinds.spectral.concealment.CONDITIONS`.
            noise: float32 [batch, spectra, hop], white, of unit variance.
        """
        return inverse_mdct(self._spectra(past, conditions, noise)[0], self.window, self.hop)

    def conceal(
        self, signals: tf.Tensor, levels: tf.Tensor, lost: tf.Tensor, noise: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Decoded signals with an outage in the second half of every 0.4 s, concealed by network and by rule.

        Args:
            signals: float32 [batch, (spectra + 1) hop], emphasised.
            levels: float32 [batch, spectra], amplitude that counts as 1.
            lost: int32 [batch, outages], spectra of each outage, 0.2 s at most.
            noise: float32 [batch, spectra, hop].
        """
        hop, half, outages = self.hop, LONGEST // self.hop, lost.shape[1]
        whole = 2 * half * outages
        pieces = tf.reshape(signals[:, : whole * hop], [-1, 2 * half * hop])
        past = pieces[:, half * hop - past_samples(hop) : half * hop]
        pitch = pitch_of(past[:, -HISTORY - BLOCK :])
        lag = pitch.lags[:, -1]
        period = lag * -(-LEAST_PERIOD // lag)
        level = tf.reshape(levels[:, half : whole : 2 * half], [-1])
        facts = [level, pitch.correlations[:, -1], tf.cast(period, tf.float32), tf.zeros_like(level)]
        made = tf.reshape(noise[:, :whole], [-1, 2 * half, hop])[:, half:]
        arrived = mdct(signals, self.window, hop)
        gone = tf.sequence_mask(tf.reshape(lost, [-1]), half)[..., None]

        def with_outages(found: tf.Tensor) -> tf.Tensor:
            slots = tf.reshape(arrived[:, :whole], [-1, 2 * half, hop])
            slots = tf.concat([slots[:, :half], tf.where(gone, found, slots[:, half:])], 1)
            spectra = tf.concat([tf.reshape(slots, [-1, whole, hop]), arrived[:, whole:]], 1)
            return inverse_mdct(spectra, self.window, hop)

        by_network, by_rule = self._spectra(past, tf.stack(facts, -1), made)
        return with_outages(by_network), with_outages(by_rule)

    def _spectra(self, past: tf.Tensor, conditions: tf.Tensor, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Lost spectra [batch, spectra, hop] by network and by rule alone; arguments as for `call`."""
        level, correlation, period, first = tf.split(conditions, CONDITIONS, -1)
        count = tf.shape(noise)[1]
        start = tf.cast(first, tf.int32) * self.hop
        repeated = mdct(
            _repeated(past, tf.cast(period, tf.int32), start, (count + 1) * self.hop), self.window, self.hop
        )
        before = mdct(past, self.window, self.hop)
        power = tf.matmul(tf.square(before), self.averages)
        recent = tf.reduce_mean(power[:, -(RECENT // self.hop) :], 1, keepdims=True)
        voiced = tf.clip_by_value((correlation - VOICED_FROM) / (VOICED_TO - VOICED_FROM), 0.0, 1.0)[:, None]
        share = voiced * _harmonic_shares(self.hop)
        harmonic = tf.sqrt(share) * repeated
        noisy = tf.sqrt(1.0 - share) * tf.matmul(tf.sqrt(recent), self.spread) * noise
        place = tf.cast(first, tf.int32) + tf.range(count)
        fade = tf.cast(place + 1, tf.float32) * self.hop - FADE_FROM
        fade = tf.clip_by_value(1.0 - fade / (LONGEST - FADE_FROM), 0.0, 1.0)[..., None]

        seen = tf.reshape(self._loudness(power, level), [-1, 1, before.shape[1] * BANDS])
        facts = tf.stack([correlation, tf.math.log(period / (2 * SHORTEST)), tf.math.log(level + POWER_FLOOR) / 3], -1)
        hidden = tf.concat([seen, facts], -1)
        for layer in self.context:
            hidden = tf.nn.elu(layer(hidden))
        hidden += tf.gather(self.place, tf.minimum(place, LONGEST // self.hop - 1))
        hidden = tf.concat([hidden, self._loudness(tf.matmul(tf.square(repeated), self.averages), level)], -1)
        for layer in self.spectra:
            hidden = tf.nn.elu(layer(hidden))
        gains = tf.exp(MOST_LOG_GAIN * tf.tanh(GAIN_SCALE * self.gains(hidden)))
        gains = tf.split(tf.cast(gains, tf.float32), 2, -1)
        shaped = harmonic * tf.matmul(gains[0], self.spread) + noisy * tf.matmul(gains[1], self.spread)
        return shaped * fade, (harmonic + noisy) * fade

    @staticmethod
    def _loudness(power: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
        return 1 + tf.math.log(power / tf.square(level[:, None]) + POWER_FLOOR) / math.log(1000)


def _repeated(past: tf.Tensor, period: tf.Tensor, start: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
    """Samples [batch, samples] from `start` on of the last period over and over, both int32 [batch, 1]."""
    place = tf.math.floormod(start + tf.range(samples), period)
    blended = period // BLENDED
    share = tf.cast(place - period + blended, tf.float32) + 0.5
    share = tf.clip_by_value(share / tf.cast(blended, tf.float32), 0.0, 1.0)
    last = past.shape[1] - period + place
    now, before = (tf.gather(past, each, batch_dims=1) for each in (last, last - period))
    return now + share * (before - now)


@functools.cache
def bands_of(hop: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Matrices of bins to means of bands [hop, BANDS], and of bands to bins, led from centre to centre [BANDS, hop]."""
    edges = np.round(np.array([*EDGES, SAMPLE_RATE / 2]) * 2 * hop / SAMPLE_RATE).astype(int)
    within = np.zeros((hop, BANDS), np.float32)
    for band, (low, high) in enumerate(itertools.pairwise(edges)):
        within[low : max(high, low + 1), band] = 1
    centres, bins = (edges[:-1] + np.maximum(edges[1:], edges[:-1] + 1) - 1) / 2, np.arange(hop)
    spread = np.stack([np.interp(bins, centres, row) for row in np.eye(BANDS)])
    return within / within.sum(0), spread.astype(np.float32)


def _harmonic_shares(hop: int) -> NDArray[np.float32]:
    """Of voiced speech by bin: all up to HARMONIC_TO, none at the end."""
    hertz = (np.arange(hop) + 0.5) * SAMPLE_RATE / 2 / hop
    return np.clip((SAMPLE_RATE / 2 - hertz) / (SAMPLE_RATE / 2 - HARMONIC_TO), 0, 1).astype(np.float32)
