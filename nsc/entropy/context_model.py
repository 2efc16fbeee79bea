"""Probabilities of a group's symbols given those already coded: integer tables chosen by integer contexts.

The symbols of a part and a group form a matrix [rows, columns]: a row is a moment, a column a kind of symbol. They
are coded in phases, each a column at every `step`-th row, so that a phase needs nothing but earlier ones and is coded
in one call. Two weighted sums over the neighbourhood, of the levels and of their magnitudes, tell roughly where a
symbol lies and how far it spreads; their classes choose its table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from nsc.constants import TABLE_PRECISION_BITS
from nsc.format.version_1 import FRAMES_PER_GROUP

Symbols = NDArray[np.int32]
Integers = NDArray[np.int64]
Levels = NDArray[np.float64]  # whole numbers as floats: products of matrices are exact and quick

ARRAY_SEPARATOR = ":"  # in the names under which a saved model keeps these arrays along with the plain tables


@dataclass(frozen=True)
class Phase:
    """Symbols that are coded together: rows first, first + step, ... of one column of a group's matrix."""

    number: int
    first: int
    step: int
    column: int

    @property
    def rows(self) -> slice:
        """Where in a column its symbols are."""
        return slice(self.first, None, self.step)


# Codes the symbols of a phase, given the table's number of each, int64 [groups, n]: the symbols, int32 [groups, n].
CodePhase = Callable[[Phase, Integers], Symbols]


@dataclass(frozen=True)
class ContextModel:
    """The probabilities of one part of the rate. All numbers are whole.

    A neighbourhood is 2 radius + 1 rows of the part's own columns and, after them, of all columns of the preceding part
    where the weights have room for them. Symbols not yet coded, and all beyond the group, count as level 0.

    Attributes:
        phases: [phases, 3], first row, step of rows, column.
        levels: [columns, alphabet], value of each symbol, 0 at the column's mean.
        mean_weights: [phases, 2 radius + 1, columns of the neighbourhood], for the levels.
        scale_weights: of the same shape, for their magnitudes.
        scale_thresholds: [phases, scales - 1], rising.
        mean_thresholds: [phases, scales, means - 1], rising.
        tables: [phases, scales x means, alphabet], at least 1 everywhere, sums of 2^16.
    """

    phases: Integers
    levels: Integers
    mean_weights: Integers
    scale_weights: Integers
    scale_thresholds: Integers
    mean_thresholds: Integers
    tables: Integers

    @property
    def columns(self) -> int:
        """Columns of the part itself."""
        return len(self.levels)

    @property
    def radius(self) -> int:
        """Rows of the neighbourhood on either side."""
        return self.mean_weights.shape[1] // 2

    @property
    def uses_part_before(self) -> bool:
        """Whether the neighbourhood takes in the part before."""
        return self.mean_weights.shape[2] > self.columns

    def all_phases(self) -> Iterator[Phase]:
        """The phases in coding order."""
        for number, (first, step, column) in enumerate(self.phases.tolist()):
            yield Phase(number, first, step, column)

    def matrices(self, symbols: Symbols) -> Symbols:
        """Symbols [groups, frames, positions, channels] as matrices [groups, rows, columns]."""
        return symbols.reshape(len(symbols), math.prod(symbols.shape[1:]) // self.columns, self.columns)

    def contexts(self, levels: Levels, phase: Phase) -> Integers:
        """Number of the table of every symbol of a phase.

        Args:
            levels: [groups, radius + rows + radius, columns of the neighbourhood], zeros where nothing is known.
            phase: which symbols.

        Returns:
            Indices [groups, n] into the phase's tables: class of scale x number of means + class of mean.
        """
        scale = self.sums(np.abs(levels), self.scale_weights, phase)
        of_scale = np.searchsorted(self.scale_thresholds[phase.number], scale, side="right")
        thresholds = self.mean_thresholds[phase.number][of_scale]
        mean = self.sums(levels, self.mean_weights, phase)
        return of_scale * (thresholds.shape[-1] + 1) + (thresholds <= mean[..., None]).sum(-1)

    def sums(self, values: Levels, weights: Integers, phase: Phase) -> Levels:
        """Weighted sums over the neighbourhood of every symbol of a phase, [groups, n]."""
        by_offset = values @ weights[phase.number].T.astype(np.float64)
        rows = values.shape[1] - 2 * self.radius
        moved = [by_offset[:, offset : offset + rows, offset] for offset in range(by_offset.shape[2])]
        return sum(moved[1:], moved[0])[:, phase.rows]

    def unknown_levels(self, groups: int, rows: int, before: Levels | None) -> Levels:
        """Levels [groups, radius + rows + radius, ...] of which those of the part before alone are known."""
        levels = np.zeros((groups, rows + 2 * self.radius, self.mean_weights.shape[2]))
        if self.uses_part_before:
            assert before is not None, "the model was made for a part with another one before it"
            # the two may divide the same time into different numbers of rows
            rows_before = np.arange(rows) * before.shape[1] // max(1, rows)
            levels[:, self.radius : self.radius + rows, self.columns :] = before[:, rows_before]
        return levels

    def arrays(self, name: str) -> dict[str, NDArray[np.int32]]:
        """The model's arrays for a file, under names that begin with the part's."""
        return {name + ARRAY_SEPARATOR + each.name: getattr(self, each.name).astype(np.int32) for each in _FIELDS}


_FIELDS = fields(ContextModel)


def code_groups(model: ContextModel, groups: int, rows: int, before: Levels | None, code: CodePhase) -> Levels:
    """Codes a part of groups of equal length, phase by phase; encoder and decoder differ in `code` alone.

    Args:
        model: of the part.
        groups: how many; the coder of a file has one at a time.
        rows: of a group's matrix.
        before: levels [groups, rows, columns] of the part before, as returned here; None where there is none.
        code: codes the symbols of a phase and returns them.

    Returns:
        Levels [groups, rows, columns] of the part, for the part after it.
    """
    levels = model.unknown_levels(groups, rows, before)
    own = levels[:, model.radius : model.radius + rows, : model.columns]
    for phase in model.all_phases():
        if phase.first < rows:
            symbols = code(phase, model.contexts(levels, phase))
            own[:, phase.rows, phase.column] = model.levels[phase.column][symbols]
    return own


def whole_groups(symbols: Symbols) -> Symbols:
    """Symbols [frames, positions, channels] as groups [frames // 16, 16, positions, channels]."""
    groups = len(symbols) // FRAMES_PER_GROUP
    return symbols[: groups * FRAMES_PER_GROUP].reshape(groups, FRAMES_PER_GROUP, *symbols.shape[1:])


def frame_code_lengths(
    models: Mapping[str, ContextModel], symbols: Mapping[str, Symbols]
) -> dict[str, NDArray[np.float64]]:
    """Ideal code length of every frame of a signal in bits, float64 [frames] by part, as an .nsc file codes it.

    Args:
        models: of the parts, in their order.
        symbols: int32 [frames, positions, channels] of each part.
    """
    rest = {
        name: values[None, len(values) // FRAMES_PER_GROUP * FRAMES_PER_GROUP :] for name, values in symbols.items()
    }
    whole = code_lengths(models, {name: whole_groups(values) for name, values in symbols.items()})
    last = code_lengths(models, rest)
    return {name: np.concatenate([whole[name].reshape(-1), last[name][0]]) for name in symbols}


def code_lengths(models: Mapping[str, ContextModel], symbols: Mapping[str, Symbols]) -> dict[str, NDArray[np.float64]]:
    """Ideal code length of every frame of groups in bits.

    Args:
        models: of the parts, in their order.
        symbols: [groups, frames, positions, channels] of each part.

    Returns:
        For each part, float64 [groups, frames].
    """
    lengths, before = {}, None
    for name, values in symbols.items():
        matrices = models[name].matrices(values)
        groups, rows, _ = matrices.shape
        bits = np.zeros(matrices.shape)
        before = code_groups(models[name], groups, rows, before, _measuring(models[name], matrices, bits))
        lengths[name] = bits.reshape(values.shape).sum((2, 3))
    return lengths


def _measuring(model: ContextModel, matrices: Symbols, bits: NDArray[np.float64]) -> CodePhase:
    costs = TABLE_PRECISION_BITS - np.log2(model.tables)

    def code(phase: Phase, contexts: Integers) -> Symbols:
        symbols = matrices[:, phase.rows, phase.column]
        bits[:, phase.rows, phase.column] = costs[phase.number][contexts, symbols]
        return symbols

    return code


def read_models(arrays: Mapping[str, NDArray[np.int32]]) -> dict[str, ContextModel]:
    """The models of all parts among a saved model's tables; a part that has a plain table only gets just that."""
    plain = {name: table for name, table in arrays.items() if ARRAY_SEPARATOR not in name}
    return {name: _read_model(name, arrays) or static_model(table) for name, table in plain.items()}


def _read_model(name: str, arrays: Mapping[str, NDArray[np.int32]]) -> ContextModel | None:
    names = {each.name: name + ARRAY_SEPARATOR + each.name for each in _FIELDS}
    if not set(names.values()) <= set(arrays):
        return None
    return ContextModel(**{field: arrays[key].astype(np.int64) for field, key in names.items()})


def static_model(table: NDArray[np.int32]) -> ContextModel:
    """One table [columns, alphabet] per column, whatever was coded before."""
    columns = len(table)
    no_weights = np.zeros((columns, 1, columns), np.int64)
    return ContextModel(
        phases=np.array([(0, 1, column) for column in range(columns)]),
        levels=np.zeros(table.shape, np.int64),
        mean_weights=no_weights,
        scale_weights=no_weights,
        scale_thresholds=np.zeros((columns, 0), np.int64),
        mean_thresholds=np.zeros((columns, 1, 0), np.int64),
        tables=table[:, None].astype(np.int64),
    )
