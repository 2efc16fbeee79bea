"""Sums and means over the replicas that share a batch."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def sum_over_replicas(values: Any) -> Any:
    """The sum over all replicas of a float32 tensor or of a structure of them, differentiable; in a replica's step.

    All tensors go in one packet, since on a network many small ones take longer than their bytes.
    """
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        return values
    tensors = tf.nest.flatten(values)
    packet = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)
    sums = tf.split(replica.all_reduce(tf.distribute.ReduceOp.SUM, packet), [tf.size(tensor) for tensor in tensors])
    shaped = [tf.reshape(flat, tensor.shape) for flat, tensor in zip(sums, tensors, strict=True)]
    return tf.nest.pack_sequence_as(values, shaped)


def mean_over_replicas(values: Any) -> Any:
    """The mean over all replicas, otherwise as `sum_over_replicas`: of equal shares' means it is the batch's mean."""
    replicas = tf.distribute.get_replica_context().num_replicas_in_sync
    return tf.nest.map_structure(lambda total: total / replicas, sum_over_replicas(values))
