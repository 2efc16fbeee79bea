"""Peak memory of work, measured in a separate process."""

from __future__ import annotations

import multiprocessing
import re
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

STEPS = 3


def peak_of_training(packed: Path, scratch: Path, options: dict[str, Any]) -> float:
    """Megabytes that a process takes at its peak which trains a first stage: of the GPU where there is one.

    Args:
        packed: a packed corpus.
        scratch: a folder to write to.
        options: of the configuration.
    """
    one_process = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    with one_process as pool:
        return pool.submit(_train, packed, scratch, options).result()


def _train(packed: Path, scratch: Path, options: dict[str, Any]) -> float:
    import tensorflow as tf

    from corpus.packed import PackedCorpus
    from runs.machine import prepare_machine
    from scripts.speed.work import trainers_of, training_step

    prepare_machine(0)
    [trainer] = trainers_of(PackedCorpus(packed), scratch, ["first"], **options).values()
    step = training_step(trainer)
    for _ in range(STEPS):
        step()
    if tf.config.list_logical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e6
    return peak_of_process() / 1e6


def peak_of_process() -> float:
    """Bytes of memory that this process alone has taken at its peak."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts the parent's peak in
        [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
        return 1024 * int(kilobytes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
