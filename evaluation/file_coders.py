"""Test files coded by a model: bytes at every rate and depth, and the cost of each part."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import nsc
from constants import SAMPLE_RATE
from kinds.samples.rate import paper_style_kbps
from kinds.spectral.batch import file_batch
from kinds.spectral.cascade import SpectralCascade
from nsc import format as bitstream
from nsc.coding.interface import Signal
from nsc.entropy.context_model import Symbols
from nsc.errors import UserError
from nsc.kinds.spectral.level import offset_of
from nsc.kinds.spectral.model import file_groups
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


class FileCoder(Protocol):
    """Codes files with a model and measures what they cost."""

    def code(self, signal: Signal) -> Iterator[CodedFile]:
        """A signal at every rate and depth."""
        ...


def file_coder(model: SavedModel, rates: Sequence[float]) -> FileCoder:
    """The coder of a model, at rates in kbps where it codes at any rate.

    Raises:
        UserError: rates for a model that has but one.
    """
    if isinstance(model.cascade, SpectralCascade):
        return SpectralFileCoder(model, tuple(rates) or (math.nan,))
    if rates:
        raise UserError("argument --rates: requires a variable-rate model")
    return CascadeFileCoder(model)


class CascadeFileCoder:
    """Files of a cascade on frames of samples."""

    def __init__(self, model: SavedModel) -> None:
        self._model = model

    def code(self, signal: Signal) -> Iterator[CodedFile]:
        """A signal at every depth."""
        data = nsc.encode(signal, self._model.codec)
        symbols = self._model.codec.symbols(data)
        lengths = self._model.codec.code_lengths(data).bits
        seconds = len(signal) / SAMPLE_RATE
        for depth in range(1, len(self._model.cascade.codecs) + 1):
            cut = bitstream.truncate(data, depth)
            yield CodedFile(math.nan, depth, cut, _rates(cut, symbols, lengths, seconds))


def _rates(
    data: bytes, symbols: Mapping[str, Symbols], lengths: Mapping[str, NDArray[np.float64]], seconds: float
) -> dict[str, Any]:
    """The rates of a result, from an .nsc file and its symbols at full depth."""
    byte_counts = _byte_counts(data)
    parts = [name for name in symbols if name in byte_counts]
    bits = {name: float(lengths[name].mean()) for name in parts}
    return {
        "kbps": 8 * len(data) / seconds / 1000,
        "payload_kbps": 8 * sum(byte_counts[name] for name in parts) / seconds / 1000,
        "ideal_kbps": sum(float(lengths[name].sum()) for name in parts) / seconds / 1000,
        "paper_style_kbps": paper_style_kbps([symbols[name] for name in parts if name.startswith(CODEC)]),
        "bits": bits,
        "entropies": {name: value / symbols[name][0].size for name, value in bits.items()},
        "byte_counts": byte_counts,
    }


def _byte_counts(data: bytes) -> dict[str, int]:
    return {name: size for name, size in nsc.info(data).bytes.items() if name != "damaged"}


@dataclass(frozen=True)
class SpectralFileCoder:
    """Files of a cascade on the lapped spectrum, at some rates; NaN is the model's own."""

    model: SavedModel
    rates: tuple[float, ...]

    def code(self, signal: Signal) -> Iterator[CodedFile]:
        """A signal at every rate and depth."""
        for asked in self.rates:
            whole = nsc.encode(signal, self.model.coding, kbps=None if math.isnan(asked) else asked)
            for depth in range(1, len(self.model.cascade.codecs) + 1):
                data = bitstream.truncate(whole, depth)
                yield CodedFile(asked, depth, data, self._rates(data, depth, signal))

    def _rates(self, data: bytes, depth: int, signal: Signal) -> dict[str, Any]:
        codec, seconds = self.model.spectral_codec, len(signal) / SAMPLE_RATE
        frames = codec.settings.frames_of(len(signal))
        byte_counts, lengths = _byte_counts(data), codec.code_lengths(data).bits
        symbols = {part.name: math.prod(part.shape) for part in self.model.cascade.parts(depth)}
        bits = {name: float(length.sum()) / frames for name, length in lengths.items()}
        payload = sum(size for name, size in byte_counts.items() if name.startswith(CODEC))
        return {
            "kbps": 8 * len(data) / seconds / 1000,
            "payload_kbps": 8 * payload / seconds / 1000,
            "ideal_kbps": sum(float(each.sum()) for each in lengths.values()) / seconds / 1000,
            "training_kbps": self._training_bits(data, depth, signal) / seconds / 1000,
            "paper_style_kbps": math.nan,  # has no meaning where contexts know so much
            "bits": bits,
            "entropies": {name: value / symbols[name] for name, value in bits.items()},
            "byte_counts": byte_counts,
        }

    def _training_bits(self, data: bytes, depth: int, signal: Signal) -> float:
        """Training's estimate of what the file takes, at the step offset that the file has."""
        codec = self.model.spectral_codec
        offset = next(iter(file_groups(data, codec.coder))).steps.offset
        frames = nsc.info(data).header.group_frames
        batch = file_batch(signal, self.model.cascade.config, offset_of(offset), frames)
        return float(_estimated_bits(self.model.cascade, batch, depth))


@tf.function(reduce_retracing=True, autograph=False)
def _estimated_bits(cascade: SpectralCascade, batch: Any, depth: int) -> tf.Tensor:
    return tf.add_n(cascade.call(batch, ["hard"] * depth, "hard").bits)[0]
