"""Checkpoints that a damaged disk cannot take away: each with its checksum, the newest sound one is used."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from nsc.console import log
from nsc.errors import UserError
from nsc.stops import raise_met
from utilities import atomic_write

KEPT = 2
RECORD = "checksums.json"
STATE = "checkpoint"  # TensorFlow's own list of checkpoints
INDEX = re.compile(r"ckpt-(\d+)\.index")


class Checkpoints:
    """The checkpoints of a stage, found by their names."""

    def __init__(self, checkpoint: tf.train.Checkpoint, folder: Path) -> None:
        self.checkpoint = checkpoint
        self.folder = folder
        self._manager: tf.train.CheckpointManager | None = None

    @property
    def steps(self) -> list[int]:
        """Steps that have a checkpoint, sound or not, newest first."""
        found = (INDEX.fullmatch(path.name) for path in self.folder.glob("ckpt-*.index"))
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def restore(self) -> int | None:
        """Restores the newest sound checkpoint and returns its step; None where there never was one.

        Raises:
            UserError: there were some, and none is sound.
        """
        known = self._checksums()
        recorded = {int(name.partition("-")[2]) for name in known}
        tried = sorted({*self.steps, *recorded}, reverse=True)
        for place, step in enumerate(tried):
            if self._is_sound(step, known) and self._restored(step):
                for damaged in tried[:place]:
                    self._remove(damaged)
                return step
            log.info("the checkpoint of step %d in %s is damaged, missing or of another model", step, self.folder)
        if tried:
            raise UserError(
                f"expected a sound checkpoint in {self.folder}, found none of steps {', '.join(map(str, tried))};"
                " restore one from a copy, or start afresh with --new"
            )
        return None

    def save(self, step: int) -> None:
        """Writes a checkpoint with its checksums and removes those that are older than the one before it.

        Raises:
            UserError: there is no room, or the folder cannot be written.
        """
        try:
            self._writer().save(checkpoint_number=step)
            kept = self.steps[:KEPT]
            record = {self._name(each): self._file_checksums(each) for each in kept}
            atomic_write(self.folder / RECORD, json.dumps(record, indent=1) + "\n")
        except (tf.errors.OpError, OSError) as error:
            self._remove(step)
            reason = error.strerror if isinstance(error, OSError) else error.message
            raise UserError(
                f"{self.folder}: the checkpoint of step {step} cannot be written ({reason}); make room, and the same"
                " command continues"
            ) from None
        for each in self.steps[KEPT:]:
            self._remove(each)

    def _writer(self) -> tf.train.CheckpointManager:
        if self._manager is None:
            try:
                tf.train.get_checkpoint_state(str(self.folder))
                is_text = not (self.folder / STATE).is_dir()
            except Exception:
                is_text = False
            if not is_text:  # names tell as much
                _remove_any(self.folder / STATE)
            self._manager = tf.train.CheckpointManager(self.checkpoint, str(self.folder), max_to_keep=KEPT)
        return self._manager

    def _restored(self, step: int) -> bool:
        """Whether a checkpoint is one of this state, which then has its values."""
        try:
            self.checkpoint.restore(str(self._prefix(step))).assert_consumed()
        except Exception:  # variables of other shapes, or others
            raise_met()
            return False
        return True

    def _is_sound(self, step: int, known: dict[str, dict[str, str]]) -> bool:
        """By its checksums; one without, as older runs wrote them, by reading all of it."""
        expected = known.get(self._name(step))
        try:
            if expected:
                return self._file_checksums(step) == expected
            reader = tf.train.load_checkpoint(str(self._prefix(step)))
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
        except Exception:  # a folder in place of a file, or whatever TensorFlow raises for damaged bytes
            raise_met()
            return False
        return True

    def _checksums(self) -> dict[str, dict[str, str]]:
        try:
            record = json.loads((self.folder / RECORD).read_bytes())
            return {name: dict(files) for name, files in record.items() if INDEX.fullmatch(f"{name}.index")}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return {}

    def _file_checksums(self, step: int) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(self._files(step))}

    def _remove(self, step: int) -> None:
        for path in self._files(step):
            _remove_any(path)
        shutil.rmtree(f"{self._prefix(step)}_temp", ignore_errors=True)

    def _files(self, step: int) -> Iterator[Path]:
        return self.folder.glob(f"{self._name(step)}.*")

    def _prefix(self, step: int) -> Path:
        return self.folder / self._name(step)

    @staticmethod
    def _name(step: int) -> str:
        return f"ckpt-{step}"


def _remove_any(path: Path) -> None:
    """Removes a file, or the folder that is in its place."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
