"""Checked reading of a saved model's files: no more memory is taken than the files hold."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from nsc.errors import UserError
from nsc.loading.arrays import read_arrays as read_arrays

MOST_DESCRIPTION_BYTES: Final = 1 << 20
MOST_TAUS: Final = 64
STAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")

Arrays = dict[str, NDArray[Any]]


def read_description(path: Path) -> dict[str, Any]:
    """A model's description: stage, configuration, taus and hash.

    Raises:
        UserError: entries are missing or of wrong types.
        Exception: of any kind, where the file is damaged.
    """
    with path.open("rb") as file:
        data = file.read(MOST_DESCRIPTION_BYTES + 1)
    if len(data) > MOST_DESCRIPTION_BYTES:
        raise UserError(f"expected at most {MOST_DESCRIPTION_BYTES} bytes of description, found more")
    description = json.loads(data)
    if not isinstance(description, dict):
        raise UserError(f"expected a description, found {type(description).__name__}")
    _check_entries(description)
    return description


def _check_entries(description: Mapping[str, Any]) -> None:
    for name, pattern in (("stage", STAGE), ("sha256", DIGEST)):
        value = description.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise UserError(f"expected a {name}, found {str(value)[:40]!r}")
    if not isinstance(description.get("config"), dict):
        raise UserError(f"expected a configuration, found {type(description.get('config')).__name__}")
    taus = description.get("tau", [])
    numbers = isinstance(taus, list) and len(taus) <= MOST_TAUS
    if not numbers or not all(type(tau) in (int, float) and math.isfinite(tau) for tau in taus):
        raise UserError("expected a list of numbers as tau, found something else")


def sizes_by_layer(arrays: Mapping[str, NDArray[Any]]) -> dict[str, list[int]]:
    """How many numbers each array has, by the layer before the '/' of its name."""
    sizes: dict[str, list[int]] = {}
    for name, array in arrays.items():
        sizes.setdefault(name.partition("/")[0], []).append(array.size)
    return sizes


def check_shapes(arrays: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises UserError where saved weights are not those of a network, name by name and shape by shape."""
    for name in [*expected, *arrays]:
        if name not in arrays:
            raise UserError(f"expected a weight {name}, found none")
        if name not in expected:
            raise UserError(f"expected the network's weights, found {name}, which it does not have")
        if arrays[name].dtype.kind != "f" or arrays[name].shape != expected[name]:
            found = f"{arrays[name].dtype} {arrays[name].shape}"
            raise UserError(f"{name}: expected numbers of shape {expected[name]}, found {found}")
