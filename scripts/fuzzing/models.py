"""Mutated saved models under a valid hash, given to the loader."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

from nsc.errors import UserError
from runs.saved_model import ARRAYS, DESCRIPTION, _read, _write, load_model
from scripts.fuzzing.changes import change_array, change_entry, damage
from scripts.fuzzing.choice import Generator, one_of
from scripts.fuzzing.coding import use_tables

FRAMES = 16


class MutatedModels:
    """Copies of a saved model, each changed a few times."""

    def __init__(self, folder: Path, place: Path) -> None:
        """Takes a model's folder, and a folder for the copies, one after the other."""
        self.folder, self._place = folder, place
        self._arrays, self._description = _read(folder)
        del self._description["sha256"]

    def make(self, generator: Generator) -> Path:
        """The folder of a changed copy; one in five has its bytes changed and not its contents."""
        shutil.rmtree(self._place, ignore_errors=True)
        if generator.integers(5) == 0:
            shutil.copytree(self.folder, self._place)
            damage(self._place / one_of((ARRAYS, DESCRIPTION), generator), generator)
            return self._place
        arrays, description = dict(self._arrays), copy.deepcopy(self._description)
        for _ in range(int(generator.integers(1, 4))):
            if generator.integers(2):
                change_entry(description, "config", generator)
            else:
                change_array(arrays, generator)
        _write(self._place, arrays, description)
        return self._place


def outcome(folder: Path) -> str:
    """Whether a model was refused; what is loaded has to code."""
    try:
        model = load_model(folder)
    except UserError as error:
        if "\n" in str(error) or len(str(error)) > 2000:
            raise AssertionError(f"no line: {error}") from None
        return "refused"
    use_tables(model.coding, FRAMES)
    return "loaded"
