"""Final fit of a trained cascade's rate networks, alone, to the symbols of the trained networks.

In joint training the symbols keep moving; a few hundred steps on fixed symbols cost minutes and save bits in every
file, and decoded speech does not change.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from kinds.spectral.batch import group_places, warm_mask
from kinds.spectral.cascade import SpectralCascade
from kinds.spectral.rate import Known
from kinds.spectral.tables import SampleGroups
from nsc.entropy.spectral_coder import SpectralSymbols
from nsc.entropy.whole_numbers import LOG_ONE, Integers

LEARNING_RATE = 0.01  # falls to LAST_SHARE of it as a cosine
LAST_SHARE = 0.02
SPECTRA_PER_STEP = 512  # of which a step takes as many groups


def fit_rates(
    cascade: SpectralCascade,
    samples: Sequence[SampleGroups],
    offsets: Integers,
    modules: Sequence[int],
    steps: int = 400,
    seed: int = 0,
) -> list[float]:
    """Fits the rates of some codecs in place.

    Args:
        cascade: gives the rate networks and the envelope.
        samples: symbols of training speech in groups of several lengths; each step takes one length.
        offsets: what offset indices mean, see `offset_grid`.
        modules: codecs (from 0) whose rates are fitted.
        steps: of Adam.
        seed: of the choice of groups.

    Returns:
        Bits of a spectrum's indices at each step, all codecs together.
    """
    variables = [variable for module in modules for variable in cascade.rates[module].trainable_variables]
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps, alpha=LAST_SHARE)
    optimizer = keras.optimizers.Adam(schedule, beta_2=0.99)
    optimizer.build(variables)

    @tf.function(reduce_retracing=True)
    def step(symbols: SpectralSymbols, offset: tf.Tensor, warm: tf.Tensor) -> tf.Tensor:
        envelope = cascade.front_end.decode(symbols.lsf, symbols.gains)
        with tf.GradientTape() as tape:
            bits = _bits(cascade, symbols.indices, Known(envelope, offset, warm))
        optimizer.apply_gradients(zip(tape.gradient(bits, variables), variables, strict=True))
        return bits

    random = np.random.default_rng(seed)
    spectra = np.array([each.symbols.gains.size for each in samples])
    found = []
    for _ in tqdm(range(steps), desc="fitting the rate", unit="step", disable=None):
        sample = samples[random.choice(len(samples), p=spectra / spectra.sum())]
        found.append(float(step(*_batch(sample, offsets, random))))
    return found


def _batch(
    sample: SampleGroups, offsets: Integers, random: np.random.Generator
) -> tuple[SpectralSymbols, tf.Tensor, tf.Tensor]:
    spectra = sample.symbols.gains.shape[1]
    chosen = random.integers(0, len(sample.offsets), -(-SPECTRA_PER_STEP // spectra))
    offset = offsets[sample.offsets[chosen], None].repeat(spectra, 1) / LOG_ONE
    warm = warm_mask(np.broadcast_to(group_places(spectra, spectra), offset.shape))
    symbols = tf.nest.map_structure(lambda values: tf.constant(values[chosen]), sample.symbols)
    return symbols, tf.constant(offset, tf.float32), warm


def _bits(cascade: SpectralCascade, indices: Sequence[tf.Tensor], known: Known) -> tf.Tensor:
    """Of a spectrum, all codecs together."""
    below, bits = None, []
    for rate, values in zip(cascade.rates, indices, strict=False):
        values = tf.cast(values, tf.float32)
        bits.append(tf.reduce_sum(rate(values, known, below)))
        below = values
    return tf.add_n(bits) / tf.cast(tf.size(known.warm) // 2, tf.float32)
