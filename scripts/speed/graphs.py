"""Size of a training step as it is traced: what TensorFlow has to start one by one, unless it merges some."""

from __future__ import annotations

import tensorflow as tf

from scripts.speed.work import batch_of
from training.step import StageTrainer

# Nodes that compute nothing.
STRUCTURE = {"Const", "NoOp", "Identity", "IdentityN", "Placeholder", "ReadVariableOp", "StopGradient"}
CALLS = {"PartitionedCall", "StatefulPartitionedCall"}


def operations_of_step(trainer: StageTrainer) -> int:
    """Operations of a step that compute something, those of the functions that it calls included."""
    batch = batch_of(trainer)
    traced = tf.function(lambda: trainer.train_step(batch, 0).total, autograph=False).get_concrete_function()
    graph = traced.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return sum(node.op not in STRUCTURE | CALLS for node in nodes)
