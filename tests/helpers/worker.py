"""main.py, which also writes what its first steps found: python -m tests.helpers.worker RECORD FLAGS ..."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import tensorflow as tf

import main
from training import loop
from training.step import StageTrainer

RECORDED_STEPS = 20
DEVICES = "LOGICAL_DEVICES"  # environment variable: the processor stands for so many devices


class Recorder:
    """Losses of the first steps, and the gradient of the very first, which Adam's first moments hold."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.gradient = np.zeros(0, np.float32)
        self._train_step = StageTrainer.train_step

    def train_step(self, trainer: StageTrainer, contexts: tf.Tensor, epoch: int) -> Any:
        """Takes the place of `StageTrainer.train_step`."""
        losses = self._train_step(trainer, contexts, epoch)
        if not self.losses:
            self.gradient = first_moments(trainer)
        self.losses.append(float(losses.total))
        return losses

    def write(self, path: str) -> None:
        """Into a file of numpy's."""
        np.savez(path, losses=self.losses[:RECORDED_STEPS], gradient=self.gradient)


def first_moments(trainer: StageTrainer) -> np.ndarray:
    """All first moments of both optimisers, one after the other."""
    variables = [*trainer.optimizer.variables, *trainer.codebook_optimizer.variables]
    return np.concatenate([each.numpy().ravel() for each in variables if "momentum" in each.path])


def run(record: str, flags: list[str]) -> int:
    """Trains as the flags say, with tables that are quickly counted."""
    loop.TABLE_STEPS, loop.VALIDATION_TABLE_STEPS = 2, 1
    devices = int(os.environ.get(DEVICES, "1"))
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * devices)
    recorder = Recorder()
    StageTrainer.train_step = lambda *arguments: recorder.train_step(*arguments)  # type: ignore[method-assign]
    status = main.main(flags)
    recorder.write(record)
    return status


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
