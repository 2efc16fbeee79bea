"""Everything that one stage of training changes, and the step that changes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cmrl import Cascade, Stage
from corpus.batches import naming_faults, steps_in_epoch, training_batches
from corpus.interface import Corpus
from kinds.samples.objective import Losses, objective
from kinds.samples.rate import Tables, count_symbols, integer_tables, kilobits_per_second
from kinds.samples.serving import symbols_by_part
from kinds.samples.tables import fit_models, training_symbols
from nn_core_operator import networks_compute_in
from options.config import Config
from training.checkpoints import Checkpoints
from training.codebook_start import codes_of, k_means
from training.distribute import Cluster
from training.losses.replicas import sum_over_replicas
from training.optimisation import FusedAdam, WeightAverage
from training.rate_control import RateController
from training.validation import Validation

START_STEPS = 20  # training batches from whose codes vector codebooks start
EPOCHS_APART = 100_000  # keeps the data orders of different stages apart


class StageTrainer:
    """Everything that one stage changes, in one checkpoint: weights, optimiser, averages, tau, step."""

    second_moment = 0.999  # share of Adam's second moment that survives a step

    def __init__(
        self, cascade: Cascade, stage: Stage, corpus: Corpus, folder: Path, cluster: Cluster | None = None
    ) -> None:
        self.cascade, self.stage, self.corpus = cascade, stage, corpus
        self.cluster = cluster or Cluster()
        self.config: Config = cascade.config
        self.number = _stage_number(stage)
        self.steps_per_epoch = self.config.steps_per_epoch or steps_in_epoch(corpus, self.config.batch_size)
        variables = cascade.variables_of(stage.trained, front_end=stage.trains_front_end)
        self.codebooks = [variable for variable in variables if variable.name == "codebook"]
        self.networks = [variable for variable in variables if variable.name != "codebook"]
        self.variables = self.networks + self.codebooks
        with self.cluster.strategy.scope():
            self._make_state()
        self.checkpoint = tf.train.Checkpoint(
            cascade=cascade,
            optimizer=self.optimizer,
            codebook_optimizer=self.codebook_optimizer,
            average=self.average,
            controller=self.controller,
            step=self.step,
            **self._moved_scales(),
        )
        self.checkpoints = Checkpoints(self.checkpoint, folder / stage.name)

    def _moved_scales(self) -> dict[str, list[tf.Variable]]:
        """Softmax scales that no optimiser trains, and that move where a codebook starts from codes."""
        codecs = [self.cascade.codecs[module] for module in self.stage.trained]
        moved = [codec.quantizer.log_scale.value for codec in codecs if codec.starts_from_codes]
        return {"scales": moved} if moved else {}

    def _make_state(self) -> None:
        """The variables that only training has."""
        epsilon, rate = self.config.adam_epsilon, self.stage.learning_rate
        self.optimizer = FusedAdam(self._schedule(rate), epsilon, self.second_moment)
        self.optimizer.build(self.networks)
        codebook_rate = self._schedule(rate * self.config.codebook_learning_rate)
        self.codebook_optimizer = FusedAdam(codebook_rate, epsilon, self.second_moment)
        self.codebook_optimizer.build(self.codebooks)
        self.average = WeightAverage(self.variables, self.config.ema_decay)
        self.controller = self._make_controller()
        self.step = tf.Variable(0, dtype=tf.int64)

    def _make_controller(self) -> Any:
        return RateController(self.config, self.stage, self.cascade.parts())

    @property
    def total_steps(self) -> int:
        """Steps of the whole stage."""
        return self.stage.epochs * self.steps_per_epoch

    def resume(self) -> int:
        """Restores the newest sound checkpoint, if any, and returns the step to continue from, on all the chief's."""
        if self.cluster.is_chief:
            self.checkpoints.restore()
        moments = [*self.optimizer.variables, *self.codebook_optimizer.variables]
        steered = [*self.average.averages, *self.controller.variables, self.step]
        self.cluster.copy_from_chief([*self.cascade.variables, *moments, *steered])
        return int(self.step.numpy())

    @tf.function(autograph=False)
    def is_finite(self) -> tf.Tensor:
        """Whether all that a checkpoint of this moment would hold is made of finite numbers, a boolean scalar."""
        moments = [*self.optimizer.variables, *self.codebook_optimizer.variables]
        values = [*self.variables, *moments, *self.average.averages]
        return tf.reduce_all([tf.reduce_all(tf.math.is_finite(tf.cast(value, tf.float32))) for value in values])

    def save(self) -> None:
        """Writes a checkpoint, unless this step has one already; the chief alone does."""
        step = int(self.step.numpy())
        if self.cluster.is_chief and step not in self.checkpoints.steps[:1]:
            self.checkpoints.save(step)

    def batches(self) -> Iterator[tuple[int, tf.Tensor]]:
        """(epoch, contexts) of every step from the current one to the end: this worker's share of the batch."""
        start, share = int(self.step.numpy()), (self.cluster.worker, self.cluster.workers)
        for epoch in range(start // self.steps_per_epoch, self.stage.epochs):
            first_step = max(0, start - epoch * self.steps_per_epoch)
            if epoch == self.stage.warm_up and first_step == 0:
                self.start_codebooks()
            for contexts in self._epoch_batches(epoch, first_step, self.steps_per_epoch, share=share):
                yield epoch, contexts

    def train_step(self, contexts: tf.Tensor, epoch: int) -> Losses:
        """One step of Adam on a batch, of which this worker has its share; all workers take it together.

        Args:
            contexts: float32 [batch / workers, 1024].
            epoch: number of the epoch in this stage, from 0.

        Returns:
            The losses of the whole batch before the step.
        """
        losses = self._step(self.cluster.split(contexts), warm_up=epoch < self.stage.warm_up)
        return Losses(*(self.cluster.strategy.experimental_local_results(each)[0] for each in losses))

    @tf.function(autograph=False)
    def _step(self, contexts: tf.Tensor, warm_up: bool) -> Losses:
        return self.cluster.strategy.run(self._replica_step, args=(contexts, warm_up))

    def _replica_step(self, contexts: tf.Tensor, warm_up: bool) -> Losses:
        """What one replica does with its part of the batch; with a single one this is the whole step."""
        with tf.GradientTape() as tape:
            losses, observed = self._forward(contexts, warm_up)
            # what this replica adds to the losses of the whole batch
            shares = tf.nest.map_structure(lambda loss: loss / self.cluster.replicas, losses)
        gradients = self._dense(tape.gradient(shares.total, self.variables))
        gradients, losses = sum_over_replicas((gradients, shares))
        self.update(gradients)
        self.controller.observe(observed)
        return losses

    def _forward(self, contexts: tf.Tensor, warm_up: bool) -> tuple[Losses, Any]:
        """The losses of a batch, and what the rate controller observes of it."""
        with networks_compute_in(self.config.precision):
            output = self.cascade.call(contexts, *self._decisions(warm_up))
        lsf = output.analysis.lsf
        symbols = ([] if lsf is None else [lsf.symbols]) + [code.symbols for code in output.codes]
        return objective(output, self.cascade, self.stage, self.controller.tau, warm_up=warm_up), symbols

    def update(self, gradients: list[tf.Tensor]) -> None:
        """Applies the whole batch's gradients: clipping, Adam, averages."""
        if self.config.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.config.clip_norm)
        self.optimizer.step(gradients[: len(self.networks)], self.networks)
        self.codebook_optimizer.step(gradients[len(self.networks) :], self.codebooks)
        self.average.update(self.step)
        self.step.assign_add(1)

    def _dense(self, gradients: list[tf.Tensor | None]) -> list[tf.Tensor]:
        """A gradient for each variable: the warm-up leaves codebooks unconnected."""
        return [
            tf.zeros(variable.shape) if gradient is None else tf.convert_to_tensor(gradient)
            for gradient, variable in zip(gradients, self.variables, strict=True)
        ]

    def start_codebooks(self) -> None:
        """Where vector quantisers are to start from codes, puts their codebooks among the codes of this moment."""
        for module in self.stage.trained:
            codec = self.cascade.codecs[module]
            if not codec.starts_from_codes or self.stage.name == "finetune":  # which goes on with trained ones
                continue
            quantizer = codec.quantizer
            batches = self._epoch_batches(self.stage.epochs, 0, START_STEPS, augmented=False)
            codes = codes_of(self.cascade, module, batches)
            quantizer.restart(k_means(codes, quantizer.codebook.shape[0], self.config.seed))
            self.cluster.copy_from_chief([quantizer.codebook, quantizer.log_scale])
            self.average.restart(quantizer.codebook)

    def tables(self, num_steps: int) -> Tables:
        """Probability tables from the hard symbols of training batches, without augmentation."""
        parts = self.controller.parts
        counts = {part.name: np.zeros((part.shape[1], part.alphabet), np.int64) for part in parts}
        for contexts in self._epoch_batches(self.stage.epochs, 0, num_steps, augmented=False):
            symbols = symbols_by_part(parts, self.cascade.encode(contexts, self.stage.depth))
            for part in parts:
                counts[part.name] += count_symbols(part, symbols[part.name])
        return integer_tables(counts)

    def context_tables(self, minutes: float) -> Tables:
        """Context models from that many minutes of training files, saved along with `tables`; none from 0 minutes."""
        if not minutes:
            return {}
        paths = [file.path for file in self.corpus.files("train")]
        symbols = training_symbols(self.cascade, self.stage.depth, paths, minutes, self.config.seed)
        models = fit_models(self.cascade, self.stage.depth, symbols)
        return {key: array for name, model in models.items() for key, array in model.arrays(name).items()}

    def prepare_export(self, minutes: float) -> None:
        """Last work on a trained stage, with that many minutes of training files: none."""

    def correct_rate(self, scores: Validation) -> bool:
        """Brings a trained stage, whose files cost this, to its target; whether it did: networks on samples cannot."""
        return False

    def _epoch_batches(
        self, epoch: int, first: int, end: int, *, augmented: bool = True, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tf.Tensor]:
        batches = training_batches(
            self.corpus,
            seed=self.config.seed,
            epoch=EPOCHS_APART * self.number + epoch,
            first_step=first,
            num_steps=end,
            pre_emphasis=self.config.pre_emphasis,
            high_pass=self.config.high_pass,
            share=share,
            **self._batch_form(augmented=augmented),
        )
        with naming_faults():
            yield from batches

    def _batch_form(self, *, augmented: bool) -> dict[str, Any]:
        """What of speech makes a batch, as `training_batches` takes it."""
        return {
            "batch_size": self.config.batch_size,
            "consecutive": self.config.consecutive_frames,
            "gain_augmentation_db": self.config.gain_augmentation_db if augmented else 0.0,
        }

    def readings(self) -> dict[str, float]:
        """What bar and journal show of rate and quantisers."""
        controller, trained = self.controller, self.stage.depth - 1
        bits, target = controller.expected_module_bits(), controller.target_module_bits()
        symbols = controller.symbols_per_frame()
        found_in_all, wanted_in_all = controller.total_bits()
        return {
            "bits_per_symbol": bits[trained] / symbols[trained],
            "target_bits_per_symbol": target[trained] / symbols[trained],
            "kbps": kilobits_per_second(found_in_all),
            "target_kbps": kilobits_per_second(wanted_in_all),
            "tau": float(controller.tau[trained]),
            "alpha": float(self.cascade.codecs[trained].quantizer.alpha),
        }

    def _decisions(self, warm_up: bool) -> tuple[list[str], str]:
        """How each codec's and the LSFs' quantiser decide in training: hard wherever nothing is trained, as a rule."""
        trained = "bypass" if warm_up else self.config.quantizer_gradient
        frozen = self.config.frozen_codecs
        codes = [trained if module in self.stage.trained else frozen for module in range(self.stage.depth)]
        return codes, trained if self.stage.trains_front_end else frozen

    def _schedule(self, rate: float) -> float | keras.optimizers.schedules.LearningRateSchedule:
        if self.config.learning_rate_schedule == "constant":
            return rate
        return keras.optimizers.schedules.CosineDecay(rate, max(1, self.total_steps))


def _stage_number(stage: Stage) -> int:
    return 0 if stage.name == "first" else 99 if stage.name == "finetune" else stage.depth - 1
