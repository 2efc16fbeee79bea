"""Test files coded by a model: bytes at every rate and depth, and the cost of each part."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import nsc
from constants import SAMPLE_RATE
from nsc import format as bitstream
from nsc.coding.interface import Signal
from nsc.errors import UserError
from runs.saved_model import SavedModel

CODEC = "codec"  # how the names of the codecs' parts begin


class CodedFile(NamedTuple):
    """A file at one rate and depth.

    asked_kbps: what was asked for; nan where the model has one rate.
    depth: codecs in it.
    data: the .nsc file.
    rates: "kbps", "payload_kbps", "ideal_kbps", "paper_style_kbps", "bits", "entropies", "byte_counts" as
        `evaluate.FileResult` has them, and for models on the lapped spectrum "training_kbps".
    """

    asked_kbps: float
    depth: int
    data: bytes
    rates: dict[str, Any]


@dataclass(frozen=True)
class FileCoder:
    """Codes files with a model, at some rates where it codes at any, and measures what they cost; NaN: its own rate."""

    model: SavedModel
    rates: tuple[float, ...] = (math.nan,)

    def code(self, signal: Signal) -> Iterator[CodedFile]:
        """A signal at every rate and depth."""
        for asked in self.rates:
            whole = nsc.encode(signal, self.model.coding, kbps=None if math.isnan(asked) else asked)
            symbols, lengths = self.model.coding.symbols(whole), self.model.coding.code_lengths(whole).bits
            for depth in range(1, self.model.coding.depth + 1):
                data = bitstream.truncate(whole, depth)
                kept = {part.name: symbols[part.name] for part in self.model.cascade.parts(depth)}
                yield CodedFile(asked, depth, data, self._rates(data, kept, lengths, len(signal) / SAMPLE_RATE))

    def _rates(
        self, data: bytes, symbols: Mapping[str, NDArray[np.int32]], lengths: Mapping[str, NDArray[Any]], seconds: float
    ) -> dict[str, Any]:
        byte_counts = {name: size for name, size in nsc.info(data).bytes.items() if name != "damaged"}
        bits = {name: float(lengths[name].mean()) for name in symbols}
        payload = sum(size for name, size in byte_counts.items() if name in symbols)
        codes = [values for name, values in symbols.items() if name.startswith(CODEC)]
        return {
            "kbps": 8 * len(data) / seconds / 1000,
            "payload_kbps": 8 * payload / seconds / 1000,
            "ideal_kbps": sum(float(lengths[name].sum()) for name in symbols) / seconds / 1000,
            "paper_style_kbps": self.model.kind.paper_style_kbps(codes),
            "bits": bits,
            "entropies": {name: value / symbols[name][0].size for name, value in bits.items()},
            "byte_counts": byte_counts,
        }


def file_coder(model: SavedModel, rates: Sequence[float]) -> FileCoder:
    """The coder of a model, at rates in kbps where it codes at any rate.

    Raises:
        UserError: rates for a model that has but one.
    """
    if rates and not model.coding.offsets:
        raise UserError("argument --rates: requires a variable-rate model")
    return FileCoder(model, tuple(rates) or (math.nan,))
