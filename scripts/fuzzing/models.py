"""Mutated saved models under a valid hash, given to the loader."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsc.entropy.context_model import read_models
from nsc.entropy.spectral_coder import SpectralCoder
from nsc.entropy.symbol_coding import SymbolCoder
from nsc.errors import UserError
from runs.saved_model import ARRAYS, DESCRIPTION, SavedModel, _read, _write, load_model
from scripts.fuzzing.choice import Generator, one_of

EXTREMES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 3, 63, 64, 10**7, 10**9, 10**400, 0.5, -1e300, 1e300, float("nan"), float("inf")),
    *("", "x", "../../x", "\0", [], {}, [[[]]], [1, 2, 3], {"a": 1}, [0] * 10_000),
)
FILLS = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1.0, 1e30, 65_535.0, 2.0**31 - 1)
TYPES = ("<f4", "<f8", "<f2", "<i4", "<i8", "<u2", "<u1", "|b1", "<U4", "<c8")
FRAMES = 16

Arrays = dict[str, NDArray[Any]]


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
    _use(model)
    return "loaded"


def _use(model: SavedModel) -> None:
    """Decodes arbitrary bytes under the model's tables, and encodes the result again."""
    of_any_rate: Any = model.coding
    if of_any_rate.offsets:
        _use_at_any_rate(of_any_rate.coder)
        return
    coder = SymbolCoder(read_models(model.tables), {part.name: part.shape for part in model.cascade.parts()})
    symbols = coder.decode([bytes(40)] * len(coder.shapes), FRAMES)
    if not all(np.array_equal(symbols[name], again) for name, again in _again(coder, symbols).items()):
        raise AssertionError("other symbols after coding them")


def _use_at_any_rate(coder: SpectralCoder) -> None:
    symbols = coder.decode([bytes(40)] * len(coder.codecs), FRAMES, 0)
    again = coder.decode(coder.encode(symbols, 0), FRAMES, 0)
    pairs = zip((*symbols[:2], *symbols.indices), (*again[:2], *again.indices), strict=True)
    if not all(np.array_equal(*pair) for pair in pairs):
        raise AssertionError("other symbols after coding them")


def _again(coder: SymbolCoder, symbols: dict[str, NDArray[np.int32]]) -> dict[str, NDArray[np.int32]]:
    return coder.decode(coder.encode(symbols), FRAMES)


def damage(path: Path, generator: Generator) -> None:
    """Cuts a file or changes some of its bytes."""
    data = bytearray(path.read_bytes())
    if generator.integers(3) == 0:
        del data[int(generator.integers(len(data))) :]
    for _ in range(int(generator.integers(1, 20))):
        if data:
            data[int(generator.integers(len(data)))] = int(generator.integers(256))
    path.write_bytes(data)


def change_entry(description: dict[str, Any], inner: str, generator: Generator) -> None:
    """Changes, removes or adds an entry of the description or, more often, of a table in it."""
    table = description
    if isinstance(description.get(inner), dict) and generator.integers(5):
        table = description[inner]
    name = one_of([*table, "unknown"], generator)
    if generator.integers(6) == 0:
        table.pop(name, None)
        return
    value = copy.deepcopy(one_of(EXTREMES, generator))
    entries = table.get(name)
    if isinstance(entries, list) and entries and generator.integers(2):
        entries[int(generator.integers(len(entries)))] = value
    else:
        table[name] = value


def change_array(arrays: Arrays, generator: Generator) -> None:
    """Changes, removes or renames one of some arrays."""
    if not arrays:
        return
    name = one_of(sorted(arrays), generator)
    change = one_of(ARRAY_CHANGES, generator)
    changed = change(arrays.pop(name), generator)
    if changed is not None:
        arrays[name if generator.integers(12) else f"{name}x"] = changed


def _filled(array: NDArray[Any], generator: Generator) -> NDArray[Any]:
    changed = array.copy()
    if changed.size:
        fill = one_of(FILLS, generator)
        with np.errstate(all="ignore"):
            value = np.array(fill).astype(changed.dtype)
        changed.reshape(-1)[int(generator.integers(changed.size))] = value
    return changed


def _retyped(array: NDArray[Any], generator: Generator) -> NDArray[Any]:
    with np.errstate(all="ignore"):
        return array.astype(one_of(TYPES, generator))


def _reshaped(array: NDArray[Any], generator: Generator) -> NDArray[Any]:
    kinds: tuple[Callable[[], NDArray[Any]], ...] = (
        lambda: array.reshape(-1),
        lambda: array[None],
        lambda: array.T,
        lambda: array[:0] if array.ndim else array,
        lambda: array[:-1] if array.ndim else array,
        lambda: np.concatenate([array, array]) if array.ndim else array,
        lambda: array[..., ::-1] if array.ndim else array,
    )
    return one_of(kinds, generator)()


ARRAY_CHANGES: tuple[Callable[[NDArray[Any], Generator], NDArray[Any] | None], ...] = (
    _filled,
    _filled,
    _filled,
    _retyped,
    _reshaped,
    lambda array, generator: None,
    lambda array, generator: np.zeros(array.shape, array.dtype),
    lambda array, generator: np.sort(array, axis=-1)[..., ::-1] if array.ndim else array,
)
