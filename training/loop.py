"""The training loop, one for every stage of the cascade: resumable at any step, rate-controlled, journalled."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from cmrl import Cascade, Stage, stages_of
from corpus.interface import Corpus
from kinds import cascade_of
from kinds.kind import Losses
from nsc.console import log
from nsc.errors import UserError
from nsc.stops import stops
from options.config import Config
from runs.runs import Journal, Run
from runs.saved_model import assign_weights, save_model, saved_taus, saved_weights
from runs.stages import STAGES, stage_folders
from training.distribute import Cluster
from training.step import StageTrainer
from training.validation import Validation, ValidationSet, write_tensorboard

TABLE_STEPS = 200  # training batches whose symbols make the exported tables
VALIDATION_TABLE_STEPS = 20
VALIDATION_CONTEXTS = 0.2  # of context_minutes: gives the rate to a per cent or so
LEAST_MINUTES = 1.0  # of them, where there are so many: from less, rates look higher than they will be, and tau errs
FIT_STEPS = 400  # in which the rate is fitted once more before a model is saved, where its kind does so
CONTROL_INTERVAL = 20  # steps between two moves of the closed loop, and between two readings of the losses
DEATH_INTERVALS = 10  # readings in a row without any entropy after which a codec counts as dead


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
            cascade = cascade_of(self.config)
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
            # or else tau would follow an estimate until the first epoch ends, which is half of a short finetuning
            trainer.controller.expect(self._validate(trainer, validation, epoch=-1))
        try:
            with self.cluster.naming_lost_workers():
                self._run_steps(trainer, validation)
            if self.cluster.is_chief:
                self._export(trainer, validation)
        except (UserError, KeyboardInterrupt) as reason:
            step = int(trainer.step.numpy())
            self._note("stopped", stage=stage.name, step=step, reason=str(reason) or "interrupted")
            raise

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
            # a training of fewer steps than that is not to spend longer on its tables
            share = min(1.0, trainer.total_steps / TABLE_STEPS)
            steps = max(VALIDATION_TABLE_STEPS, round(share * TABLE_STEPS))
            final, is_corrected = FIT_STEPS, True
            while is_corrected:
                tables = trainer.tables(steps, share * self.config.context_minutes, final=final)
                scores = validation.score(cascade, tables, stage.depth)
                bits = list(scores.bits_per_frame.values())
                overhead = 1000 * scores.kbps[-1] * scores.frame_seconds - sum(bits)
                final, is_corrected = 0, trainer.controller.correct(bits, overhead)
            taus = trainer.controller.integral.numpy()[: stage.depth]
            digest = save_model(self.run.folder, stage.name, cascade, tables, stage.depth, taus)
        for part in cascade.parts(stage.depth):
            if part.name in scores.entries_used:
                used = scores.entries_used[part.name]
                log.info("%s: %d of %d codebook entries in use on validation files", part.name, used, part.alphabet)
        self._note("exported", stage=stage.name, model=digest, step=trainer.total_steps, **scores.flat())

    def _run_steps(self, trainer: StageTrainer, validation: ValidationSet) -> None:
        start = int(trainer.step.numpy())
        watch, saved_at = Watch(trainer), time.monotonic()
        bar = tqdm(total=trainer.total_steps, initial=start, desc=trainer.stage.name, unit="step", disable=None)
        with bar as progress, stops() as stop:
            for step, (epoch, contexts) in enumerate(trainer.batches(), start=start + 1):
                losses = trainer.train_step(contexts, epoch)
                stop.waits = True
                progress.update()
                epoch_ends = step % trainer.steps_per_epoch == 0
                if not epoch_ends and step % CONTROL_INTERVAL and not stop.asked:
                    continue
                # No checkpoint without this: it stops a run whose weights are NaN or infinite.
                reading = watch.read(losses, step, warm_up=epoch < trainer.stage.warm_up)
                progress.set_postfix_str(reading.brief())
                self._note("step", stage=trainer.stage.name, step=step, **reading.values)
                if epoch_ends:
                    self._end_epoch(trainer, validation, epoch)
                minutes = (time.monotonic() - saved_at) / 60
                if epoch_ends or stop.asked or minutes > self.config.checkpoint_minutes:
                    trainer.save()
                    saved_at = time.monotonic()
                    stop.raise_asked()

    def _end_epoch(self, trainer: StageTrainer, validation: ValidationSet, epoch: int) -> None:
        bits = self._validate(trainer, validation, epoch)
        if epoch + 1 > trainer.stage.warm_up:
            trainer.controller.validated(bits)
            trainer.controller.end_epoch()

    def _validate(self, trainer: StageTrainer, validation: ValidationSet, epoch: int) -> list[float]:
        """The chief scores the averaged weights; all get the bits per frame that it found of every part."""
        bits = np.zeros(len(trainer.controller.parts))
        if self.cluster.is_chief:
            scores = self._scores(trainer, validation, epoch)
            bits = np.array(list(scores.bits_per_frame.values()))
        return self.cluster.from_chief(bits).tolist()

    def _scores(self, trainer: StageTrainer, validation: ValidationSet, epoch: int) -> Validation:
        with trainer.average.applied():
            tables = trainer.tables(VALIDATION_TABLE_STEPS, validation_minutes(self.config.context_minutes))
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
        """The values that the progress bar shows."""
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
                f" weights are NaN or infinite; {_kept_checkpoint(self.trainer)}; try a lower learning rate"
                " or --clip_norm"
            )
        if not warm_up and step % CONTROL_INTERVAL == 0:
            self.trainer.controller.control()
            self._look_for_dead_codes(step)
        return Reading(self._values(losses))

    def _values(self, losses: Losses) -> dict[str, float]:
        named = {name: float(term) for name, term in losses.terms.items()}
        soft_bits = float(losses.entropies[self.trainer.stage.depth - 1])
        return {"loss": float(losses.total), **named, "soft_bits_per_symbol": soft_bits, **self.trainer.readings()}

    def _look_for_dead_codes(self, step: int) -> None:
        dead = self.trainer.controller.dead_modules()
        self.dead_readings = self.dead_readings + 1 if dead else 0
        if self.dead_readings >= DEATH_INTERVALS:
            raise UserError(
                f"the codes of codec {dead[0] + 1} have collapsed to one value by step {step}, so it sends nothing and"
                " would not recover; try a lower learning rate, a smaller tau_step or a higher target"
            )


def validation_minutes(context_minutes: float) -> float:
    """Minutes of training speech from which a validation's contexts come."""
    return max(VALIDATION_CONTEXTS * context_minutes, min(context_minutes, LEAST_MINUTES))


def _kept_checkpoint(trainer: StageTrainer) -> str:
    steps = trainer.checkpoints.steps
    return f"the checkpoint of step {steps[0]} is kept" if steps else "there is no checkpoint yet"
