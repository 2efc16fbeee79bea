"""The speech that a stage of training takes: its batches, and what its tables are counted on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import tensorflow as tf

from cmrl import Stage
from corpus.batches import naming_faults, steps_in_epoch, training_batches
from corpus.interface import Corpus
from kinds import kind_of
from kinds.kind import TrainingSpeech
from options.config import Config

EPOCHS_APART = 100_000  # keeps the data orders of different stages apart


class StageSpeech:
    """A corpus in the order of a stage, whose number keeps it apart from those of the others."""

    def __init__(self, corpus: Corpus, config: Config, stage: Stage, number: int) -> None:
        self.corpus, self.config, self.stage, self.number = corpus, config, stage, number
        self.steps_per_epoch = config.steps_per_epoch or steps_in_epoch(corpus, config.batch_size)
        self.total_steps = stage.epochs * self.steps_per_epoch

    def epoch(
        self, epoch: int, first: int, end: int, *, augmented: bool = True, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tf.Tensor]:
        """Batches of an epoch from step `first` to before `end`, of which this worker has its share."""
        form = kind_of(self.config).batch_form(self.config, augmented=augmented)
        seed_and_epoch = self.config.seed, EPOCHS_APART * self.number + epoch
        with naming_faults():
            yield from training_batches(self.corpus, form, seed_and_epoch, range(first, end), share)

    def for_tables(self, num_steps: int, minutes: float, *, final: int) -> TrainingSpeech:
        """What tables are counted on, see `StageTrainer.tables`; none of its batches is augmented."""
        paths = [file.path for file in self.corpus.files("train")]
        batches = partial(self.epoch, self.stage.epochs, 0, augmented=False)
        return TrainingSpeech(paths, batches, minutes, num_steps, min(final, self.total_steps))
