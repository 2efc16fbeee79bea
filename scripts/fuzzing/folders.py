"""Mutated folders of models under valid hashes, given to the codec, which has to refuse them or to code."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np

import nsc
from nsc.loading.arrays import read_arrays
from nsc.loading.find import all_models
from nsc.loading.folder import DECODER, DESCRIPTION, ENCODER, TABLES
from scripts.fuzzing.choice import Generator, one_of
from scripts.fuzzing.models import change_array, change_entry, damage

SECONDS = 0.3  # of speech that a loaded model has to code
LOUDEST = 1e9  # of what a model of any weights may decode to


class MutatedFolders:
    """Copies of the models that ship, each changed a few times; graphs are exchanged: LiteRT checks none."""

    def __init__(self, place: Path) -> None:
        """Takes a folder for the copies, one after the other."""
        self._place = place
        self._folders = [model.folder for model in all_models() if model.encodes]
        self._tables = {folder: read_arrays(io.BytesIO((folder / TABLES).read_bytes())) for folder in self._folders}
        self._texts = {folder: json.loads((folder / DESCRIPTION).read_text()) for folder in self._folders}

    def make(self, generator: Generator) -> Path:
        """The folder of a changed copy; one in eight has a wrong hash or no description that can be read."""
        folder, place = one_of(self._folders, generator), self._place
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        description, arrays = copy.deepcopy(self._texts[folder]), dict(self._tables[folder])
        graphs = {name: folder / name for name in (ENCODER, DECODER)}
        for _ in range(int(generator.integers(1, 4))):
            kind = int(generator.integers(5))
            if kind < 2:
                change_array(arrays, generator)
            elif kind < 4:
                change_entry(description, "settings", generator)
            else:
                name = one_of((ENCODER, DECODER), generator)
                graphs[name] = one_of(self._folders, generator) / one_of((ENCODER, DECODER, name, name), generator)
        for name, path in graphs.items():
            (place / name).symlink_to(path)
        packed = io.BytesIO()
        np.savez(packed, **arrays)  # type: ignore[arg-type]
        (place / TABLES).write_bytes(packed.getvalue())
        if isinstance(description.get("files"), dict):
            for name in (ENCODER, DECODER, TABLES):
                description["files"][name] = hashlib.sha256((place / name).read_bytes()).hexdigest()
        (place / DESCRIPTION).write_text(_text(description))
        if generator.integers(8) == 0:
            damage(place / one_of((TABLES, DESCRIPTION), generator), generator)
        return place


def _text(description: object) -> str:
    try:
        return json.dumps(description)
    except ValueError:  # whole numbers that Python writes for nobody
        return "{}"


def outcome(folder: Path) -> str:
    """Whether a model was refused, when loaded or when it first codes, or coded."""
    try:
        model = nsc.load(folder)
    except nsc.UserError as error:
        return _refused(error, "when loaded")
    signal = np.random.default_rng(0).normal(0, 0.1, int(SECONDS * nsc.SAMPLE_RATE)).clip(-1, 1)
    try:
        data = nsc.encode(signal, model)
        decoded = nsc.decode(data, model).signal
    except nsc.UserError as error:
        return _refused(error, "when used")
    if len(decoded) != len(signal):
        raise AssertionError(f"{len(decoded)} samples of {len(signal)}")
    return "coded" if np.isfinite(decoded).all() and np.abs(decoded).max() < LOUDEST else "coded into no speech"


def _refused(error: nsc.UserError, when: str) -> str:
    if "\n" in str(error) or len(str(error)) > 2000:
        raise AssertionError(f"no line: {error}") from None
    return f"refused {when}"
