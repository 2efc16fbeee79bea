"""A stage of training with its speech and its checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import tensorflow as tf

from cmrl import Cascade, Stage
from corpus.batches import naming_faults, steps_in_epoch, training_batches
from corpus.interface import Corpus
from kinds.kind import Tables, TrainingSpeech
from training.checkpoints import Checkpoints
from training.codebook_start import codes_of, k_means
from training.distribute import Cluster
from training.step import StageTraining

START_STEPS = 20  # training batches from whose codes vector codebooks start
EPOCHS_APART = 100_000  # keeps the data orders of different stages apart


class StageTrainer(StageTraining):
    """A stage that takes its batches from a corpus and keeps all that it changes in one checkpoint."""

    def __init__(
        self, cascade: Cascade, stage: Stage, corpus: Corpus, folder: Path, cluster: Cluster | None = None
    ) -> None:
        config = cascade.config
        self.corpus = corpus
        self.steps_per_epoch = config.steps_per_epoch or steps_in_epoch(corpus, config.batch_size)
        self.total_steps = stage.epochs * self.steps_per_epoch
        super().__init__(cascade, stage, self.total_steps, cluster or Cluster())
        self.checkpoint = tf.train.Checkpoint(
            cascade=cascade,
            optimizer=self.optimizer,
            codebook_optimizer=self.codebook_optimizer,
            average=self.average,
            controller=self.controller,
            step=self.step,
            **self._moved_scales(),
        )
        self.checkpoints = Checkpoints(self.checkpoint, folder / stage.name)

    def _moved_scales(self) -> dict[str, list[tf.Variable]]:
        """Softmax scales that no optimiser trains, and that move where a codebook starts from codes."""
        codecs = [self.cascade.codecs[module] for module in self.stage.trained]
        moved = [codec.quantizer.log_scale.value for codec in codecs if codec.starts_from_codes]
        return {"scales": moved} if moved else {}

    def resume(self) -> int:
        """Restores the newest sound checkpoint, if any, and returns the step to continue from, on all the chief's."""
        if self.cluster.is_chief:
            self.checkpoints.restore()
        moments = [*self.optimizer.variables, *self.codebook_optimizer.variables]
        steered = [*self.average.averages, *self.controller.variables, self.step]
        self.cluster.copy_from_chief([*self.cascade.variables, *moments, *steered])
        return int(self.step.numpy())

    def save(self) -> None:
        """Writes a checkpoint, unless this step has one already; the chief alone does."""
        step = int(self.step.numpy())
        if self.cluster.is_chief and step not in self.checkpoints.steps[:1]:
            self.checkpoints.save(step)

    def batches(self) -> Iterator[tuple[int, tf.Tensor]]:
        """(epoch, contexts) of every step from the current one to the end: this worker's share of the batch."""
        start, share = int(self.step.numpy()), (self.cluster.worker, self.cluster.workers)
        for epoch in range(start // self.steps_per_epoch, self.stage.epochs):
            first_step = max(0, start - epoch * self.steps_per_epoch)
            if epoch == self.stage.warm_up and first_step == 0:
                self.start_codebooks()
            for contexts in self._epoch_batches(epoch, first_step, self.steps_per_epoch, share=share):
                yield epoch, contexts

    def start_codebooks(self) -> None:
        """Where vector quantisers are to start from codes, puts their codebooks among the codes of this moment."""
        for module in self.stage.trained:
            codec = self.cascade.codecs[module]
            if not codec.starts_from_codes or self.stage.name == "finetune":  # which goes on with trained ones
                continue
            quantizer = codec.quantizer
            batches = self._epoch_batches(self.stage.epochs, 0, START_STEPS, augmented=False)
            codes = codes_of(self.cascade, module, batches)
            quantizer.restart(k_means(codes, quantizer.codebook.shape[0], self.config.seed))
            self.cluster.copy_from_chief([quantizer.codebook, quantizer.log_scale])
            self.average.restart(quantizer.codebook)

    def tables(self, num_steps: int, minutes: float, *, final: int = 0) -> Tables:
        """Probability tables of this moment's cascade.

        Args:
            num_steps: batches to count, without augmentation.
            minutes: of training files for contexts.
            final: steps in which the rate is fitted once more on them; 0 while training goes on.
        """
        paths = [file.path for file in self.corpus.files("train")]
        batches = partial(self._epoch_batches, self.stage.epochs, 0, augmented=False)
        speech = TrainingSpeech(paths, batches, minutes, num_steps, min(final, self.total_steps))
        return self.kind.tables(self.cascade, self.stage, speech)

    def _epoch_batches(
        self, epoch: int, first: int, end: int, *, augmented: bool = True, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tf.Tensor]:
        batches = training_batches(
            self.corpus,
            seed=self.config.seed,
            epoch=EPOCHS_APART * self.number + epoch,
            first_step=first,
            num_steps=end,
            pre_emphasis=self.config.pre_emphasis,
            high_pass=self.config.high_pass,
            share=share,
            **self.kind.batch_form(self.config, augmented=augmented),
        )
        with naming_faults():
            yield from batches

    def readings(self) -> dict[str, float]:
        """What bar and journal show of rate and quantisers."""
        quantizer = self.cascade.codecs[self.stage.depth - 1].quantizer
        softness = {"alpha": float(quantizer.alpha)} if hasattr(quantizer, "alpha") else {}
        return self.controller.readings() | softness
