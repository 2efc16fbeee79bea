"""One stage of training: all that it changes, the step that changes it, and the checkpoints that keep it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import tensorflow as tf

from cmrl import Cascade, Stage
from corpus.interface import Corpus
from kinds import kind_of
from kinds.kind import Losses, Moment, Tables
from nn_core_operator import networks_compute_in
from options.config import Config
from training.checkpoints import Checkpoints
from training.codebook_start import START_STEPS, codes_of, k_means
from training.distribute import Cluster
from training.losses.replicas import sum_over_replicas
from training.optimisation import FusedAdam, WeightAverage
from training.stage_speech import StageSpeech


class StageTrainer:
    """Weights, optimisers, averages, tau and step of one stage, which takes its batches from a corpus."""

    def __init__(
        self, cascade: Cascade, stage: Stage, corpus: Corpus, folder: Path, cluster: Cluster | None = None
    ) -> None:
        """Makes the variables that only training has.

        Args:
            cascade: whose weights are trained.
            stage: says which.
            corpus: what they are trained on.
            folder: gets a folder of checkpoints, named as the stage.
            cluster: devices that share each batch; None for one device.
        """
        self.cascade, self.stage, self.cluster = cascade, stage, cluster or Cluster()
        self.config: Config = cascade.config
        self.kind = kind_of(self.config)
        self.number = 0 if stage.name == "first" else 99 if stage.name == "finetune" else stage.depth - 1
        self.speech = StageSpeech(corpus, self.config, stage, self.number)
        self.steps_per_epoch, self.total_steps = self.speech.steps_per_epoch, self.speech.total_steps
        variables = cascade.variables_of(stage.trained, front_end=stage.trains_front_end)
        self.codebooks = [variable for variable in variables if variable.name == "codebook"]
        self.networks = [variable for variable in variables if variable.name != "codebook"]
        self.variables = self.networks + self.codebooks
        with self.cluster.strategy.scope():
            rate, moments = stage.learning_rate, (self.config.adam_epsilon, self.kind.second_moment)
            self.optimizer = FusedAdam(self._schedule(rate), *moments)
            self.optimizer.build(self.networks)
            of_codebooks = self._schedule(rate * self.config.codebook_learning_rate)
            self.codebook_optimizer = FusedAdam(of_codebooks, *moments)
            self.codebook_optimizer.build(self.codebooks)
            self.average = WeightAverage(self.variables, self.config.ema_decay)
            self.controller = self.kind.controller(cascade, stage)
            self.step = tf.Variable(0, dtype=tf.int64)
        kept = {name: getattr(self, name) for name in ("optimizer", "codebook_optimizer", "average", "controller")}
        checkpoint = tf.train.Checkpoint(cascade=cascade, step=self.step, **kept, **self._moved_scales())
        self.checkpoints = Checkpoints(checkpoint, folder / stage.name)

    def _moved_scales(self) -> dict[str, list[tf.Variable]]:
        """Softmax scales that no optimiser trains, and that move where a codebook starts from codes."""
        codecs = [self.cascade.codecs[module] for module in self.stage.trained]
        moved = [codec.quantizer.log_scale.value for codec in codecs if codec.starts_from_codes]
        return {"scales": moved} if moved else {}

    def train_step(self, speech: tf.Tensor, epoch: int) -> Losses:
        """One step of Adam on a batch, of which this worker has its share; all workers take it together.

        Args:
            speech: as `Kind.batch` takes it.
            epoch: number of the epoch in this stage, from 0.

        Returns:
            The losses of the whole batch before the step.
        """
        losses = self._on_replicas(self.cluster.split(speech), warm_up=epoch < self.stage.warm_up)
        return tf.nest.map_structure(lambda each: self.cluster.strategy.experimental_local_results(each)[0], losses)

    @tf.function(autograph=False)
    def _on_replicas(self, speech: tf.Tensor, warm_up: bool) -> Losses:
        return self.cluster.strategy.run(self._step, args=(speech, warm_up))

    def _step(self, speech: tf.Tensor, warm_up: bool) -> Losses:
        """A replica's part of the step: forward, objective, gradient, clip, Adam, average."""
        batch = self.kind.batch(speech, self.config, self._moment())
        with tf.GradientTape() as tape:
            with networks_compute_in(self.config.precision):
                output = self.cascade.call(batch, *self.decisions(warm_up=warm_up))
            tau = self.controller.tau
            losses = self.kind.losses(output, batch, self.cascade, self.stage, tau, warm_up=warm_up)
            # what this replica adds to the losses of the whole batch
            shares = tf.nest.map_structure(lambda loss: loss / self.cluster.replicas, losses)
        gradients = self._dense(tape.gradient(shares.total, self.variables))
        gradients, losses = sum_over_replicas((gradients, shares))
        if self.config.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.config.clip_norm)
        self.optimizer.step(gradients[: len(self.networks)], self.networks)
        self.codebook_optimizer.step(gradients[len(self.networks) :], self.codebooks)
        self.average.update(self.step)
        self.step.assign_add(1)
        self.controller.observe(self.kind.observed(output, batch))
        return losses

    def decisions(self, *, warm_up: bool) -> tuple[list[str], str]:
        """How each codec's and the LSFs' quantiser decide in training: hard wherever nothing is trained, as a rule."""
        trained = "bypass" if warm_up else self.config.quantizer_gradient
        frozen = self.config.frozen_codecs
        codes = [trained if module in self.stage.trained else frozen for module in range(self.stage.depth)]
        return codes, trained if self.stage.trains_front_end else frozen

    @tf.function(autograph=False)
    def is_finite(self) -> tf.Tensor:
        """Whether all that a checkpoint of this moment would hold is made of finite numbers, a boolean scalar."""
        moments = [*self.optimizer.variables, *self.codebook_optimizer.variables]
        values = [*self.variables, *moments, *self.average.averages]
        return tf.reduce_all([tf.reduce_all(tf.math.is_finite(tf.cast(value, tf.float32))) for value in values])

    def _moment(self) -> Moment:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return Moment(self.step, self.stage, self.number, replica, self.cluster.replicas)

    def _dense(self, gradients: list[tf.Tensor | None]) -> list[tf.Tensor]:
        """A gradient for each variable: the warm-up leaves codebooks unconnected."""
        return [
            tf.zeros(variable.shape) if gradient is None else tf.convert_to_tensor(gradient)
            for gradient, variable in zip(gradients, self.variables, strict=True)
        ]

    def _schedule(self, rate: float) -> float | keras.optimizers.schedules.LearningRateSchedule:
        if self.config.learning_rate_schedule == "constant":
            return rate
        return keras.optimizers.schedules.CosineDecay(rate, max(1, self.total_steps))

    def resume(self) -> int:
        """Restores the newest sound checkpoint, if any, and returns the step to continue from, on all the chief's."""
        if self.cluster.is_chief:
            self.checkpoints.restore()
        moments = [*self.optimizer.variables, *self.codebook_optimizer.variables]
        steered = [*self.average.averages, *self.controller.variables, self.step]
        self.cluster.copy_from_chief([*self.cascade.variables, *moments, *steered])
        return int(self.step.numpy())

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
            for contexts in self.speech.epoch(epoch, first_step, self.steps_per_epoch, share=share):
                yield epoch, contexts

    def start_codebooks(self) -> None:
        """Where vector quantisers are to start from codes, puts their codebooks among the codes of this moment."""
        for module in self.stage.trained:
            codec = self.cascade.codecs[module]
            if not codec.starts_from_codes or self.stage.name == "finetune":  # which goes on with trained ones
                continue
            quantizer = codec.quantizer
            batches = self.speech.epoch(self.stage.epochs, 0, START_STEPS, augmented=False)
            codes = codes_of(self.cascade, module, batches)
            quantizer.restart(k_means(codes, quantizer.codebook.shape[0], self.config.seed))
            self.cluster.copy_from_chief([quantizer.codebook, quantizer.log_scale])
            self.average.restart(quantizer.codebook)

    def tables(self, num_steps: int, minutes: float, *, final: int = 0) -> Tables:
        """Probability tables of this moment's cascade.

        Args:
            num_steps: batches to count, without augmentation.
            minutes: of training files for contexts.
            final: steps in which the rate is fitted once more on them; 0 while training goes on.
        """
        return self.kind.tables(self.cascade, self.stage, self.speech.for_tables(num_steps, minutes, final=final))

    def readings(self) -> dict[str, float]:
        """What bar and journal show of rate and quantisers."""
        quantizer = self.cascade.codecs[self.stage.depth - 1].quantizer
        softness = {"alpha": float(quantizer.alpha)} if hasattr(quantizer, "alpha") else {}
        return self.controller.readings() | softness
