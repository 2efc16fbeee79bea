"""Symbols of one group to the bytes of its parts and back, under the context models of a saved model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from nsc.entropy.context_model import CodePhase, ContextModel, Integers, Phase, Symbols, code_groups
from nsc.entropy.range_coding import RangeDecoder, RangeEncoder


class SymbolCoder:
    """Codes groups of frames independently, each part of a group as a separate message.

    A part's model looks at its own group and at the part before only, so that a lost group harms no other and the
    last parts of a group may be dropped.
    """

    def __init__(self, models: Mapping[str, ContextModel], shapes: Mapping[str, tuple[int, int]]) -> None:
        """Takes the parts in their order.

        Args:
            models: of each part.
            shapes: (positions, channels) of the symbols of one frame of each part.
        """
        self.models = {name: models[name] for name in shapes}
        self.shapes = dict(shapes)
        self._tables = {name: model.tables.astype(np.float64) for name, model in self.models.items()}

    def encode(self, symbols: Mapping[str, Symbols]) -> list[bytes]:
        """Bytes of each part of a group from its symbols, int32 [frames, positions, channels], in order."""
        payloads, before = [], None
        for name, values in symbols.items():
            model, coder = self.models[name], RangeEncoder()
            matrices = model.matrices(values[None])
            code = _encoding(coder, self._tables[name], matrices)
            before = code_groups(model, 1, matrices.shape[1], before, code)
            payloads.append(coder.finish())
        return payloads

    def decode(self, payloads: Sequence[bytes], num_frames: int) -> dict[str, Symbols]:
        """The inverse of `encode`: symbols of as many parts as there are payloads.

        Raises:
            ValueError: bytes that `encode` does not write.
        """
        symbols, before = {}, None
        for (name, model), payload in zip(self.models.items(), payloads, strict=False):
            rows = num_frames * prod(self.shapes[name]) // model.columns
            matrix = np.zeros((1, rows, model.columns), np.int32)
            code = _decoding(RangeDecoder(payload), self._tables[name], matrix)
            before = code_groups(model, 1, rows, before, code)
            symbols[name] = matrix.reshape(num_frames, *self.shapes[name])
        return symbols


def _encoding(coder: RangeEncoder, tables: NDArray[np.float64], matrices: Symbols) -> CodePhase:
    def code(phase: Phase, contexts: Integers) -> Symbols:
        symbols = matrices[:, phase.rows, phase.column]
        coder.encode(symbols[0], tables[phase.number][contexts[0]])
        return symbols

    return code


def _decoding(coder: RangeDecoder, tables: NDArray[np.float64], matrices: Symbols) -> CodePhase:
    def code(phase: Phase, contexts: Integers) -> Symbols:
        symbols = coder.decode(tables[phase.number][contexts[0]])
        matrices[0, phase.rows, phase.column] = symbols
        return symbols[None]

    return code
