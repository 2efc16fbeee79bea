"""Integer probability tables of the symbols, and the ideal code length under them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kinds.kind import Tables
from nsc.constants import SAMPLE_RATE, TABLE_PRECISION_BITS, TABLE_TOTAL
from nsc.format.version_1 import FRAMES_PER_GROUP, GAIN_LEVELS, HOP
from nsc.kinds.samples.network import Part

GAIN_BITS_PER_FRAME = np.log2(GAIN_LEVELS) / FRAMES_PER_GROUP  # one gain index of fixed length a group
FRAMES_PER_SECOND = SAMPLE_RATE / HOP


def count_symbols(part: Part, symbols: NDArray[np.int32]) -> NDArray[np.int64]:
    """How often each channel [channels] takes each value: int64 [channels, alphabet]."""
    channels = part.shape[1]
    flat = symbols.reshape(-1, channels) + part.alphabet * np.arange(channels)
    return np.bincount(flat.reshape(-1), minlength=channels * part.alphabet).reshape(channels, part.alphabet)


def integer_tables(counts: Mapping[str, NDArray[np.int64]]) -> Tables:
    """Probabilities of every part as int32 [channels, alphabet], each row at least 1 everywhere and summing to 2^16.

    A symbol never seen keeps a share of one, so that anything the encoder may find can be sent.
    """
    return {name: np.stack([_integer_row(row) for row in rows]) for name, rows in counts.items()}


def _integer_row(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    spare = TABLE_TOTAL - len(counts)
    total = max(int(counts.sum()), 1)
    row = 1 + counts * spare // total
    row[int(np.argmax(counts))] += TABLE_TOTAL - row.sum()
    return row.astype(np.int32)


def code_lengths(symbols: Mapping[str, NDArray[np.int32]], tables: Tables) -> dict[str, NDArray[np.float64]]:
    """Ideal code length of every frame and part in bits under the model's tables: float64 [frames]."""
    return {name: _code_length(values, tables[name]) for name, values in symbols.items()}


def _code_length(symbols: NDArray[np.int32], table: NDArray[np.int32]) -> NDArray[np.float64]:
    bits = TABLE_PRECISION_BITS - np.log2(table)
    channels = np.arange(symbols.shape[2])
    return bits[channels, symbols].sum(axis=(1, 2))


def channels_entropy(counts: NDArray[np.floating]) -> float:
    """Bits of one symbol of every channel, from counts [channels, alphabet]: the sum of the channels' entropies."""
    counts = counts.astype(np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-30)
    return float(-np.sum(shares * np.log2(np.maximum(shares, 1e-30))))


def kilobits_per_second(bits_per_frame: float) -> float:
    """Bits per frame of 480 new samples as 1000 bits per second."""
    return bits_per_frame * FRAMES_PER_SECOND / 1000


def bits_per_frame(kbps: float) -> float:
    """The inverse of `kilobits_per_second`."""
    return kbps * 1000 / FRAMES_PER_SECOND


def paper_style_kbps(codes: Sequence[NDArray[np.int32]]) -> float:
    """The first implementation's rate: entropy of single frames' own histograms, codes only, 1 kbps = 1024 bits.

    No decoder could use it: histograms are not sent, LPC and gain are not counted. Shown for comparison with papers.

    Args:
        codes: symbols of every codec, int32 [frames, positions, channels].
    """
    bits = sum(np.mean([channels_entropy(_counts(frame)) * frame.size for frame in symbols]) for symbols in codes)
    return float(bits) * FRAMES_PER_SECOND / 1024


def _counts(frame: NDArray[np.int32]) -> NDArray[np.float64]:
    return np.unique(frame, return_counts=True)[1][None].astype(np.float64)
