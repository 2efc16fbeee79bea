"""Size of a training step's graph: what TensorFlow has to start one by one, as traced and after its optimisation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.eager import context

from scripts.speed.work import batch_of
from training.step import StageTrainer

# Nodes that compute nothing.
STRUCTURE = {
    *("Const", "NoOp", "Identity", "IdentityN", "Placeholder", "ReadVariableOp", "StopGradient", "_Arg", "_Retval"),
    *("PartitionedCall", "StatefulPartitionedCall"),
}


class StepSize(NamedTuple):
    """Operations of a step that compute something, those of the functions that it calls included.

    traced: as the step is written.
    started: as TensorFlow runs it on its devices, with constants folded, equal ones shared and neighbours merged.
    """

    traced: int
    started: int


def size_of_step(trainer: StageTrainer) -> StepSize:
    """Traces a step and takes it."""
    batch = batch_of(trainer)
    step = tf.function(lambda: trainer.train_step(batch, 0).total, autograph=False).get_concrete_function()
    traced = step.graph.as_graph_def()
    context.enable_graph_collection()
    try:
        step()  # its graph is kept when it first runs
        run = context.context().export_run_metadata()
    finally:
        context.disable_graph_collection()
    functions = (node for function in traced.library.function for node in function.node_def)
    partitions = [graph for function in run.function_graphs for graph in function.partition_graphs]
    return StepSize(_computing([*traced.node, *functions]), sum(_computing(graph.node) for graph in partitions))


def _computing(nodes: Iterable[NodeDef]) -> int:
    return sum(node.op not in STRUCTURE for node in nodes)
