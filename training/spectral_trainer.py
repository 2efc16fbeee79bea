"""A stage of training of a spectral cascade, and its scores on validation speakers."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from measures.measures import score
from nn_core_operator import networks_compute_in
from nsc.entropy.entropy_model import Tables
from spectral.cascade import SpectralCascade
from spectral.envelope import SPECTRA_PER_FRAME
from spectral.framing import file_batch, signal_of
from training.objective import Losses
from training.spectral_objective import (
    LARGEST_OFFSET,
    WIDENING_STEPS,
    Draw,
    spectral_objective,
    stretch_samples,
    training_batch,
)
from training.spectral_rate import SpectralRateController
from training.stage_trainer import StageTrainer
from training.validation import Validation, ValidationSet, means

VALIDATION_GROUP = 16  # frames


class SpectralStageTrainer(StageTrainer):
    """A stage whose batches are stretches of speech, coded on the lapped spectrum."""

    cascade: SpectralCascade
    second_moment = 0.99  # gradients grow and shrink with the offsets that a step draws

    def tables(self, num_steps: int) -> Tables:
        """None: the coder's tables come with its contexts."""
        return {}

    def context_tables(self, minutes: float) -> Tables:
        """The context coder of the trained rate."""
        return {}

    def readings(self) -> dict[str, float]:
        """What bar and journal show: kbps of every part, target and tau."""
        controller, rate = self.controller, self.cascade.frames_per_second / 1000
        bits, target = controller.expected_module_bits(), controller.target_module_bits()
        trained, symbols = self.stage.trained[-1], controller.symbols_per_frame()
        parts = zip(controller.parts, controller.expected_bits(), strict=True)
        return {
            "bits_per_symbol": bits[trained] / symbols[trained],
            "target_bits_per_symbol": target[trained] / symbols[trained],
            "kbps": bits.sum() * rate,
            "target_kbps": target.sum() * rate,
            "tau": float(controller.tau[trained]),
        } | {f"kbps_{part.name.replace(' ', '_')}": value * rate for part, value in parts}

    def _make_controller(self) -> Any:
        return SpectralRateController(self.cascade, self.stage)

    def _batch_form(self, *, augmented: bool) -> dict[str, Any]:
        """Levels are drawn in the step itself."""
        return {"batch_size": self._stretches, "length": stretch_samples(self.config)}

    @property
    def _stretches(self) -> int:
        return self.config.batch_size // self.config.consecutive_frames

    def _offset_range(self) -> tf.Tensor:
        """Fresh networks learn one rate first; later stages begin with all of them."""
        most = LARGEST_OFFSET if self.config.rate_range else 0.0
        if self.stage.name == "finetune":
            return tf.constant(most)
        return most * tf.minimum(1.0, tf.cast(self.step, tf.float32) / WIDENING_STEPS)

    def _forward(self, contexts: tf.Tensor, warm_up: bool) -> tuple[Losses, Any]:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = tf.stack([tf.cast(self.step, tf.int32), self.config.seed % 2**31 + 1000 * self.number])
        draw = Draw(seed, self._offset_range(), replica * (self._stretches // self.cluster.replicas), self._stretches)
        batch = training_batch(contexts, self.config, draw)
        with networks_compute_in(self.config.precision):
            output = self.cascade.call(batch, *self._decisions(warm_up))
        losses = spectral_objective(output, batch, self.cascade, self.stage, self.controller.tau, warm_up=warm_up)
        return losses, (output.bits, batch.offsets)


class SpectralValidationSet(ValidationSet):
    """A few files of validation speakers, coded whole."""

    def score(self, cascade: Any, tables: Tables, depth: int) -> Validation:
        """Scores the first `depth` codecs at the middle rate."""
        names = [part.name for part in cascade.parts(depth)]
        bits = np.zeros(len(names))
        frames = 0
        measured: list[list[dict[str, float]]] = [[] for _ in range(depth)]
        shown: list[NDArray[np.float32]] = []
        for signal in self.signals:
            batch = file_batch(signal, cascade.config, 0.0, VALIDATION_GROUP)
            output = _coded(cascade, batch, depth)
            decoded = [signal_of(each.numpy()[0], len(signal), cascade.config) for each in output[0]]
            bits += np.array(output[1])
            frames += batch.levels.shape[1] // SPECTRA_PER_FRAME
            for each, scores in zip(decoded, measured, strict=True):
                scores.append(score(signal, each).values)
            shown = shown or [signal, *decoded]
        mean_bits = bits / frames
        side, codes = mean_bits[:-depth].sum(), np.cumsum(mean_bits[-depth:])
        return Validation(
            bits_per_frame=dict(zip(names, mean_bits.tolist(), strict=True)),
            kbps=((side + codes) * cascade.frames_per_second / 1000).tolist(),
            measures=[means(scores) for scores in measured],
            soft_hard_gaps={},
            signals=shown,
        )


@tf.function(reduce_retracing=True, autograph=False)
def _coded(cascade: SpectralCascade, batch: Any, depth: int) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    output = cascade.call(batch, ["hard"] * depth, "hard")
    return output.signals, [bits[0] for bits in output.bits]
