"""Rate control: tau, the weight of the bits in the loss, steers every codec to its target, in every kind of network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Stage
from nsc.kinds.samples.network import Part
from options.config import Config

MEMORY = 0.95  # share of what was measured that survives a step: a window of about 20 steps
DEAD_BITS = 0.02  # bits per symbol below which a codec sends nothing
LEAST_TARGET = 0.1  # bits per symbol that a codec aims at where side information alone takes all of target_kbps
STEP_FALL = 0.85  # bits fall about as the step size of a quantiser to the power of -0.85
RATE_CORRECTIONS = 6  # of a finished model, at most: each counts its tables anew
LARGEST_STEP_CHANGE = 0.5  # of the logarithm of a finished model's step sizes, where nothing bounds it
ON_TARGET = 0.01  # relative error of a finished model's rate that is left alone
FALLS = 0.3, 3.0  # bounds of the fall of bits with the log step, as a correction of a finished model shows it


class _Tried(NamedTuple):
    """Logarithms of a finished model's step sizes over those of training, and of its bits over those it should cost."""

    steps: NDArray[np.float64]
    beyond: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Of the codec that is furthest off."""
        return float(np.abs(self.beyond).max())


class RateController(tf.Module):
    """One tau for each module; side information (LSFs, gains) counts with the first, unless codes alone are paid for.

    A kind says how it measures bits, and how it moves tau. All state is in variables, for checkpoints.
    """

    unmeasured_bits = 0.0  # per frame, of what every frame costs beside the parts

    def __init__(
        self,
        config: Config,
        stage: Stage,
        parts: Sequence[Part],
        frames_per_second: float,
        first_tau: float,
        move_steps: Callable[[Sequence[float]], None] | None = None,
    ) -> None:
        """Makes the taus.

        Args:
            config: of the run, with the target.
            stage: in training.
            parts: of the whole cascade, those of the codecs last.
            frames_per_second: of the kind.
            first_tau: of every module.
            move_steps: adds a number for each of the first codecs to the logarithm of its step size; None: they stay.
        """
        super().__init__()
        self._move_steps = move_steps
        self.is_joint = config.budget == "joint"
        self._steps = np.zeros(stage.depth)
        self._tried: list[_Tried] = []
        self._is_settled = False
        self.config, self.stage, self.frames_per_second = config, stage, frames_per_second
        self.parts = list(parts)[: len(parts) - config.num_modules + stage.depth]
        self.tau = tf.Variable(tf.fill([config.num_modules], first_tau), trainable=False)
        self.integral = self.tau  # the taus at which training has arrived, for a later stage to go on from
        self.found = tf.Variable(tf.zeros([len(self.parts)]), trainable=False)  # see `expect`

    def begin_from(self, taus: Sequence[float]) -> None:
        """Starts the first modules at the taus that steered them when they were last trained."""
        raise NotImplementedError

    def observe(self, observed: Any) -> None:
        """Takes in what `Kind.observed` gives of a global training batch, of which this replica has its share."""
        raise NotImplementedError

    def measured_bits(self) -> NDArray[np.float64]:
        """Bits per frame of every part on training batches."""
        raise NotImplementedError

    def expected_module_bits(self) -> NDArray[np.float64]:
        """Bits per frame of every module in use, corrected by validation."""
        raise NotImplementedError

    def side_bits(self) -> float:
        """Bits per frame of the side information."""
        raise NotImplementedError

    def validated(self, bits: Sequence[float]) -> None:
        """Learns from validation files what every part really costs, in bits per frame."""
        raise NotImplementedError

    def expect(self, bits: Sequence[float]) -> None:
        """Takes what files cost before a stage's first step; `control` corrects by it once batches are measured."""
        self.found.assign(bits)

    def control(self) -> None:
        """Every few steps: steers by rates that are corrected by files from the first move on."""
        if np.any(self.found):
            self.validated(self.found.numpy().tolist())
            self.found.assign(tf.zeros_like(self.found))
        self.steer()

    def steer(self) -> None:
        """Moves the taus of the trained modules."""
        raise NotImplementedError

    def end_epoch(self) -> None:
        """Moves tau where that happens once an epoch."""

    def correct(self, bits: Sequence[float], overhead: float) -> bool:
        """Brings a finished model to its target by the step sizes of its quantisers, unless its rate is right already.

        Of all that it tries the nearest remains. It gives up where a change leads further away and none has
        crossed the target.

        Args:
            bits: per frame, what every part costs in files.
            overhead: bits per frame of everything else in them.

        Returns:
            Whether the model was changed.
        """
        if not self._move_steps or self._is_settled:
            return False
        self._tried.append(_Tried(self._steps, self._beyond_target(np.array(bits), overhead)))
        best = min(self._tried, key=lambda tried: tried.error)
        self._is_settled = best.error < ON_TARGET or len(self._tried) > RATE_CORRECTIONS or self._is_astray()
        wanted = best.steps if self._is_settled else np.array([self._next(each) for each in range(self.stage.depth)])
        changes, self._steps = wanted - self._steps, wanted
        if np.any(changes):
            self._move_steps(changes.tolist())
        return bool(np.any(changes))

    def _is_astray(self) -> bool:
        """Whether changes lead ever further away on one side, as where codes beyond the last entry become it."""
        worst = int(np.argmax(np.abs(self._tried[-1].beyond)))
        beyond = [each.beyond[worst] for each in self._tried]
        return bool(len(beyond) > 1 and min(beyond) * max(beyond) > 0 and abs(beyond[-1]) > abs(beyond[-2]))

    def _next(self, module: int) -> float:
        """The logarithm of a codec's step between the last two on either side of its target, else as bits have fallen.

        Bits may rise and fall with steps where single entries take most of the codes, but they cross the target.
        """
        *earlier, (step, beyond) = [(each.steps[module], each.beyond[module]) for each in self._tried]
        for other, there in reversed(earlier):
            if beyond * there < 0:
                return float(step + (other - step) * beyond / (beyond - there))
        fall = STEP_FALL
        if earlier and abs(step - earlier[-1][0]) > 0.02:
            fall = np.clip((earlier[-1][1] - beyond) / (step - earlier[-1][0]), *FALLS)
        return float(step + np.clip(beyond / fall, -LARGEST_STEP_CHANGE, LARGEST_STEP_CHANGE))

    def _beyond_target(self, bits: NDArray[np.float64], overhead: float) -> NDArray[np.float64]:
        """Logarithm of each codec's bits over those that it should cost, 0 for those that are not trained."""
        codes, side = bits[-self.stage.depth :], bits[: -self.stage.depth].sum()
        side += overhead - self.unmeasured_bits if self.config.target_kbps else 0.0
        beyond, wanted, trained = np.zeros(self.stage.depth), self.target_module_bits(side), list(self.stage.trained)
        if not trained:
            return beyond
        wanted[0] -= side if self.config.lsf_terms else 0.0
        if self.is_joint:  # what is trained makes up for what is not
            others = codes.sum() - codes[trained].sum()
            wanted = codes * (wanted.sum() - others) / codes[trained].sum()
        beyond[trained] = np.log(np.maximum(codes, 1e-6) / np.maximum(wanted, 1e-6))[trained]
        return beyond

    def target_module_bits(self, side: float | None = None) -> NDArray[np.float64]:
        """Bits per frame that every module in use should cost.

        Args:
            side: bits per frame of the side information; None for what is measured.
        """
        config, symbols = self.config, self.symbols_per_frame()
        if not config.target_kbps:
            per_module = config.target_entropy_per_module or (config.target_entropy,) * config.num_modules
            return symbols * np.array(per_module[: self.stage.depth])
        side = self.side_bits() if side is None else side
        codes = config.target_kbps * 1000 / self.frames_per_second - self.unmeasured_bits - side
        target = np.maximum(codes / config.num_modules, LEAST_TARGET * symbols)
        target[0] += side if config.lsf_terms else 0.0
        return target

    def symbols_per_frame(self) -> NDArray[np.float64]:
        """Symbols per frame of every module in use."""
        return self.by_module(np.array([float(np.prod(part.shape)) for part in self.parts]))

    def total_bits(self) -> tuple[float, float]:
        """Bits per frame of all that is measured: expected, and the target."""
        uncounted = 0.0 if self.config.lsf_terms else self.side_bits()
        return self.expected_module_bits().sum() + uncounted, self.target_module_bits().sum() + uncounted

    def readings(self) -> dict[str, float]:
        """What bar and journal show of the rate."""
        trained, symbols, kbps = self.stage.depth - 1, self.symbols_per_frame(), self.frames_per_second / 1000
        found_in_all, wanted_in_all = self.total_bits()
        return {
            "bits_per_symbol": self.expected_module_bits()[trained] / symbols[trained],
            "target_bits_per_symbol": self.target_module_bits()[trained] / symbols[trained],
            "kbps": found_in_all * kbps,
            "target_kbps": wanted_in_all * kbps,
            "tau": float(self.tau[trained]),
        }

    def dead_modules(self) -> list[int]:
        """Trained modules (from 0) that send next to nothing."""
        depth = self.stage.depth
        sizes = np.array([float(np.prod(part.shape)) for part in self.parts[-depth:]])
        per_symbol = self.measured_bits()[-depth:] / sizes
        return [module for module in self.stage.trained if per_symbol[module] < DEAD_BITS]

    def by_module(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of every part as values of every module in use."""
        codes = values[-self.stage.depth :].copy()
        codes[0] += values[: -self.stage.depth].sum() if self.config.lsf_terms else 0.0
        return codes

    def move(self, variable: tf.Variable, values: NDArray[np.float64]) -> None:
        """Gives a variable [modules] the values of the trained modules; others keep theirs."""
        moved, trained = variable.numpy(), list(self.stage.trained)
        moved[trained] = values[trained]
        variable.assign(moved)
