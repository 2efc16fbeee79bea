"""Training objective of spectral cascades, on stretches of speech at random levels, offsets and group borders."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import tensorflow as tf

import lpc_utilities as lpc
from cmrl import Stage
from constants import SAMPLE_RATE
from kinds.kind import Losses
from kinds.spectral.batch import warm_mask
from kinds.spectral.cascade import SpectralBatch, SpectralCascade, SpectralOutput
from kinds.spectral.fitting.training_symbols import GROUP_FRAMES, GROUP_SHARES
from kinds.spectral.transform import mdct
from loss_terms_and_measures import SQUARED_ERROR_FLOOR
from nsc.kinds.spectral.concealment import LONGEST
from nsc.kinds.spectral.noise import RANGE
from options.common import CONCEALMENT
from options.config import Config
from training.losses.disturbance import disturbance_losses
from training.losses.loudness import loudness_losses
from training.losses.short_windows import short_window_losses

LEVEL_BLOCK = 5120  # samples, 0.32 s: the loudest such block of a stretch gives its level
QUIETEST = 1e-3  # amplitude below which a stretch is not brought to unit level
SOFTEST_DB, LOUDEST_DB = -8.0, 2.0  # of a stretch's loudest block, relative to the level that the group carries
BAND_EDGES = (50, 125, 250, 500, 1000, 2000, 4000, 8000)  # Hz, of the loss on levels
LEVEL_FLOOR = 1e-7  # power of a band that counts as none: 70 dB under unit level
WIDENING_STEPS = 1000.0  # steps in which the range of offsets grows to its full width
# Distortion grows with the step and bits fall: weights e^(k offset) of the loss and of its rate keep all rates alive.
LOSS_SLOPE, RATE_SLOPE = -1.1, 2.3
LOST_SHARES = 0.4, 0.15, 0.25, 0.1, 0.1  # of outages of 1, 2 ... frames of 40 ms
ENHANCED_FLOORS = {"time": 1e-5, "disturbance": 1e-3, "short_windows": 1e-2, "levels": 0.3}  # what counts as none


def stretch_samples(config: Config) -> int:
    """Samples of a stretch of `consecutive_frames` frames."""
    return (config.spectra_per_frame * config.consecutive_frames + 1) * config.hop


class Draw(NamedTuple):
    """Random numbers of a step: of all stretches on all replicas, of which this one takes its own.

    seed: int32 [2], of the step.
    offset_range: float32 [2], smallest and largest offset of the step.
    first, total: number of this replica's first stretch, and of all stretches.
    """

    seed: tf.Tensor
    offset_range: tf.Tensor
    first: tf.Tensor | int
    total: int


def training_batch(stretches: tf.Tensor, config: Config, draw: Draw) -> SpectralBatch:
    """Brings stretches of speech to a level, and draws offsets and group borders.

    Args:
        stretches: float32 [batch, stretch_samples], pre-emphasised where the configuration says so.
        config: of the run.
        draw: where random numbers come from.
    """
    spectra = stretches.shape[1] // config.hop - 1
    own = slice(draw.first, draw.first + tf.shape(stretches)[0])
    heard = as_heard(stretches, config)
    blocks = heard[:, : heard.shape[1] // LEVEL_BLOCK * LEVEL_BLOCK]
    power = tf.reduce_mean(tf.square(tf.reshape(blocks, [-1, heard.shape[1] // LEVEL_BLOCK, LEVEL_BLOCK])), -1)
    level = tf.maximum(tf.sqrt(tf.reduce_max(power, 1, keepdims=True)), QUIETEST)
    decibels = tf.random.stateless_uniform([draw.total, 1], draw.seed, SOFTEST_DB, LOUDEST_DB)[own]
    offsets = tf.random.stateless_uniform([draw.total, 1], draw.seed + 1, *tf.unstack(draw.offset_range))[own]
    shares = tf.math.log(tf.constant([GROUP_SHARES]))
    sizes = tf.gather(GROUP_FRAMES, tf.random.stateless_categorical(shares, draw.total, draw.seed + 2)[0])[own]
    places = tf.range(spectra) % (config.spectra_per_frame * sizes[:, None])
    ones = tf.ones_like(places, tf.float32)
    signals = stretches / level * 10.0 ** (decibels / 20)
    lost = _outages(draw, spectra * config.hop // (2 * LONGEST), config)[own] if conceals(config) else None
    noise = _noise(draw, spectra, config.hop)[own] if config.noise_fill or conceals(config) else None
    return SpectralBatch(signals, ones, offsets * ones, warm_mask(places), noise, lost)


def conceals(config: Config) -> bool:
    """Whether a run trains the concealment of losses."""
    return config.training_mode == 5 and config.finetuned == CONCEALMENT


def _outages(draw: Draw, outages: int, config: Config) -> tf.Tensor:
    """Spectra that outages of all stretches of a step take, whole frames, int32 [total, outages]."""
    shape, shares = (draw.total, outages), tf.math.log(tf.constant([LOST_SHARES]))
    frames = 1 + tf.random.stateless_categorical(shares, draw.total * outages, draw.seed + 4, tf.int32)[0]
    return tf.reshape(config.spectra_per_frame * frames, shape)


def _noise(draw: Draw, spectra: int, hop: int) -> tf.Tensor:
    """Uniform noise of unit variance for all stretches of a step, float32 [total, spectra, hop]."""
    return tf.random.stateless_uniform([draw.total, spectra, hop], draw.seed + 3, -RANGE, RANGE)


def as_heard(signals: tf.Tensor, config: Config) -> tf.Tensor:
    """Signals [batch, samples] with the pre-emphasis undone."""
    return lpc.de_emphasise(signals) if config.pre_emphasis else signals


def spectral_objective(
    output: SpectralOutput,
    batch: SpectralBatch,
    cascade: SpectralCascade,
    stage: Stage,
    tau: tf.Tensor,
    *,
    warm_up: bool,
) -> Losses:
    """The losses of a batch in one stage.

    Args:
        output: the batch after the cascade.
        batch: what was coded.
        cascade: gives the configuration.
        stage: says which depth the losses compare and whose bits are paid for.
        tau: float32 [modules], weight of a module's bits, counted in bits for each symbol of the first one: the same
            price of a bit in every stage.
        warm_up: quantisers are bypassed, so that bits do not count.
    """
    config = cascade.config
    if batch.lost is not None:
        return _concealment(output, batch, cascade, stage)
    if not stage.trained:
        return _enhancement(output, batch, cascade, stage)
    offset = batch.offsets[:, 0]
    weight = tf.exp(LOSS_SLOPE * offset)
    layer_loss = config.layer_loss if stage.name == "finetune" else 0.0
    distortions = _distortion(output, batch, config, weight, layer_loss)
    bits = module_bits(output, stage.depth, config.spectra_per_frame)
    symbols = cascade.symbols_per_frame(stage.depth)
    paid = tf.reduce_mean(weight * tf.exp(RATE_SLOPE * offset) * bits, 1) / symbols[0]
    weights = _weights(config)
    total = tf.reduce_sum(tuple(weights.values()) * distortions)
    if not warm_up:
        total += tf.reduce_sum(tf.gather(tau * tf.pad(paid, [[0, config.num_modules - stage.depth]]), stage.trained))
    entropies = tf.reduce_mean(bits, 1) / tf.constant(symbols, tf.float32)
    return Losses(total, dict(zip(weights, tf.unstack(distortions), strict=True)), entropies)


def _enhancement(output: SpectralOutput, batch: SpectralBatch, cascade: SpectralCascade, stage: Stage) -> Losses:
    """Of a stage that trains the enhancer alone: mean log ratios of what is wrong after it to what was before it.

    Ratios count alike at all rates. A waveform that is not sent cannot be met, so squared errors do not count the
    decoder's noise.
    """
    config = cascade.config
    target, before, before_noiseless, after, after_noiseless = (
        tf.concat([as_heard(each[:, config.hop : -config.hop], config) for each in signals], 0)
        for signals in ([batch.signals] * stage.depth, *output.plain, output.signals, output.noiseless)
    )
    compared: dict[str, tuple[Callable[..., tf.Tensor], tf.Tensor, tf.Tensor]] = {
        "time": (_squared_errors, after_noiseless, before_noiseless),
        "disturbance": (disturbance_losses, after, before),
        "short_windows": (short_window_losses, after, before),
        "levels": (functools.partial(_level_losses, config=config), after, before),
    }
    ratios = {}
    for name, (measure, *pair) in compared.items():
        found, was = (measure(target, each) + ENHANCED_FLOORS[name] for each in pair)
        ratios[name] = tf.reduce_mean(tf.math.log(found / was))
    bits = tf.reduce_mean(module_bits(output, stage.depth, config.spectra_per_frame), 1)
    entropies = bits / tf.constant(cascade.symbols_per_frame(stage.depth), tf.float32)
    return Losses(tf.add_n(list(ratios.values())), ratios, entropies)


def _concealment(output: SpectralOutput, batch: SpectralBatch, cascade: SpectralCascade, stage: Stage) -> Losses:
    """Of a stage that trains the concealment of losses alone: mean log ratios of what is wrong to that by rule.

    A waveform that did not arrive cannot be met: an error that is as small as can be would be silence.
    """
    config = cascade.config
    target, rule, network = (
        as_heard(each[:, config.hop : -config.hop], config)
        for each in (batch.signals, output.plain[0][0], output.signals[0])
    )
    ratios = {}
    for name, measure in (("disturbance", disturbance_losses), ("short_windows", short_window_losses)):
        found, was = (measure(target, each) + ENHANCED_FLOORS[name] for each in (network, rule))
        ratios[name] = tf.reduce_mean(tf.math.log(found / was))
    return Losses(tf.add_n(list(ratios.values())), ratios, tf.zeros([stage.depth]))


def _squared_errors(target: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    """Mean squared error, float32 [batch]."""
    return tf.reduce_mean(tf.square(target - decoded), 1)


def module_bits(output: SpectralOutput, depth: int, spectra_per_frame: int) -> tf.Tensor:
    """Bits per frame of every module for each signal, float32 [depth, batch]; LSFs and gains count with the first."""
    assert output.envelope
    lsf, gain, *codes = output.bits
    frames = tf.cast(tf.shape(output.envelope.gains)[1] // spectra_per_frame, tf.float32)
    return tf.stack([lsf + gain + codes[0], *codes[1:depth]]) / frames


def _weights(config: Config) -> dict[str, float]:
    return {
        "time": config.coefficients[0],
        "loudness": config.loudness_weight,
        "disturbance": config.disturbance_weight,
        "levels": config.level_weight,
        "short_windows": config.short_window_weight,
    }


def _distortion(
    output: SpectralOutput, batch: SpectralBatch, config: Config, weight: tf.Tensor, layer_loss: float
) -> tf.Tensor:
    """What `_weights` weighs, at full depth, plus `layer_loss` times the mean over the shallower depths."""
    inner = slice(config.hop, -config.hop)  # at both ends the overlap is missing
    target = batch.signals[:, inner]
    weights = _weights(config)
    hears = bool(weights["loudness"] or weights["disturbance"])
    heard_target = as_heard(target, config) if hears else target
    losses = []
    pairs = list(zip(output.signals, output.noiseless, strict=True))
    for signals, noiseless in pairs if layer_loss else pairs[-1:]:
        decoded = signals[:, inner]
        heard = as_heard(decoded, config) if hears else decoded
        measures = {
            # a waveform that is not sent cannot be met: noise answers to the other losses only
            "time": functools.partial(_time_losses, target, noiseless[:, inner], config.hop),
            "loudness": functools.partial(loudness_losses, heard_target, heard),
            "disturbance": functools.partial(disturbance_losses, heard_target, heard),
            "levels": functools.partial(_level_losses, target, decoded, config),
            "short_windows": functools.partial(short_window_losses, target, decoded),
        }
        terms = [measures[name]() if factor else tf.zeros_like(weight) for name, factor in weights.items()]
        losses.append(tf.reduce_mean(weight * tf.stack(terms), 1))
    if len(losses) == 1:
        return losses[0]
    return losses[-1] + layer_loss * tf.add_n(losses[:-1]) / (len(losses) - 1)


def _time_losses(target: tf.Tensor, decoded: tf.Tensor, hop: int) -> tf.Tensor:
    """Mean over hops of the root mean squared error of each, float32 [batch]."""
    squares = tf.square(tf.reshape(target - decoded, [-1, target.shape[1] // hop, hop]))
    return tf.reduce_mean(tf.sqrt(tf.reduce_mean(squares, -1) + SQUARED_ERROR_FLOOR), 1)


def _level_losses(target: tf.Tensor, decoded: tf.Tensor, config: Config) -> tf.Tensor:
    """Squared difference of the levels of octave bands over a whole stretch, mean over bands, dB^2, float32 [batch].

    Where bits are few, an error that is as small as can be is one of too little energy, which other losses forgive.
    """
    edges = [round(hertz * 2 * config.hop / SAMPLE_RATE) for hertz in BAND_EDGES]
    levels = []
    for signals in (target, decoded):
        power = tf.reduce_mean(tf.square(mdct(signals, config.mdct_window, config.hop)), 1)
        bands = [tf.reduce_mean(power[:, low:high], 1) for low, high in pairwise(edges)]
        levels.append(tf.math.log(tf.stack(bands, 1) + LEVEL_FLOOR) * (10 / math.log(10)))
    return tf.reduce_mean(tf.square(levels[1] - levels[0]), 1)
