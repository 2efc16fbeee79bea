"""Changes of what folders of models hold: bytes, entries of a description, arrays."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.fuzzing.choice import Generator, one_of

EXTREMES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 3, 63, 64, 10**7, 10**9, 10**400, 0.5, -1e300, 1e300, float("nan"), float("inf")),
    *("", "x", "../../x", "\0", [], {}, [[[]]], [1, 2, 3], {"a": 1}, [0] * 10_000),
)
FILLS = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1.0, 1e30, 65_535.0, 2.0**31 - 1)
TYPES = ("<f4", "<f8", "<f2", "<i4", "<i8", "<u2", "<u1", "|b1", "<U4", "<c8")

Arrays = dict[str, NDArray[Any]]


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
