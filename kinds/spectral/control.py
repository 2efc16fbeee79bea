"""Rate control of spectral cascades: one tau for the bits of all parts together, or one for each module."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Stage
from kinds.control import MEMORY, STEP_FALL, RateController
from kinds.spectral.cascade import SpectralCascade
from training.losses.replicas import sum_over_replicas

STEER_RATE, LARGEST_ERROR = 0.2, 0.5  # change of log tau for each relative error of the rate, in one interval
USUAL_STEPS, MOST_PACE = 800, 8.0  # of a stage: tau of a shorter one moves as much faster, at most so many times
FIRST_TAU = 3.0  # where `coeff_term` has none
TAU_RANGE = 1e-3, 1e3


class SpectralRateController(RateController):
    """Measures the context model's estimate on training batches, brought to the model's own offset."""

    def __init__(self, cascade: SpectralCascade, stage: Stage) -> None:
        config = cascade.config
        first_tau = float(config.coefficients[3]) or FIRST_TAU
        super().__init__(config, stage, cascade.parts(), cascade.frames_per_second, first_tau, cascade.move_steps)
        self.is_joint = config.budget != "modules"
        steps = stage.epochs * config.steps_per_epoch
        # a stage without a number of steps is a pass over the corpus, which is not short
        self._pace = float(np.clip(USUAL_STEPS / steps, 1.0, MOST_PACE)) if steps else 1.0
        self.bits = tf.Variable(tf.zeros([len(self.parts)]), trainable=False)
        self.correction = tf.Variable(tf.ones([len(self.parts)]), trainable=False)

    def begin_from(self, taus: Sequence[float]) -> None:
        """See `RateController`; new modules start at the tau of the last.

        A bit has the same price everywhere, and what the codec before had to come to is a better start than a number
        that knows nothing of the speech: a follower of few hundred steps would not get that far.
        """
        start = self.tau.numpy()
        start[: len(taus)] = taus
        start[len(taus) :] = taus[-1] if len(taus) else start[len(taus) :]
        self.tau.assign(start)

    def observe(self, observed: tuple[Sequence[tf.Tensor], tf.Tensor]) -> None:
        """Takes in a global training batch, of which this replica has its share.

        Args:
            observed: estimated bits [batch] of every part, and offsets [batch, spectra].
        """
        part_bits, offsets = observed
        spectra = tf.cast(tf.shape(offsets)[1], tf.float32)
        fall = tf.exp(STEP_FALL * (offsets[:, 0] - self.config.default_offset))
        weight = fall * self.config.spectra_per_frame / spectra
        signals = tf.cast(tf.shape(offsets)[0], tf.float32)
        found = tf.stack([tf.reduce_sum(bits * weight) for bits in part_bits] + [signals])
        found = sum_over_replicas(found)
        bits = found[:-1] / found[-1]
        known = tf.reduce_any(self.bits > 0)
        self.bits.assign(tf.where(known, MEMORY * self.bits + (1 - MEMORY) * bits, bits))

    def measured_bits(self) -> NDArray[np.float64]:
        """Bits per frame of every part at the model's own offset, by training's estimate."""
        return self.bits.numpy().astype(np.float64)

    def expected_bits(self) -> NDArray[np.float64]:
        """Bits per frame of every part, corrected by validation."""
        return self.measured_bits() * self.correction.numpy()

    def expected_module_bits(self) -> NDArray[np.float64]:
        return self.by_module(self.expected_bits())

    def side_bits(self) -> float:
        """See `RateController`; of LSFs and gains, corrected by validation."""
        return float(self.expected_bits()[: -self.stage.depth].sum())

    def validated(self, bits: Sequence[float]) -> None:
        self.correction.assign(np.clip(np.array(bits) / np.maximum(self.measured_bits(), 1e-6), 0.5, 1.5))

    def steer(self) -> None:
        """Moves the taus of the trained modules by the relative error of their rate, or of all rates together."""
        expected, target = self.expected_module_bits(), self.target_module_bits()
        if self.is_joint:
            error = np.full(self.stage.depth, expected.sum() / target.sum() - 1)
        else:
            error = expected / target - 1
        change = np.exp(self._pace * STEER_RATE * np.clip(error, -LARGEST_ERROR, LARGEST_ERROR))
        self.move(self.tau, np.clip(self.tau.numpy()[: self.stage.depth] * change, *TAU_RANGE))

    def readings(self) -> dict[str, float]:
        """See `RateController`; and kbps of every part."""
        bits = dict(zip((part.name.replace(" ", "_") for part in self.parts), self.expected_bits(), strict=True))
        kbps = {f"kbps_{name}": value * self.frames_per_second / 1000 for name, value in bits.items()}
        return super().readings() | kbps
