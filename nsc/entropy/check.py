"""Checks of probability tables: tables that pass can be used without an error and in bounded time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsc.constants import TABLE_TOTAL
from nsc.entropy.context_model import ARRAY_SEPARATOR, ContextModel, read_models
from nsc.errors import UserError

LONGEST_GROUP = 256  # frames
MOST_PHASES = 4096
MOST_OFFSETS = 33  # rows of a neighbourhood, of which nine are usual
EXACT = 2.0**53  # floats hold every whole number below

Arrays = Mapping[str, NDArray[Any]]
FIELDS = tuple(each.name for each in fields(ContextModel))


def check_tables(arrays: Arrays, shapes: Mapping[str, tuple[int, int]], alphabets: Mapping[str, int]) -> None:
    """Raises UserError where arrays are not the plain tables and context models of these parts.

    Args:
        arrays: the tables of a saved model, by name.
        shapes: (positions, channels) of the symbols of one frame of each part, in their order.
        alphabets: number of symbols of each part.
    """
    contexts = {name: [name + ARRAY_SEPARATOR + each for each in FIELDS] for name in shapes}
    known = {*shapes, *(key for keys in contexts.values() for key in keys)}
    for name in arrays:
        _require(name in known, name, "a table of one of the model's parts", "one of none")
        _require(arrays[name].dtype.kind in "iu", name, "whole numbers", str(arrays[name].dtype))
    for name, shape in shapes.items():
        _require(name in arrays, name, "a table", "none")
        found = arrays[name].shape
        _require(found == (shape[1], alphabets[name]), name, f"shape {(shape[1], alphabets[name])}", f"{found}")
        _check_counts(name, arrays[name])
        absent = [key for key in contexts[name] if key not in arrays]
        _require(len(absent) in (0, len(FIELDS)), name, "all arrays of its contexts", f"no {', '.join(absent)}")
    models, columns_before = read_models(arrays), 0
    for name, shape in shapes.items():
        if contexts[name][0] in arrays:
            _check_context_model(name, models[name], arrays, shape, alphabets[name], columns_before)
        columns_before = models[name].columns


def _check_context_model(
    name: str, model: ContextModel, arrays: Arrays, shape: tuple[int, int], alphabet: int, columns_before: int
) -> None:
    key = {each: name + ARRAY_SEPARATOR + each for each in FIELDS}
    ranks = {"phases": 2, "levels": 2, "scale_thresholds": 2, "tables": 3}
    for each in FIELDS:
        _check_rank(key[each], arrays[key[each]], ranks.get(each, 3))
    columns, phases = model.columns, len(model.phases)
    symbols = math.prod(shape)
    _require(
        columns > 0 and symbols % columns == 0, key["levels"], f"columns that divide {symbols} symbols", f"{columns}"
    )
    _require(model.levels.shape[1] == alphabet, key["levels"], f"{alphabet} levels", f"{model.levels.shape[1]}")
    _require(0 < phases <= MOST_PHASES, key["phases"], f"1 to {MOST_PHASES} phases", f"{phases}")
    _check_phases(key["phases"], model, LONGEST_GROUP * symbols // columns)
    offsets, neighbours = model.mean_weights.shape[1:]
    _require(offsets <= MOST_OFFSETS, key["mean_weights"], f"at most {MOST_OFFSETS} neighbouring rows", f"{offsets}")
    wide = offsets % 2 == 1 and neighbours in (columns, columns + columns_before)
    _require(wide, key["mean_weights"], "a neighbourhood of the part and the one before", f"{offsets} x {neighbours}")
    scales, means = model.mean_thresholds.shape[1], model.mean_thresholds.shape[2] + 1
    expected = {
        "mean_weights": (phases, offsets, neighbours),
        "scale_weights": (phases, offsets, neighbours),
        "scale_thresholds": (phases, scales - 1),
        "mean_thresholds": (phases, scales, means - 1),
        "tables": (phases, scales * means, alphabet),
    }
    for each, wanted in expected.items():
        found = getattr(model, each).shape
        _require(found == wanted, key[each], f"shape {wanted}", f"{found}")
    for each in ("scale_thresholds", "mean_thresholds"):
        _require(bool((np.diff(getattr(model, each)) >= 0).all()), key[each], "thresholds that rise", "falling ones")
    _check_counts(key["tables"], model.tables)
    largest = float(np.abs(model.levels.astype(np.float64)).max()) * max(
        float(np.abs(weights.astype(np.float64)).sum((1, 2)).max())
        for weights in (model.mean_weights, model.scale_weights)
    )
    _require(largest < EXACT, key["mean_weights"], "sums below 2^53", f"sums up to {largest:.3g}")


def _check_phases(name: str, model: ContextModel, rows: int) -> None:
    """Every symbol of a group, however long, is coded once."""
    first, step, column = model.phases.T if model.phases.shape[1] == 3 else np.zeros((3, 1), np.int64)
    within = (first >= 0) & (first < rows) & (step >= 1) & (step <= rows) & (column >= 0) & (column < model.columns)
    _require(bool(within.all()), name, "rows, steps and columns of a group", "others")
    times = np.zeros((model.columns, rows), np.int64)
    for phase in model.all_phases():
        times[phase.column, phase.rows] += 1
    _require(bool((times == 1).all()), name, "phases that code every symbol once", "others")


def _check_counts(name: str, counts: NDArray[Any]) -> None:
    _require(counts.size > 0 and int(counts.min()) >= 1, name, "counts of at least 1", "smaller ones")
    _require(int(counts.max()) <= TABLE_TOTAL, name, f"counts up to {TABLE_TOTAL}", "larger ones")
    sums = counts.sum(-1, dtype=np.int64)
    _require(bool((sums == TABLE_TOTAL).all()), name, f"rows that sum to {TABLE_TOTAL}", "another sum")


def _check_rank(name: str, array: NDArray[Any], rank: int) -> None:
    _require(array.ndim == rank, name, f"{rank} dimensions", f"{array.ndim}")


def _require(condition: bool, name: str, expected: str, found: str) -> None:
    if not condition:
        raise UserError(f"{name}: expected {expected}, found {found}")
