"""Mutated folders of models under valid hashes, given to the codec, which has to refuse them or to code."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import zipfile
from functools import cache
from pathlib import Path

import numpy as np

import nsc
from nsc.loading.arrays import read_arrays
from nsc.loading.find import all_models
from nsc.loading.folder import DESCRIPTION, TABLES, load
from scripts.fuzzing.changes import Arrays, change_array, change_entry, damage
from scripts.fuzzing.choice import Generator, one_of
from scripts.fuzzing.coding import use_tables

GRAPHS = "*.tflite"
CODING_SHARE = 10  # one of so many that are loaded codes through its graphs; the others use their tables alone
SECONDS = 0.3  # of speech that a loaded model has to code
LOUDEST = 1e9  # of what a model of any weights may decode to


class MutatedFolders:
    """Copies of the models that ship, each changed a few times; graphs are exchanged: LiteRT checks none.

    Copies lie one after the other in one folder, best in memory (`TMPDIR=/dev/shm`); most of the time goes to reading
    them as the codec does.
    """

    def __init__(self, place: Path) -> None:
        """Takes a folder for the copies."""
        self._place = place
        place.mkdir(parents=True)
        self._folders = [model.folder for model in all_models() if model.encodes]
        self._tables = {folder: read_arrays(folder / TABLES) for folder in self._folders}
        self._unchanged: dict[int, bytes] = {}  # files of these arrays, by identity
        self._texts = {folder: json.loads((folder / DESCRIPTION).read_text()) for folder in self._folders}

    def make(self, generator: Generator) -> Path:
        """The folder of a changed copy; one in eight has a wrong hash or no description that can be read."""
        folder, place = one_of(self._folders, generator), self._place
        description, arrays = copy.deepcopy(self._texts[folder]), dict(self._tables[folder])
        graphs = {path.name: path for path in sorted(folder.glob(GRAPHS))}
        for _ in range(int(generator.integers(1, 4))):
            kind = int(generator.integers(5))
            if kind < 2:
                change_array(arrays, generator)
            elif kind < 4:
                change_entry(description, "settings", generator)
            else:
                name = one_of(sorted(graphs), generator)
                others = sorted(one_of(self._folders, generator).glob(GRAPHS))
                same = [path for path in others if path.name == name]
                graphs[name] = one_of(same or others, generator) if generator.integers(2) else one_of(others, generator)
        for link in place.glob(GRAPHS):
            if graphs.get(link.name) != link.readlink():
                link.unlink()
        for name, path in graphs.items():
            if not (place / name).is_symlink():
                (place / name).symlink_to(path)
        tables = _packed(arrays, self._tables[folder], self._unchanged)
        (place / TABLES).write_bytes(tables)
        if isinstance(description.get("files"), dict):
            hashes = {name: _hash(path) for name, path in graphs.items()}
            description["files"] |= hashes | {TABLES: hashlib.sha256(tables).hexdigest()}
        (place / DESCRIPTION).write_text(_text(description))
        if generator.integers(8) == 0:
            damage(place / one_of((TABLES, DESCRIPTION), generator), generator)
        return place


@cache
def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _packed(arrays: Arrays, own: Arrays, unchanged: dict[int, bytes]) -> bytes:
    """An .npz file of arrays, some of which are a model's own and kept as files: packing takes longer than all else."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, array in arrays.items():
            known = array is own.get(name)
            content = unchanged.get(id(array), b"") if known else b""
            if not content:
                file = io.BytesIO()
                np.lib.format.write_array(file, array, allow_pickle=False)
                content = file.getvalue()
            if known:
                unchanged[id(array)] = content
            archive.writestr(f"{name}.npy", content)
    return packed.getvalue()


def _text(description: object) -> str:
    try:
        return json.dumps(description)
    except ValueError:  # whole numbers that Python writes for nobody
        return "{}"


def outcome(folder: Path, generator: Generator) -> str:
    """Whether a model was refused, when loaded or when it first codes, or coded."""
    try:
        model = load(folder)
    except nsc.UserError as error:
        return _refused(error, "when loaded")
    use_tables(model, 1)
    return _coded(model) if generator.integers(CODING_SHARE) == 0 else "coded symbols"


def _coded(model: nsc.Model) -> str:
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
