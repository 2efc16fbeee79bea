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


def prepare_machine(threads: int, *, deterministic: bool = False) -> None:
    """Sets thread counts and determinism and lets a GPU's memory grow; before TensorFlow's first operation."""
    import tensorflow as tf

    if deterministic:
        tf.config.experimental.enable_op_determinism()
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
