"""Training of spectral cascades: stretches of speech at random levels, step offsets and group borders; their losses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import lpc_utilities as lpc
from cmrl import Part, Stage
from configs.config import Config
from constants import LPC_ORDER, PRE_EMPHASIS, SAMPLE_RATE
from loss_terms_and_measures import time_loss
from training.loudness import loudness_losses
from training.objective import Losses
from training.rate_control import DEAD_BITS, LEAST_TARGET
from spectral.cascade import SpectralBatch, SpectralCascade, SpectralOutput
from spectral.envelope import SPECTRA_PER_FRAME
from spectral.framing import warm_mask

LEVEL_BLOCK = 5120  # samples, 0.32 s: the loudest such block of a stretch tells its level
QUIETEST = 1e-3  # amplitude below which a stretch is not brought to unit level
LOUDEST_DB, SOFTEST_DB = 2.0, -8.0  # of a stretch's loudest block, relative to the level that the group carries
GROUP_FRAMES, GROUP_SHARES = (1, 2, 4, 8, 16), (0.1, 0.1, 0.15, 0.25, 0.4)  # group sizes that training draws
LARGEST_OFFSET = 1.1  # of the logarithm of the step, both ways: from about 6 to about 32 kbps
# Half of the bits at twice the step is worth more of the loss: weights of rate and of all by the offset, e^(k o).
RATE_SLOPE, LOSS_SLOPE = 2.3, -1.1
RATE_FALL = 0.85  # bits fall as e^(-0.85 o), by which rates at all offsets tell the one in the middle
COUNT_MEMORY = 0.95  # share of the measured rate that survives a step
STEER_RATE, LARGEST_ERROR = 0.1, 0.5  # change of log tau for each relative error of the rate, in one interval
FIRST_TAU = 3.0
TAU_RANGE = 1e-3, 1e3


def stretch_samples(config: Config) -> int:
    """Samples of a stretch of `consecutive_frames` frames of two spectra."""
    return (SPECTRA_PER_FRAME * config.consecutive_frames + 1) * config.hop


def training_batch(stretches: tf.Tensor, config: Config, seed: tf.Tensor) -> SpectralBatch:
    """Brings stretches of speech to a level, and draws offsets and group borders.

    Args:
        stretches: float32 [batch, stretch_samples], pre-emphasised where the configuration says so.
        config: of the run.
        seed: int32 [2], from which all is drawn.
    """
    batch = tf.shape(stretches)[0]
    spectra = stretches.shape[1] // config.hop - 1
    heard = as_heard(stretches, config)
    blocks = heard[:, : heard.shape[1] // LEVEL_BLOCK * LEVEL_BLOCK]
    power = tf.reduce_mean(tf.square(tf.reshape(blocks, [-1, heard.shape[1] // LEVEL_BLOCK, LEVEL_BLOCK])), -1)
    level = tf.maximum(tf.sqrt(tf.reduce_max(power, 1, keepdims=True)), QUIETEST)
    decibels = tf.random.stateless_uniform([batch, 1], seed, SOFTEST_DB, LOUDEST_DB)
    signals = stretches / level * 10.0 ** (decibels / 20)
    most = LARGEST_OFFSET if config.rate_range else 0.0
    offsets = tf.random.stateless_uniform([batch, 1], seed + 1, -most, most)
    shares = tf.math.log(tf.constant([GROUP_SHARES]))
    sizes = tf.gather(GROUP_FRAMES, tf.random.stateless_categorical(shares, batch, seed + 2)[0])
    places = tf.range(spectra) % (SPECTRA_PER_FRAME * sizes[:, None])
    ones = tf.ones([batch, spectra])
    return SpectralBatch(signals, ones, offsets * ones, warm_mask(places))


def as_heard(signals: tf.Tensor, config: Config) -> tf.Tensor:
    """Signals [batch, multiple of 16] with the pre-emphasis undone."""
    if not config.pre_emphasis:
        return signals
    polynomial = tf.constant([[1.0, -PRE_EMPHASIS] + [0.0] * (LPC_ORDER - 1)])
    return lpc.synthesis_filter(signals, tf.repeat(polynomial, tf.shape(signals)[0], axis=0))


def spectral_objective(
    output: SpectralOutput, batch: SpectralBatch, cascade: SpectralCascade, stage: Stage, tau: tf.Tensor, *, warm_up: bool
) -> Losses:
    """The losses of a batch in one stage.

    Args:
        output: the batch after the cascade.
        batch: what was coded.
        cascade: gives the configuration.
        stage: says which depth is heard and whose bits are paid for.
        tau: float32 [modules], weight of every module's bits.
        warm_up: quantisers are bypassed, so that bits do not count.
    """
    config = cascade.config
    offset = batch.offsets[:, 0]
    weight = tf.exp(LOSS_SLOPE * offset)
    layer_loss = config.layer_loss if stage.name == "finetune" else 0.0
    time, loudness = _distortion(output, batch, config, weight, layer_loss)
    bits = module_bits(output.bits, stage.depth) / frames_of(batch)
    symbols = symbols_per_frame(cascade.parts(stage.depth), stage.depth)
    paid = tf.reduce_mean(weight * tf.exp(RATE_SLOPE * offset) * bits, 1) / sum(symbols)
    trained = tf.constant([float(module in stage.trained) for module in range(stage.depth)])
    time_weight = config.coefficients[0]
    total = time_weight * time + config.loudness_weight * loudness
    if not warm_up:
        total += tf.reduce_sum(tau[: stage.depth] * trained * paid)
    none = tf.zeros([])
    return Losses(total, time, none, loudness, none, tf.reduce_mean(bits, 1) / tf.constant(symbols, tf.float32))


def _distortion(
    output: SpectralOutput, batch: SpectralBatch, config: Config, weight: tf.Tensor, layer_loss: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Time loss and loudness loss at full depth, plus `layer_loss` times the mean over the shallower depths."""
    hop = config.hop
    target = batch.signals[:, hop:-hop]  # at both ends the overlap is missing
    heard = as_heard(target, config)
    depths = output.signals if layer_loss else output.signals[-1:]
    losses = []
    for signals in depths:
        decoded = signals[:, hop:-hop]
        time = tf.reduce_mean(tf.reshape(frame_errors(target, decoded, hop), [tf.shape(target)[0], -1]), 1)
        loudness = loudness_losses(heard, as_heard(decoded, config))
        losses.append(tf.stack([tf.reduce_mean(weight * time), tf.reduce_mean(weight * loudness)]))
    combined = losses[-1]
    if len(losses) > 1:
        combined += layer_loss * tf.add_n(losses[:-1]) / (len(losses) - 1)
    return combined[0], combined[1]
