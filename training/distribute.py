"""Training on several devices and hosts: the strategy, the chief, and agreement among the workers."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from nsc.console import log
from nsc.errors import UserError

JOBS = ("chief", "worker")  # whose tasks train, in the order of their numbers
ADDRESS = re.compile(r"[^\s:]+:\d+")
# What collective operations fail with when a worker has died, according to what they were doing just then.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError)
EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """The replicas of a training, and this process among the workers that hold them.

    strategy: TensorFlow's way over devices and hosts; its default is one device.
    worker: number of this process; 0 is the chief, who alone writes.
    workers: number of processes, each with the same number of replicas.
    """

    strategy: tf.distribute.Strategy = field(default_factory=tf.distribute.get_strategy)
    worker: int = 0
    workers: int = 1

    @property
    def replicas(self) -> int:
        """Devices that share a batch, on all workers together."""
        return self.strategy.num_replicas_in_sync

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run's files."""
        return self.worker == 0

    def split(self, contexts: tf.Tensor) -> Any:
        """This worker's share of a batch, float32 [batch / workers, 1024], in equal parts for its replicas."""
        parts = tf.split(contexts, self.replicas // self.workers)
        return self.strategy.experimental_distribute_values_from_function(
            lambda replica: parts[replica.replica_id_in_sync_group % len(parts)]
        )

    def from_chief(self, values: ArrayLike) -> NDArray[np.float64]:
        """An array as the chief has it. All workers ask at the same point, with arrays of one shape, and wait.

        Float64 holds float32, truth values and numbers of steps exactly.
        """
        array = np.asarray(values, np.float64)
        if self.workers == 1:
            return array
        # a sum, to which all other replicas add nothing: gathering would take memory for each of them
        of_replicas = self.strategy.experimental_distribute_values_from_function(
            lambda replica: tf.constant(array if replica.replica_id_in_sync_group == 0 else np.zeros_like(array))
        )
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, of_replicas, axis=None).numpy()

    def text_from_chief(self, text: str) -> str:
        """Text that is not empty, as the chief has it."""
        encoded = np.frombuffer(text.encode(), np.uint8)
        length = int(self.from_chief(len(encoded)))
        return bytes(self.from_chief(np.resize(encoded, length)).astype(np.uint8)).decode()

    def copy_from_chief(self, variables: Sequence[tf.Variable | keras.Variable]) -> None:
        """Gives variables the values that they have on the chief."""
        if self.workers == 1:
            return
        flat = self.from_chief(np.concatenate([variable.numpy().ravel() for variable in variables]))
        ends = np.cumsum([np.prod(variable.shape, dtype=int) for variable in variables])
        for variable, values in zip(variables, np.split(flat, ends[:-1]), strict=True):
            variable.assign(tf.cast(values.reshape(variable.shape), variable.dtype))

    def wait_for_all(self) -> None:
        """Returns when every worker has reached this point."""
        self.from_chief(0)

    @contextmanager
    def naming_lost_workers(self) -> Iterator[None]:
        """Operations that fail because another worker died or was stopped end this one with a one-line message.

        Raises:
            UserError: an operation failed so.
        """
        try:
            yield
        except tf.errors.OpError as error:
            if self.workers == 1 or not isinstance(error, LOST):
                raise
            raise UserError(
                "the connection to another worker is lost; start all again, and they continue from the last checkpoint"
            ) from None


def join_cluster(kind: str, batch_size: int, consecutive: int = 1) -> Cluster:
    """The devices that train together; before TensorFlow's first operation.

    Args:
        kind: "none": one device; "mirrored": all of this host; "multiworker": all of the hosts in TF_CONFIG, as
            https://www.tensorflow.org/guide/distributed_training describes it.
        batch_size: frames of a step, on all devices together.
        consecutive: frames that a device has to get together.

    Raises:
        UserError: too few devices, no usable TF_CONFIG, or a batch that the devices cannot share equally.
    """
    cluster = {"none": Cluster, "mirrored": _mirrored, "multiworker": _multiworker}[kind]()
    if batch_size % (cluster.replicas * consecutive):
        raise UserError(
            f"argument --batch_size: expected a multiple of {cluster.replicas * consecutive}, which {cluster.replicas}"
            f" devices can share, found {batch_size}"
        )
    return cluster


def place_in_cluster(tf_config: str) -> tuple[int, int]:
    """This process's number among the workers of a TF_CONFIG, the chief's being 0, and their number.

    Raises:
        UserError: the text is none, or this process has no place in it.
    """
    try:
        described = json.loads(tf_config)
        hosts = {job: list(addresses) for job, addresses in described["cluster"].items()}
        job, index = str(described["task"]["type"]), int(described["task"]["index"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"expected TF_CONFIG such as {EXAMPLE}, found '{tf_config}'") from None
    _check_hosts(hosts)
    if job not in hosts or not 0 <= index < len(hosts[job]):
        raise UserError(f"expected a task of TF_CONFIG's cluster, found {job} {index}; the cluster has {_named(hosts)}")
    before = len(hosts.get("chief", [])) if job == "worker" else 0
    return before + index, sum(map(len, hosts.values()))


def _mirrored() -> Cluster:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        raise UserError(
            f"argument --distribute: mirrored needs a host of several GPUs, found {devices[0].device_type} alone;"
            " one device needs no flag"
        )
    return Cluster(tf.distribute.MirroredStrategy([device.name for device in devices]))


def _multiworker() -> Cluster:
    tf_config = os.environ.get("TF_CONFIG", "")
    if not tf_config:
        raise UserError(
            "argument --distribute: multiworker takes the hosts from the environment variable TF_CONFIG, such as"
            f" {EXAMPLE}, found none; under SLURM scripts/slurm_train.sh sets it"
        )
    worker, workers = place_in_cluster(tf_config)
    log.info("worker %d of %d waits until all of them have started", worker + 1, workers)
    return Cluster(tf.distribute.MultiWorkerMirroredStrategy(), worker, workers)


def _check_hosts(hosts: dict[str, list[Any]]) -> None:
    """Raises UserError where a cluster is not one of workers that all train."""
    others = [job for job in hosts if job not in JOBS]
    if others:
        raise UserError(f"expected jobs {' and '.join(JOBS)} in TF_CONFIG, found {others[0]}")
    if len(hosts.get("chief", [])) > 1:
        raise UserError(f"expected one chief at most in TF_CONFIG, found {_named(hosts)}")
    addresses = [address for job in hosts.values() for address in job]
    for number, address in enumerate(addresses):
        if not isinstance(address, str) or not ADDRESS.fullmatch(address):
            raise UserError(f"expected addresses host:port in TF_CONFIG, found '{address}'")
        if address in addresses[:number]:
            raise UserError(f"expected an address of its own for every task of TF_CONFIG, found {address} twice")


def _named(hosts: dict[str, list[Any]]) -> str:
    return " and ".join(f"{len(addresses)} {job}" for job, addresses in hosts.items()) or "no tasks"
