"""Rate control: tau, the weight of the entropy in the loss, steers every module to its target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Part, Stage
from kinds.samples.rate import GAIN_BITS_PER_FRAME, bits_per_frame, kilobits_per_second
from options.config import Config
from training.losses.replicas import sum_over_replicas

COUNT_MEMORY = 0.95  # share of the symbol counts that survives a step: a window of about 20 steps
LARGEST_RISE, LARGEST_FALL = 0.4, 1.0  # relative rate errors beyond which tau acts no harder, above and below target
PROPORTIONAL_INTERVALS = 16.0  # the error acts at once as it would build up in that many intervals: damps the loop
# The original's rise of tau above the target, its fall below it, and the bits per symbol above it that it tolerates.
ORIGINAL_STEPS_WITH_LPC = (0.015, 0.045, 0.05)
ORIGINAL_STEPS_WITHOUT = (0.015, 0.015, 0.0)
DEAD_BITS = 0.02  # bits per symbol below which a codec sends nothing
LEAST_TARGET = 0.1  # bits per symbol that a codec aims at where LPC alone takes all of target_kbps


class RateController(tf.Module):
    """One tau for each module; the LSFs count with the first codec, unless nothing but codes is to be paid for.

    With a joint budget there is one weight T for the entropy of all that the stage uses, weighted by counts of symbols,
    and one target. It is kept as the modules' shares of it, T times their share of the symbols, so that the objective
    is the same sum, and finetuning may start from the greedy stages' taus, of which T is the sum.

    The rate is measured on hard symbols of the training batches, as entropy of their decaying counts, and corrected
    by what validation files really cost with the averaged weights. All state is in variables, for checkpoints.
    """

    def __init__(self, config: Config, stage: Stage, parts: Sequence[Part]) -> None:
        super().__init__()
        self.config = config
        self.stage = stage
        self.parts = list(parts)[: len(parts) - config.num_modules + stage.depth]
        self.counts = [tf.Variable(tf.zeros([part.shape[1], part.alphabet]), trainable=False) for part in self.parts]
        self.tau = tf.Variable(tf.fill([config.num_modules], float(config.coefficients[3])), trainable=False)
        self.integral = tf.Variable(self.tau)
        self.correction = tf.Variable(tf.ones([config.num_modules]), trainable=False)
        self.is_joint = config.budget == "joint"

    def begin_from(self, taus: Sequence[float]) -> None:
        """Starts the first modules at the weights that steered them when they were last trained."""
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
            counts.assign(COUNT_MEMORY * counts + new)

    def measured_bits(self) -> NDArray[np.float64]:
        """Bits per frame of every part on training batches, from the decaying counts."""
        return np.array(
            [_entropy(counts.numpy()) * part.shape[0] for part, counts in zip(self.parts, self.counts, strict=True)]
        )

    def expected_module_bits(self) -> NDArray[np.float64]:
        """Bits per frame of every module in use, corrected by validation; LSFs with the first, if counted."""
        return self._by_module(self.measured_bits()) * self.correction.numpy()[: self.stage.depth]

    def target_module_bits(self) -> NDArray[np.float64]:
        """Bits per frame that every module in use should cost; LSFs with the first."""
        symbols = self.symbols_per_frame()
        if not self.config.target_kbps:
            per_module = (
                self.config.target_entropy_per_module or (self.config.target_entropy,) * self.config.num_modules
            )
            return symbols * np.array(per_module[: self.stage.depth])
        lpc = self._lpc_bits()
        codes = bits_per_frame(self.config.target_kbps) - GAIN_BITS_PER_FRAME - lpc
        target = np.maximum(codes / self.config.num_modules, LEAST_TARGET * symbols)
        target[0] += lpc if self.config.lsf_terms else 0.0
        return target

    def symbols_per_frame(self) -> NDArray[np.float64]:
        """Symbols per frame of every module in use; LSFs with the first."""
        return self._by_module(np.array([float(np.prod(part.shape)) for part in self.parts]))

    def total_bits(self) -> tuple[float, float]:
        """Bits per frame of LPC and codes together: expected, and the target."""
        uncounted = 0.0 if self.config.lsf_terms else self._lpc_bits()
        return self.expected_module_bits().sum() + uncounted, self.target_module_bits().sum() + uncounted

    def validated(self, bits: Sequence[float]) -> None:
        """Learns from validation files what every part really costs, in bits per frame."""
        real, measured = self._by_module(np.array(bits)), self._by_module(self.measured_bits())
        ratio = np.ones(self.config.num_modules, np.float32)
        ratio[: self.stage.depth] = np.clip(real / np.maximum(measured, 1e-6), 0.6, 1.25)
        self.correction.assign(ratio)

    def steer(self) -> None:
        """Closed loop: moves tau of the trained modules by the relative error of their rate, or of the whole one."""
        if self.config.tau_controller != "closed_loop":
            return
        found, target = self._budgets(self.expected_module_bits()), self._budgets(self.target_module_bits())
        # bounded: a sudden large tau collapses codes that start far above target
        error = self._weights() * np.clip(found / target - 1, -LARGEST_FALL, LARGEST_RISE)
        self._move(self.config.tau_step * error)
        self._set_tau(self.integral.numpy()[: self.stage.depth] + PROPORTIONAL_INTERVALS * self.config.tau_step * error)

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
        self._move(self._weights() * np.where(error > tolerance, rise, np.where(error < 0, -fall, 0.0)))
        self._set_tau(self.integral.numpy()[: self.stage.depth])

    def readings(self) -> dict[str, float]:
        """What bar and journal show of the rate."""
        trained, symbols = self.stage.depth - 1, self.symbols_per_frame()
        found_in_all, wanted_in_all = self.total_bits()
        return {
            "bits_per_symbol": self.expected_module_bits()[trained] / symbols[trained],
            "target_bits_per_symbol": self.target_module_bits()[trained] / symbols[trained],
            "kbps": kilobits_per_second(found_in_all),
            "target_kbps": kilobits_per_second(wanted_in_all),
            "tau": float(self.tau[trained]),
        }

    def correct(self, bits: Sequence[float], overhead: float) -> bool:
        """Nothing to correct in a finished model: its quantisers have no step sizes."""
        return False

    def dead_modules(self) -> list[int]:
        """Trained modules (from 0) whose codes have collapsed to one value."""
        codes = self.parts[-self.stage.depth :]
        counts = self.counts[-self.stage.depth :]
        per_symbol = [_entropy(each.numpy()) / part.shape[1] for part, each in zip(codes, counts, strict=True)]
        return [module for module in self.stage.trained if per_symbol[module] < DEAD_BITS]

    def _move(self, change: NDArray[np.float64]) -> None:
        integral, trained = self.integral.numpy(), list(self.stage.trained)
        integral[trained] += change[trained]
        self.integral.assign(integral)

    def _set_tau(self, values: NDArray[np.float64]) -> None:
        tau, trained = self.tau.numpy(), list(self.stage.trained)
        tau[trained] = values[trained]
        self.tau.assign(tau)

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

    def _lpc_bits(self) -> float:
        return 0.0 if self.config.time_domain else float(self.measured_bits()[0])

    def _by_module(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        codes = values[-self.stage.depth :].copy()
        if self.config.lsf_terms:
            codes[0] += values[: -self.stage.depth].sum()
        return codes


def symbol_counts(part: Part, symbols: tf.Tensor) -> tf.Tensor:
    """How often each channel takes each value: int32 [batch, positions, channels] -> float32 [channels, alphabet]."""
    channels = part.shape[1]
    # TensorFlow adds int32 on the host only, and its bincount looks there for the largest value.
    values = tf.cast(tf.reshape(symbols, [-1, channels]), tf.int64)
    flat = tf.reshape(values + part.alphabet * np.arange(channels), [-1])
    counts = tf.math.unsorted_segment_sum(tf.ones_like(flat, tf.float32), flat, channels * part.alphabet)
    return tf.reshape(counts, [channels, part.alphabet])


def _entropy(counts: NDArray[np.float32]) -> float:
    """Bits of one symbol of every channel: the sum over channels of the entropy of their counts."""
    counts = counts.astype(np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-30)
    return float(-np.sum(shares * np.log2(np.maximum(shares, 1e-30))))
