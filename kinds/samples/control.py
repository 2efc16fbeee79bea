"""Rate control of cascades on samples: the closed loop on tau, and the first implementation's rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Stage
from kinds.control import MEMORY, RateController
from kinds.samples.rate import FRAMES_PER_SECOND, GAIN_BITS_PER_FRAME, channels_entropy
from nsc.kinds.samples.network import Part
from options.config import Config
from training.losses.replicas import sum_over_replicas

LARGEST_RISE, LARGEST_FALL = 0.4, 1.0  # relative rate errors beyond which tau acts no harder, above and below target
FILES_OVER_BATCHES = 0.25, 1.25  # bounds of what files cost over what batches do: files have pauses and contexts
PROPORTIONAL_INTERVALS = 16.0  # the error acts at once as it would build up in that many intervals: damps the loop
# The original's rise of tau above the target, its fall below it, and the bits per symbol above it that it tolerates.
ORIGINAL_STEPS_WITH_LPC = (0.015, 0.045, 0.05)
ORIGINAL_STEPS_WITHOUT = (0.015, 0.015, 0.0)


class SymbolRateController(RateController):
    """Measures hard symbols of the training batches, as entropy of their decaying counts.

    With a joint budget there is one weight T for the entropy of all that the stage uses, weighted by counts of symbols,
    and one target. It is kept as the modules' shares of it, T times their share of the symbols, so that the objective
    is the same sum, and finetuning may start from the greedy stages' taus, of which T is the sum.
    """

    unmeasured_bits = GAIN_BITS_PER_FRAME

    def __init__(
        self,
        config: Config,
        stage: Stage,
        parts: Sequence[Part],
        move_steps: Callable[[Sequence[float]], None] | None = None,
    ) -> None:
        moves = move_steps if config.tau_controller == "closed_loop" else None
        super().__init__(config, stage, parts, FRAMES_PER_SECOND, float(config.coefficients[3]), moves)
        self.counts = [tf.Variable(tf.zeros([part.shape[1], part.alphabet]), trainable=False) for part in self.parts]
        self.integral = tf.Variable(self.tau)  # to which tau adds what the present error asks for
        self.correction = tf.Variable(tf.ones([config.num_modules]), trainable=False)

    def begin_from(self, taus: Sequence[float]) -> None:
        start = self.tau.numpy()
        start[: len(taus)] = taus
        if self.is_joint:
            depth = self.stage.depth
            start[:depth] = start[:depth].sum() * self._shares()
        self.tau.assign(start)
        self.integral.assign(start)

    def observe(self, symbols: Sequence[tf.Tensor]) -> None:
        """Counts the hard symbols of a global training batch.

        Args:
            symbols: int32 [batch, positions, channels] of each part, this replica's share.
        """
        batch = [symbol_counts(part, values) for part, values in zip(self.parts, symbols, strict=True)]
        for counts, new in zip(self.counts, sum_over_replicas(batch), strict=True):
            counts.assign(MEMORY * counts + new)

    def measured_bits(self) -> NDArray[np.float64]:
        """Bits per frame of every part on training batches, from the decaying counts."""
        return np.array(
            [
                channels_entropy(counts.numpy()) * part.shape[0]
                for part, counts in zip(self.parts, self.counts, strict=True)
            ]
        )

    def expected_module_bits(self) -> NDArray[np.float64]:
        return self.by_module(self.measured_bits()) * self.correction.numpy()[: self.stage.depth]

    def side_bits(self) -> float:
        """See `RateController`; of the LSFs."""
        return 0.0 if self.config.time_domain else float(self.measured_bits()[0])

    def validated(self, bits: Sequence[float]) -> None:
        real, measured = self.by_module(np.array(bits)), self.by_module(self.measured_bits())
        ratio = np.ones(self.config.num_modules, np.float32)
        ratio[: self.stage.depth] = np.clip(real / np.maximum(measured, 1e-6), *FILES_OVER_BATCHES)
        self.correction.assign(ratio)

    def steer(self) -> None:
        """Closed loop: moves tau of the trained modules by the relative error of their rate, or of the whole one."""
        if self.config.tau_controller != "closed_loop":
            return
        found, target = self._budgets(self.expected_module_bits()), self._budgets(self.target_module_bits())
        # bounded: a sudden large tau collapses codes that start far above target
        error = self._weights() * np.clip(found / target - 1, -LARGEST_FALL, LARGEST_RISE)
        self._add(self.config.tau_step * error)
        now = self.integral.numpy()[: self.stage.depth]
        self.move(self.tau, now + PROPORTIONAL_INTERVALS * self.config.tau_step * error)

    def end_epoch(self) -> None:
        """The original's rule, once an epoch: small steps against the error, with a tolerance on the LPC path."""
        if self.config.tau_controller != "original":
            return
        without = self.config.time_domain
        rise, fall, tolerance = self.config.tau_epoch_steps or (
            ORIGINAL_STEPS_WITHOUT if without else ORIGINAL_STEPS_WITH_LPC
        )
        symbols = self._budgets(self.symbols_per_frame())
        error = (self._budgets(self.expected_module_bits()) - self._budgets(self.target_module_bits())) / symbols
        self._add(self._weights() * np.where(error > tolerance, rise, np.where(error < 0, -fall, 0.0)))
        self.move(self.tau, self.integral.numpy())

    def _add(self, change: NDArray[np.float64]) -> None:
        integral, trained = self.integral.numpy(), list(self.stage.trained)
        integral[trained] += change[trained]
        self.integral.assign(integral)

    def _budgets(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is steered together, from values of the modules in use: each one's own, or all of them."""
        return np.full_like(values, values.sum()) if self.is_joint else values

    def _weights(self) -> NDArray[np.float64]:
        """How a change of tau falls on the modules in use: whole on each, or T's by their shares."""
        return self.stage.depth * self._shares() if self.is_joint else np.ones(self.stage.depth)

    def _shares(self) -> NDArray[np.float64]:
        """Each module's share of the symbols that are paid for."""
        symbols = self.symbols_per_frame()
        return symbols / symbols.sum()


def symbol_counts(part: Part, symbols: tf.Tensor) -> tf.Tensor:
    """How often each channel takes each value: int32 [batch, positions, channels] -> float32 [channels, alphabet]."""
    channels = part.shape[1]
    # TensorFlow adds int32 on the host only, and its bincount looks there for the largest value.
    values = tf.cast(tf.reshape(symbols, [-1, channels]), tf.int64)
    flat = tf.reshape(values + part.alphabet * np.arange(channels), [-1])
    counts = tf.math.unsorted_segment_sum(tf.ones_like(flat, tf.float32), flat, channels * part.alphabet)
    return tf.reshape(counts, [channels, part.alphabet])
