"""Batches of training frames, from any step of an epoch on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from corpus.interface import Corpus
from corpus.seeds import generator_of
from kinds.kind import BatchForm
from nsc.errors import UserError

PREFETCHED_BATCHES = 4


def steps_in_epoch(corpus: Corpus, batch_size: int) -> int:
    """Whole batches of audible training frames in one pass over the corpus, at least one."""
    return max(1, corpus.num_training_frames() // batch_size)


def training_batches(
    corpus: Corpus,
    form: BatchForm,
    seed_and_epoch: tuple[int, int],
    steps: range,
    share: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Some steps of an epoch: to resume is to start at a later one.

    The order is drawn from (seed, epoch) alone; step s takes its places s * batch_size and on, wrapping round when
    the split has fewer frames than the epoch asks for. Digital silence is skipped.

    Args:
        corpus: packed speech; its split 'train' is used.
        form: of a batch.
        seed_and_epoch: seed of the order and of the gains, and number of the epoch, from 0.
        steps: which; `steps_in_epoch` make one pass over the corpus.
        share: number of this reader, from 0, and number of readers that divide each batch among them; all shares
            together are the batch that one reader would get.

    Returns:
        Dataset of float32 [batch_size / readers, length].

    Raises:
        UserError: the training split holds no audible frame.
    """
    _check_audible(corpus, form.consecutive)
    reader, readers = share
    size = form.batch_size // readers
    own = slice(reader * size, (reader + 1) * size)

    def batches() -> Iterator[NDArray[np.float32]]:
        # made here, since TensorFlow keeps what it calls for ever, and what that holds
        order = corpus.order(seed_and_epoch, form.consecutive)
        for step in steps:
            places = np.arange(step * form.batch_size, (step + 1) * form.batch_size)[own]
            contexts = order.contexts(
                places, pre_emphasis=form.pre_emphasis, high_pass=form.high_pass, length=form.length
            )
            levels = _levels(seed_and_epoch, step, form.batch_size // form.consecutive, form.gain_augmentation_db)
            decibels = levels.repeat(form.consecutive)[own, None]
            yield contexts * (10 ** (decibels / 20)).astype(np.float32)

    return _prefetched(batches, (size, form.length))


def _check_audible(corpus: Corpus, consecutive: int) -> None:
    if not corpus.num_training_frames(consecutive):
        raise UserError("expected training speech, found no audible frame in split train; give more training speech")


def _levels(seed_and_epoch: tuple[int, int], step: int, number: int, most: float) -> NDArray[np.float64]:
    """Random levels [number] of a step within +- `most` dB."""
    return generator_of(seed_and_epoch, step).uniform(-most, most, number)


def _prefetched(batches: Callable[[], Iterator[NDArray[np.float32]]], shape: tuple[int, int]) -> tf.data.Dataset:
    dataset = tf.data.Dataset.from_generator(batches, output_signature=tf.TensorSpec(shape, tf.float32))
    return dataset.prefetch(PREFETCHED_BATCHES)


@contextmanager
def naming_faults() -> Iterator[None]:
    """Turn errors of batches, which TensorFlow wraps in its own, back into UserErrors with their message.

    Raises:
        UserError: packed speech is damaged.
    """
    try:
        yield
    except tf.errors.UnknownError as error:
        words = re.search(r"UserError: (.*)", error.message)
        if not words:
            raise
        raise UserError(words[1]) from None
