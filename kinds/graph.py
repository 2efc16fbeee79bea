"""Functions of tensors with named inputs and outputs, which export writes for programs without TensorFlow's Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

Tensors = dict[str, tf.Tensor]


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    part: the part of the bitstream whose symbols it holds.
    alphabet: symbols are 0 to alphabet - 1.
    start: what an input gets with the first span.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    meaning: str
    part: str | None = None
    alphabet: int | None = None
    start: float | None = None

    @property
    def spec(self) -> tf.TensorSpec:
        """As a tf.function's signature has it."""
        return tf.TensorSpec(self.shape, self.dtype, self.name)


@dataclass(frozen=True)
class Graph:
    """A graph to be exported; `run` takes the inputs in order and gives the outputs by name."""

    name: str
    inputs: list[Port]
    outputs: list[Port]
    run: Callable[..., Tensors]
