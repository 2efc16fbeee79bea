"""TensorFlow on this machine: a quiet import, threads, memory, determinism."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nsc.console import native_notes_hidden


def import_tensorflow() -> None:
    """Imports TensorFlow, which takes seconds, without its notes about CUDA and oneDNN.

    Errors are still raised as exceptions.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("absl").setLevel(logging.ERROR)
    with native_notes_hidden(), _without("matplotlib"):
        import tensorflow  # noqa: F401


def prepare_machine(threads: int, *, deterministic: bool = False, tf32: bool = False, xla: bool = False) -> None:
    """Sets threads and arithmetic and lets a GPU's memory grow; before TensorFlow's first operation.

    Args:
        threads: within an operation; 0 leaves the number to TensorFlow.
        deterministic: only operations that give the same bits in every run.
        tf32: products of float32 may round their factors to TensorFloat-32, which no promise of float32 survives: the
            lapped transform gives back the signal to 67 dB instead of 100.
        xla: XLA compiles what it can, where TensorFlow places it on a GPU.
    """
    import tensorflow as tf

    if deterministic:
        tf.config.experimental.enable_op_determinism()
    tf.config.experimental.enable_tensor_float_32_execution(tf32)
    tf.config.optimizer.set_jit("autoclustering" if xla else False)
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Hides an optional module from others: importing Keras's plotting support takes half a second."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
