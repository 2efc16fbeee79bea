"""Fused Adam and the exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import tensorflow as tf


class FusedAdam(keras.optimizers.Adam):
    """Adam (Kingma and Ba, 2015) in one operation per variable, where Keras takes a dozen.

    Its moments are where Keras keeps them, so that a checkpoint serves both.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        epsilon: float = 1e-7,
        beta_2: float = 0.999,
    ) -> None:
        super().__init__(learning_rate, beta_2=beta_2, epsilon=epsilon)

    def step(self, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]) -> None:
        """A step by gradients that all replicas have in common; Keras's own `apply` would add them up once more."""
        number = tf.cast(self.iterations.value + 1, tf.float32)
        powers = {"beta1_power": self.beta_1**number, "beta2_power": self.beta_2**number}
        rate = tf.convert_to_tensor(self.learning_rate)
        constants = {"beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon}
        for gradient, variable in zip(gradients, variables, strict=True):
            place = self._get_variable_index(variable)
            moved = {"var": variable, "m": self._momentums[place], "v": self._velocities[place]}
            handles = {name: each.value.handle for name, each in moved.items()}
            tf.raw_ops.ResourceApplyAdam(**handles, **powers, **constants, lr=rate, grad=gradient)
        self.iterations.assign_add(1)


class WeightAverage(tf.Module):
    """Exponential average of variables; the young average follows faster, so that a short run is not half its start."""

    def __init__(self, variables: list[keras.Variable], decay: float) -> None:
        super().__init__()
        self.sources = variables
        self.decay = decay
        self.averages = [tf.Variable(variable, trainable=False) for variable in variables]

    def update(self, step: tf.Tensor) -> None:
        """Moves the averages towards the variables; `step` counts from 0."""
        steps = tf.cast(step, tf.float32)
        decay = tf.minimum(self.decay, (1.0 + steps) / (10.0 + steps))
        for average, variable in zip(self.averages, self.sources, strict=True):
            average.assign(variable + decay * (average - variable))

    def restart(self, variable: keras.Variable) -> None:
        """Restarts the average of one variable at its present value."""
        for average, source in zip(self.averages, self.sources, strict=True):
            if source is variable:
                average.assign(variable)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The variables hold their averages inside of the block, and what they held before after it."""
        raw = [variable.numpy() for variable in self.sources]
        for variable, average in zip(self.sources, self.averages, strict=True):
            variable.assign(average)
        try:
            yield
        finally:
            for variable, value in zip(self.sources, raw, strict=True):
                variable.assign(value)
