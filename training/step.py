"""One stage of training: all that it changes, and the step that changes it."""

from __future__ import annotations

import keras
import tensorflow as tf

from cmrl import Cascade, Stage
from kinds import kind_of
from kinds.kind import Losses, Moment
from nn_core_operator import networks_compute_in
from options.config import Config
from training.distribute import Cluster
from training.losses.replicas import sum_over_replicas
from training.optimisation import FusedAdam, WeightAverage


class StageTraining:
    """Weights, optimisers, averages, tau and step of one stage."""

    def __init__(self, cascade: Cascade, stage: Stage, total_steps: int, cluster: Cluster) -> None:
        """Makes the variables that only training has.

        Args:
            cascade: whose weights are trained.
            stage: says which.
            total_steps: of the whole stage, over which the learning rate falls.
            cluster: devices that share each batch.
        """
        self.cascade, self.stage, self.cluster = cascade, stage, cluster
        self.config: Config = cascade.config
        self.kind = kind_of(self.config)
        self.number = 0 if stage.name == "first" else 99 if stage.name == "finetune" else stage.depth - 1
        variables = cascade.variables_of(stage.trained, front_end=stage.trains_front_end)
        self.codebooks = [variable for variable in variables if variable.name == "codebook"]
        self.networks = [variable for variable in variables if variable.name != "codebook"]
        self.variables = self.networks + self.codebooks
        with cluster.strategy.scope():
            rate, moments = stage.learning_rate, (self.config.adam_epsilon, self.kind.second_moment)
            self.optimizer = FusedAdam(self._schedule(rate, total_steps), *moments)
            self.optimizer.build(self.networks)
            of_codebooks = self._schedule(rate * self.config.codebook_learning_rate, total_steps)
            self.codebook_optimizer = FusedAdam(of_codebooks, *moments)
            self.codebook_optimizer.build(self.codebooks)
            self.average = WeightAverage(self.variables, self.config.ema_decay)
            self.controller = self.kind.controller(cascade, stage)
            self.step = tf.Variable(0, dtype=tf.int64)

    def train_step(self, speech: tf.Tensor, epoch: int) -> Losses:
        """One step of Adam on a batch, of which this worker has its share; all workers take it together.

        Args:
            speech: as `Kind.batch` takes it.
            epoch: number of the epoch in this stage, from 0.

        Returns:
            The losses of the whole batch before the step.
        """
        losses = self._on_replicas(self.cluster.split(speech), warm_up=epoch < self.stage.warm_up)
        return Losses(*(self.cluster.strategy.experimental_local_results(each)[0] for each in losses))

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

    def _schedule(self, rate: float, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
        if self.config.learning_rate_schedule == "constant":
            return rate
        return keras.optimizers.schedules.CosineDecay(rate, max(1, steps))
