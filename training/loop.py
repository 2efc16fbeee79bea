"""The training loop, one for every stage of the cascade: resumable at any step, rate-controlled, journalled."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from cmrl import Cascade, Stage, stages_of
from configs.config import Config
from corpus.dataset import Corpus, naming_faults, steps_in_epoch, training_batches
from network.entropy_model import Tables, count_symbols, integer_tables, kilobits_per_second
from network.keras_network import symbols_by_part
from nn_core_operator import networks_compute_in
from nsc.errors import UserError
from runs.runs import Journal, Run
from runs.saved_model import assign_weights, save_model, saved_taus, saved_weights
from runs.stages import STAGES, stage_folders
from training.context_fit import fit_models, training_symbols
from training.distribute import Cluster, sum_over_replicas
from training.objective import Losses, objective
from training.optimisation import FusedAdam, WeightAverage
from training.rate_control import CONTROL_INTERVAL, RateController
from training.validation import Validation, ValidationSet, write_tensorboard

TABLE_STEPS = 200  # training batches whose symbols make the exported tables
VALIDATION_TABLE_STEPS = 20
VALIDATION_CONTEXTS = 0.2  # of context_minutes: tells the rate to a per cent or so
DEATH_INTERVALS = 10  # readings in a row without any entropy after which a codec counts as dead
EPOCHS_APART = 100_000  # keeps the data orders of different stages apart


class StageTrainer:
    """Everything that one stage changes, in one checkpoint: weights, optimiser, averages, tau, step."""

    def __init__(
        self, cascade: Cascade, stage: Stage, corpus: Corpus, folder: Path, cluster: Cluster | None = None
    ) -> None:
        self.cascade, self.stage, self.corpus = cascade, stage, corpus
        self.cluster = cluster or Cluster()
        self.config: Config = cascade.config
        self.number = _stage_number(stage)
        self.steps_per_epoch = self.config.steps_per_epoch or steps_in_epoch(corpus, self.config.batch_size)
        variables = cascade.variables_of(stage.trained, front_end=stage.trains_front_end)
        self.codebooks = [variable for variable in variables if variable.name == "codebook"]
        self.networks = [variable for variable in variables if variable.name != "codebook"]
        self.variables = self.networks + self.codebooks
        with self.cluster.strategy.scope():
            self._make_state()
        self.checkpoint = tf.train.Checkpoint(
            cascade=cascade,
            optimizer=self.optimizer,
            codebook_optimizer=self.codebook_optimizer,
            average=self.average,
            controller=self.controller,
            step=self.step,
        )
        self.manager = tf.train.CheckpointManager(self.checkpoint, str(folder / stage.name), max_to_keep=2)

    def _make_state(self) -> None:
        """The variables that only training has."""
        self.optimizer = FusedAdam(self._schedule(self.stage.learning_rate))
        self.optimizer.build(self.networks)
        self.codebook_optimizer = FusedAdam(
            self._schedule(self.stage.learning_rate * self.config.codebook_learning_rate)
        )
        self.codebook_optimizer.build(self.codebooks)
        self.average = WeightAverage(self.variables, self.config.ema_decay)
        self.controller = RateController(self.config, self.stage, self.cascade.parts())
        self.step = tf.Variable(0, dtype=tf.int64)

    @property
    def total_steps(self) -> int:
        """Steps of the whole stage."""
        return self.stage.epochs * self.steps_per_epoch

    def resume(self) -> int:
        """Restores the newest checkpoint, if there is one, and returns the step to go on from, the chief's on all."""
        if self.cluster.is_chief and self.manager.latest_checkpoint:
            self.checkpoint.restore(self.manager.latest_checkpoint).assert_consumed()
        moments = [*self.optimizer.variables, *self.codebook_optimizer.variables]
        steered = [*self.average.averages, *self.controller.variables, self.step]
        self.cluster.copy_from_chief([*self.cascade.variables, *moments, *steered])
        return int(self.step.numpy())

    @tf.function(autograph=False)
    def is_finite(self) -> tf.Tensor:
        """Whether all that a checkpoint of this moment would hold is made of finite numbers, a boolean scalar."""
        moments = [*self.optimizer.variables, *self.codebook_optimizer.variables]
        values = [*self.variables, *moments, *self.average.averages]
        return tf.reduce_all([tf.reduce_all(tf.math.is_finite(tf.cast(value, tf.float32))) for value in values])

    def save(self) -> None:
        """Writes a checkpoint, unless this step has one already; the chief alone does."""
        latest = self.manager.latest_checkpoint
        has_one = latest and latest.endswith(f"-{int(self.step.numpy())}")
        if self.cluster.is_chief and not has_one:
            self.manager.save(checkpoint_number=int(self.step.numpy()))

    def batches(self) -> Iterator[tuple[int, tf.Tensor]]:
        """(epoch, contexts) of every step from the current one to the end: this worker's share of the batch."""
        start, share = int(self.step.numpy()), (self.cluster.worker, self.cluster.workers)
        for epoch in range(start // self.steps_per_epoch, self.stage.epochs):
            first_step = max(0, start - epoch * self.steps_per_epoch)
            for contexts in self._epoch_batches(epoch, first_step, self.steps_per_epoch, share=share):
                yield epoch, contexts

    def train_step(self, contexts: tf.Tensor, epoch: int) -> Losses:
        """One step of Adam on a batch, of which this worker has its share; all workers take it together.

        Args:
            contexts: float32 [batch / workers, 1024].
            epoch: number of the epoch in this stage, from 0.

        Returns:
            The losses of the whole batch before the step.
        """
        losses = self._step(self.cluster.split(contexts), warm_up=epoch < self.stage.warm_up)
        return Losses(*(self.cluster.strategy.experimental_local_results(each)[0] for each in losses))

    def tables(self, num_steps: int) -> Tables:
        """Probability tables from the hard symbols of training batches, without augmentation."""
        parts = self.controller.parts
        counts = {part.name: np.zeros((part.shape[1], part.alphabet), np.int64) for part in parts}
        for contexts in self._epoch_batches(self.stage.epochs, 0, num_steps, augmented=False):
            symbols = symbols_by_part(parts, self.cascade.encode(contexts, self.stage.depth))
            for part in parts:
                counts[part.name] += count_symbols(part, symbols[part.name])
        return integer_tables(counts)

    def context_tables(self, minutes: float) -> Tables:
        """Context models from so many minutes of training files, for a file beside `tables`; none from 0 minutes."""
        if not minutes:
            return {}
        paths = [file.path for file in self.corpus.files("train")]
        symbols = training_symbols(self.cascade, self.stage.depth, paths, minutes, self.config.seed)
        models = fit_models(self.cascade, self.stage.depth, symbols)
        return {key: array for name, model in models.items() for key, array in model.arrays(name).items()}

    def _epoch_batches(
        self, epoch: int, first: int, end: int, *, augmented: bool = True, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tf.Tensor]:
        batches = training_batches(
            self.corpus,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            epoch=EPOCHS_APART * self.number + epoch,
            first_step=first,
            num_steps=end,
            pre_emphasis=self.config.pre_emphasis,
            high_pass=self.config.high_pass,
            gain_augmentation_db=self.config.gain_augmentation_db if augmented else 0.0,
            consecutive=self.config.consecutive_frames,
            share=share,
        )
        with naming_faults():
            yield from batches

    @tf.function(autograph=False)
    def _step(self, contexts: tf.Tensor, warm_up: bool) -> Losses:
        return self.cluster.strategy.run(self._replica_step, args=(contexts, warm_up))

    def _replica_step(self, contexts: tf.Tensor, warm_up: bool) -> Losses:
        """What one replica does with its part of the batch; with a single one this is the whole step."""
        decisions, lsf_decision = self._decisions(warm_up)
        with tf.GradientTape() as tape:
            with networks_compute_in(self.config.precision):
                output = self.cascade.call(contexts, decisions, lsf_decision)
            losses = objective(output, self.cascade, self.stage, self.controller.tau, warm_up=warm_up)
            # what this replica adds to the losses of the whole batch
            shares = tf.nest.map_structure(lambda loss: loss / self.cluster.replicas, losses)
        gradients = self._dense(tape.gradient(shares.total, self.variables))
        gradients, losses = sum_over_replicas((gradients, shares))
        self.update(gradients)
        lsf = output.analysis.lsf
        self.controller.observe(([] if lsf is None else [lsf.symbols]) + [code.symbols for code in output.codes])
        return losses

    def update(self, gradients: list[tf.Tensor]) -> None:
        """What follows from the whole batch's gradients: clipping, Adam, averages."""
        if self.config.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.config.clip_norm)
        self.optimizer.step(gradients[: len(self.networks)], self.networks)
        self.codebook_optimizer.step(gradients[len(self.networks) :], self.codebooks)
        self.average.update(self.step)
        self.step.assign_add(1)

    def _dense(self, gradients: list[tf.Tensor | None]) -> list[tf.Tensor]:
        """A gradient for each variable: the warm-up leaves codebooks unconnected."""
        return [
            tf.zeros(variable.shape) if gradient is None else tf.convert_to_tensor(gradient)
            for gradient, variable in zip(gradients, self.variables, strict=True)
        ]

    def _decisions(self, warm_up: bool) -> tuple[list[str], str]:
        """How each codec's and the LSFs' quantiser decide in training: hard wherever nothing is trained."""
        trained = "bypass" if warm_up else self.config.quantizer_gradient
        codes = [trained if module in self.stage.trained else "hard" for module in range(self.stage.depth)]
        return codes, trained if self.stage.trains_front_end else "hard"

    def _schedule(self, rate: float) -> float | keras.optimizers.schedules.LearningRateSchedule:
        if self.config.learning_rate_schedule == "constant":
            return rate
        return keras.optimizers.schedules.CosineDecay(rate, max(1, self.total_steps))


@dataclass
class Training:
    """A run in progress: its stages, one after the other, each exported when it is done.

    The chief decides what is left to do and writes all there is to write; it alone has the journal and the model that
    training starts from. The other workers follow: they take its steps and its numbers.
    """

    config: Config
    run: Run
    corpus: Corpus
    cluster: Cluster
    journal: Journal | None = None
    base: Path | None = None

    def execute(self) -> None:
        """Trains every stage that is not exported yet; the run is finished after the last one."""
        keras.utils.set_random_seed(self.config.seed)
        with self.cluster.strategy.scope():
            cascade = Cascade(self.config)
        validation = ValidationSet(self.corpus.files("val"), self.config)
        before = self.base
        for stage in stages_of(self.config):
            if not self.cluster.from_chief(stage.name in stage_folders(self.run.folder)):
                self._train_stage(cascade, stage, validation, before)
            before = self.run.folder / STAGES / stage.name
        if self.cluster.is_chief:
            self.run.finish()
        self._note("finished")
        self.cluster.wait_for_all()  # or else the first to leave would seem lost to those that still write

    def _train_stage(self, cascade: Cascade, stage: Stage, validation: ValidationSet, before: Path | None) -> None:
        trainer = self._trainer(cascade, stage, before)
        start = trainer.resume()
        self._note("resumed" if start else "stage", stage=stage.name, step=start, of=trainer.total_steps)
        if stage.name == "finetune" and not start:
            self._validate(trainer, validation, epoch=-1)
        try:
            with self.cluster.naming_lost_workers():
                self._run_steps(trainer, validation)
        except (UserError, KeyboardInterrupt) as reason:
            step = int(trainer.step.numpy())
            self._note("stopped", stage=stage.name, step=step, reason=str(reason) or "interrupted")
            raise
        if self.cluster.is_chief:
            self._export(trainer, validation)

    def _trainer(self, cascade: Cascade, stage: Stage, before: Path | None) -> StageTrainer:
        """A stage's beginning, from the model before it; other workers than the chief get all numbers by resuming."""
        model = before if self.cluster.is_chief else None
        if model:
            assign_weights(cascade, saved_weights(model))
        trainer = StageTrainer(cascade, stage, self.corpus, self.run.folder / "checkpoints", self.cluster)
        trainer.controller.begin_from(saved_taus(model) if model else [])
        return trainer

    def _export(self, trainer: StageTrainer, validation: ValidationSet) -> None:
        cascade, stage = trainer.cascade, trainer.stage
        with trainer.average.applied():
            tables = trainer.tables(TABLE_STEPS) | trainer.context_tables(self.config.context_minutes)
            scores = validation.score(cascade, tables, stage.depth)
            taus = trainer.controller.integral.numpy()[: stage.depth]
            digest = save_model(self.run.folder, stage.name, cascade, tables, stage.depth, taus)
        self._note("exported", stage=stage.name, model=digest, step=trainer.total_steps, **scores.flat())

    def _run_steps(self, trainer: StageTrainer, validation: ValidationSet) -> None:
        start = int(trainer.step.numpy())
        watch, saved_at = Watch(trainer), time.monotonic()
        with tqdm(
            total=trainer.total_steps, initial=start, desc=trainer.stage.name, unit="step", disable=None
        ) as progress:
            for step, (epoch, contexts) in enumerate(trainer.batches(), start=start + 1):
                losses = trainer.train_step(contexts, epoch)
                progress.update()
                epoch_ends = step % trainer.steps_per_epoch == 0
                if not epoch_ends and step % CONTROL_INTERVAL:
                    continue
                # No checkpoint without this: it stops a run whose weights are not numbers any more.
                reading = watch.read(losses, step, warm_up=epoch < trainer.stage.warm_up)
                progress.set_postfix_str(reading.brief())
                self._note("step", stage=trainer.stage.name, step=step, **reading.values)
                if epoch_ends:
                    self._end_epoch(trainer, validation, epoch)
                if epoch_ends or _minutes_since(saved_at) > self.config.checkpoint_minutes:
                    trainer.save()
                    saved_at = time.monotonic()

    def _end_epoch(self, trainer: StageTrainer, validation: ValidationSet, epoch: int) -> None:
        bits = self._validate(trainer, validation, epoch)
        if epoch + 1 > trainer.stage.warm_up:
            trainer.controller.validated(bits)
            trainer.controller.end_epoch()

    def _validate(self, trainer: StageTrainer, validation: ValidationSet, epoch: int) -> list[float]:
        """The chief scores the averaged weights; all get the bits a frame that it found of every part."""
        bits = np.zeros(len(trainer.controller.parts))
        if self.cluster.is_chief:
            scores = self._scores(trainer, validation, epoch)
            bits = np.array(list(scores.bits_per_frame.values()))
        return self.cluster.from_chief(bits).tolist()

    def _scores(self, trainer: StageTrainer, validation: ValidationSet, epoch: int) -> Validation:
        with trainer.average.applied():
            tables = trainer.tables(VALIDATION_TABLE_STEPS)
            tables |= trainer.context_tables(VALIDATION_CONTEXTS * self.config.context_minutes)
            scores = validation.score(trainer.cascade, tables, trainer.stage.depth)
        self._note("validated", stage=trainer.stage.name, epoch=epoch + 1, **scores.flat())
        if self.config.tensorboard:
            write_tensorboard(self.run.folder / "tensorboard" / trainer.stage.name, int(trainer.step.numpy()), scores)
        return scores

    def _note(self, event: str, **values: Any) -> None:
        if self.journal:
            self.journal.write(event, **values)


@dataclass
class Reading:
    """The losses and rates of one moment, for bar and journal."""

    values: dict[str, float]

    def brief(self) -> str:
        """A progress bar's worth of it."""
        shown = ("loss", "bits_per_symbol", "tau", "kbps", "target_kbps")
        return " ".join(f"{name} {self.values[name]:.4g}" for name in shown)


class Watch:
    """Reads losses every few steps, steers the rate, and stops a run that cannot recover."""

    def __init__(self, trainer: StageTrainer) -> None:
        self.trainer = trainer
        self.dead_readings = 0

    def read(self, losses: Losses, step: int, *, warm_up: bool) -> Reading:
        """The current reading, after the rate was steered where it is time for it.

        Raises:
            UserError: loss or weights are not finite, or the codes have collapsed to one value.
        """
        loss = float(losses.total)
        if not math.isfinite(loss) or not bool(self.trainer.is_finite()):
            raise UserError(
                f"training diverged: the loss of stage {self.trainer.stage.name} is {loss:g} at step {step} and its"
                f" weights are no finite numbers any more; {_kept_checkpoint(self.trainer)}; try a lower learning rate"
                " or --clip_norm"
            )
        if not warm_up and step % CONTROL_INTERVAL == 0:
            self.trainer.controller.steer()
            self._look_for_dead_codes(step)
        return Reading(self._values(losses))

    def _values(self, losses: Losses) -> dict[str, float]:
        trainer = self.trainer
        controller, trained = trainer.controller, trainer.stage.trained[-1]
        bits, target = controller.expected_module_bits(), controller.target_module_bits()
        values = {
            "loss": float(losses.total),
            "time": float(losses.time),
            "mel": float(losses.mel),
            "loudness": float(losses.loudness),
            "penalty": float(losses.penalty),
            "soft_bits_per_symbol": float(losses.entropies[trained]),
            "bits_per_symbol": bits[trained] / controller.symbols_per_frame()[trained],
            "target_bits_per_symbol": target[trained] / controller.symbols_per_frame()[trained],
            "kbps": kilobits_per_second(bits.sum()),
            "target_kbps": kilobits_per_second(target.sum()),
            "tau": float(controller.tau[trained]),
            "alpha": float(trainer.cascade.codecs[trained].quantizer.alpha),
        }
        return values

    def _look_for_dead_codes(self, step: int) -> None:
        dead = self.trainer.controller.dead_modules()
        self.dead_readings = self.dead_readings + 1 if dead else 0
        if self.dead_readings >= DEATH_INTERVALS:
            raise UserError(
                f"the codes of codec {dead[0] + 1} have collapsed to one value by step {step}, so it sends nothing and"
                " would not recover; try a lower learning rate, a smaller tau_step or a higher target"
            )


def _kept_checkpoint(trainer: StageTrainer) -> str:
    latest = trainer.manager.latest_checkpoint
    return f"the checkpoint of step {latest.rsplit('-', 1)[1]} is kept" if latest else "there is no checkpoint yet"


def _minutes_since(moment: float) -> float:
    return (time.monotonic() - moment) / 60


def _stage_number(stage: Stage) -> int:
    return 0 if stage.name == "first" else 99 if stage.name == "finetune" else stage.depth - 1
