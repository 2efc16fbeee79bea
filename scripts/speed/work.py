"""The work that the benchmark times. Each is a function without arguments that returns with complete results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import lpc_utilities as lpc
import nsc
from cmrl import Stage, stages_of
from constants import LPC_CONTEXT, SAMPLE_RATE
from corpus.packed import PackedCorpus
from corpus.speech_file import SpeechFile
from evaluation.evaluate import evaluate
from kinds import cascade_of
from kinds.samples import batch as feed_forward
from options.config import Config
from runs.saved_model import SavedModel
from scripts.speed.turns import Work
from training.step import StageTrainer
from utilities import load_speech

STAGES = ("first", "follower_2", "finetune")


def matrix_product(size: int, precision: str) -> Work:
    """A product of large matrices: the peak arithmetic rate of TensorFlow on this machine."""
    left, right = (tf.cast(tf.random.normal([size, size], seed=seed), precision) for seed in (1, 2))
    return lambda: wait(tf.matmul(left, right)[0, 0])


def config_of(**options: Any) -> Config:
    """A cascade of two without warm-up."""
    return Config(
        num_modules=2, pretrain_epochs=0, follower_pretrain_epochs=0, epochs=1, steps_per_epoch=1_000_000, **options
    )


def trainers_of(corpus: PackedCorpus, folder: Path, stages: Sequence[str], **options: Any) -> dict[str, StageTrainer]:
    """Trainers of one cascade, one for each of the named stages."""
    config = config_of(**options)
    cascade = cascade_of(config)
    return {name: StageTrainer(cascade, _stage(config, name), corpus, folder) for name in stages}


def _stage(config: Config, name: str) -> Stage:
    [stage] = [
        stage
        for mode in (4, 5)
        for stage in stages_of(dataclasses.replace(config, training_mode=mode))
        if stage.name == name
    ]
    return stage


def step_flops(trainer: StageTrainer) -> int:
    """Operations of the networks in a step: forwards through every codec, and twice that backwards if it is trained.

    A multiply-add is two operations.
    """
    total = 0.0
    for module in range(trainer.stage.depth):
        cascade = trainer.cascade
        own = cascade.multiply_adds(module + 1) - (cascade.multiply_adds(module) if module else 0)
        total += own / cascade.frames_per_second * (3 if module in trainer.stage.trained else 1)
    return round(2 * total * trainer.config.batch_size)


def training_step(trainer: StageTrainer) -> Work:
    """One step on a batch in memory."""
    batch = batch_of(trainer)
    return lambda: wait(trainer.train_step(batch, 0).total)


def step_from_corpus(trainer: StageTrainer) -> Work:
    """One step on a batch that the input pipeline has read, filtered and scaled meanwhile."""
    batches = trainer.batches()

    def run() -> None:
        epoch, batch = next(batches)
        wait(trainer.train_step(batch, epoch).total)

    return run


def batch_of(trainer: StageTrainer) -> tf.Tensor:
    """The first batch of a stage, in memory."""
    _, batch = next(trainer.batches())
    return tf.identity(batch)


def lpc_batch(corpus: PackedCorpus, size: int) -> Work:
    """Speech to LSFs, and the residual by the polynomial that belongs to them."""
    numbers = np.resize(corpus.frame_indices("train", audible_only=True), size)
    contexts = tf.constant(corpus.contexts(numbers, pre_emphasis=True, high_pass=False))

    @tf.function
    def analyse(contexts: tf.Tensor) -> tf.Tensor:
        polynomial = lpc.levinson_durbin(lpc.autocorrelation(lpc.analysis_window() * contexts))
        lsf = lpc.polynomial_to_lsf(polynomial)
        return lpc.residual_of(contexts[:, LPC_CONTEXT:-LPC_CONTEXT], lpc.lsf_to_polynomial(lsf), "frame")

    return lambda: wait(analyse(contexts))


def speech_of(files: Sequence[SpeechFile], seconds: float) -> NDArray[np.float32]:
    """So many seconds of some speakers."""
    signals = [load_speech(file.path) for file in files[:20]]
    return np.resize(np.concatenate(signals), round(seconds * SAMPLE_RATE))


def symbols_and_back(cascade: Any, signal: NDArray[np.float32]) -> Work:
    """A whole signal to symbols and back in large batches, as validation does it."""
    return lambda: feed_forward.decode(cascade, feed_forward.encode(cascade, signal, depth=1))


def file_coding(model: SavedModel, signal: NDArray[np.float32]) -> tuple[Work, Work]:
    """A signal to the bytes of an .nsc file, and these bytes to a signal."""
    data = nsc.encode(signal, model.coding)
    return lambda: nsc.encode(signal, model.coding), lambda: nsc.decode(data, model.coding)


def evaluation_of(model: SavedModel, files: Sequence[SpeechFile], folder: Path) -> Work:
    """Files coded, written, read, decoded and scored by all measures."""
    return lambda: evaluate(model, files, folder)


def wait(result: tf.Tensor) -> None:
    """Lets a device finish: results are computed in the background until they are read."""
    result.numpy()
