"""A stage of training of a spectral cascade, and its scores on validation speakers."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from constants import SAMPLE_RATE
from kinds.samples.objective import Losses
from kinds.samples.rate import Tables
from kinds.spectral.cascade import SpectralCascade
from kinds.spectral.objective import (
    WIDENING_STEPS,
    Draw,
    spectral_objective,
    stretch_samples,
    training_batch,
)
from kinds.spectral.rate_fit import fit_rates
from kinds.spectral.serving import coding_model
from kinds.spectral.tables import SampleGroups
from kinds.spectral.training_symbols import TRAINED_OFFSETS, coder_of, offsets_of_format, training_symbols
from measures.measures import score
from nn_core_operator import networks_compute_in
from nsc.coding.whole import decode, encode
from nsc.entropy.spectral_coder import SpectralCoder
from nsc.format import truncate
from training.spectral_control import SpectralRateController
from training.stage_trainer import StageTrainer
from training.validation import Validation, ValidationSet, means

NO_DIGEST = "00000000"  # of a model that is not saved
RATE_FIT_STEPS = 400


class SpectralStageTrainer(StageTrainer):
    """A stage whose batches are stretches of speech, coded on the lapped spectrum."""

    cascade: SpectralCascade
    second_moment = 0.99  # gradients grow and shrink with the offsets that a step draws

    def tables(self, num_steps: int) -> Tables:
        """None: the coder's tables come with its contexts."""
        return {}

    def context_tables(self, minutes: float) -> Tables:
        """The context coder, its tables counted on that many minutes of training files."""
        return coder_of(self.cascade, self.stage.depth, self._symbols(minutes)).arrays()

    def prepare_export(self, minutes: float) -> None:
        """Fits the rate networks of the codecs that were trained once more: they lag while everything else moves."""
        if not self.stage.trained:
            return
        steps = min(RATE_FIT_STEPS, self.total_steps)
        symbols, trained = self._symbols(minutes), self.stage.trained
        fit_rates(self.cascade, symbols, offsets_of_format(), trained, steps, self.config.seed)

    def correct_rate(self, scores: Validation) -> bool:
        """Moves the step sizes to where files meet the target, unless they do; whether they were moved."""
        bits = list(scores.bits_per_frame.values())
        overhead = 1000 * scores.kbps[-1] / self.cascade.frames_per_second - sum(bits)
        return bool(self.controller.correct(bits, overhead))

    def _symbols(self, minutes: float) -> list[SampleGroups]:
        paths = [file.path for file in self.corpus.files("train")]
        return training_symbols(self.cascade, self.stage.depth, paths, minutes, self.config.seed)

    def readings(self) -> dict[str, float]:
        """What bar and journal show: kbps of every part, target and tau."""
        controller, rate = self.controller, self.cascade.frames_per_second / 1000
        bits, target = controller.expected_module_bits(), controller.target_module_bits()
        trained, symbols = self.stage.depth - 1, controller.symbols_per_frame()
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
        whole = tf.constant(TRAINED_OFFSETS if self.config.rate_range else (0.0, 0.0))
        if self.stage.name == "finetune":
            return whole
        return whole * tf.minimum(1.0, tf.cast(self.step, tf.float32) / WIDENING_STEPS)

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
    """A few files of validation speakers, coded and decoded as files."""

    def score(self, cascade: Any, tables: Tables, depth: int) -> Validation:
        """Scores the first `depth` codecs at the model's own offset."""
        coder = SpectralCoder.read(tables)
        model = coding_model(cascade, coder, NO_DIGEST)
        names = [part.name for part in cascade.parts(depth)]
        bits, sizes = np.zeros(len(names)), np.zeros(depth)
        frames = samples = 0
        measured: list[list[dict[str, float]]] = [[] for _ in range(depth)]
        shown: list[NDArray[np.float32]] = []
        for signal in self.signals:
            data = encode(signal, model)
            decoded = [decode(data, model, layers).signal for layers in range(1, depth + 1)]
            found = model.code_lengths(data).bits
            bits += [found[name].sum() for name in names]
            sizes += [len(truncate(data, layers)) for layers in range(1, depth + 1)]
            frames += model.settings.frames_of(len(signal))
            samples += len(signal)
            for each, scores in zip(decoded, measured, strict=True):
                scores.append(score(signal, each).values)
            shown = shown or [signal, *decoded]
        return Validation(
            bits_per_frame=dict(zip(names, (bits / frames).tolist(), strict=True)),
            kbps=(8 * sizes * SAMPLE_RATE / 1000 / samples).tolist(),
            measures=[means(scores) for scores in measured],
            soft_hard_gaps={},
            signals=shown,
        )
