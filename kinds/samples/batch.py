"""Whole signals through a cascade: preparation, hard symbols, and the decoded signal of every depth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from constants import LPC_CONTEXT
from kinds.samples.cascade import SampleCascade
from kinds.samples.serving import symbols_by_part, symbols_of_parts
from nsc.coding.interface import Signal
from options.config import Config
from utilities import (
    cut_frames,
    de_emphasise,
    frame_gains,
    group_levels,
    high_pass,
    overlap_add,
    pre_emphasise,
)

# Whole signals go in padded batches of one size: another size moves codes by 1e-6, enough to flip a symbol.
SIGNAL_BATCH = 64


class Prepared(NamedTuple):
    """A signal ready for the cascade.

    contexts: float32 [frames, 1024], emphasised, at unit level.
    gain_indices: uint8 [groups], sent once every 16 frames.
    num_samples: length of the signal.
    """

    contexts: NDArray[np.float32]
    gain_indices: NDArray[np.uint8]
    num_samples: int


class Coded(NamedTuple):
    """All that is sent of a signal: symbols int32 [frames, positions, channels] by part in order, gains and length."""

    symbols: dict[str, NDArray[np.int32]]
    gain_indices: NDArray[np.uint8]
    num_samples: int


def prepare(signal: Signal, config: Config) -> Prepared:
    """Filters and frames a signal [n] of 16 kHz and divides it by its gains."""
    filtered = high_pass(signal) if config.high_pass else signal
    emphasised = pre_emphasise(filtered) if config.pre_emphasis else filtered
    contexts = cut_frames(emphasised, context=LPC_CONTEXT)
    indices = group_levels(signal, config.gain)
    return Prepared(contexts / frame_gains(indices, len(contexts))[:, None], indices, len(signal))


def encode(cascade: SampleCascade, signal: Signal, depth: int) -> Coded:
    """The hard symbols of a signal [n] of 16 kHz, up to `depth` codecs."""
    prepared = prepare(signal, cascade.config)
    parts = cascade.parts(depth)
    batches = [
        symbols_by_part(parts, cascade.encode(tf.constant(batch), depth))
        for batch in _padded_batches(prepared.contexts)
    ]
    count = len(prepared.contexts)
    symbols = {part.name: np.concatenate([batch[part.name] for batch in batches])[:count] for part in parts}
    return Coded(symbols, prepared.gain_indices, prepared.num_samples)


def decode(cascade: SampleCascade, coded: Coded) -> list[Signal]:
    """The decoded signal [num_samples] at every depth, from what is sent and nothing else."""
    padded = [_padded_batches(values) for values in coded.symbols.values()]
    time_domain = cascade.config.time_domain
    batches = [
        cascade.decode(symbols_of_parts(list(map(tf.constant, arrays)), time_domain=time_domain))
        for arrays in zip(*padded, strict=True)
    ]
    return [restore(np.concatenate(depth), coded, cascade.config) for depth in zip(*batches, strict=True)]


def restore(frames: NDArray[np.float32], coded: Coded, config: Config) -> Signal:
    """The signal [num_samples] of windowed frames [frames or more, 512] at unit level."""
    count = len(next(iter(coded.symbols.values())))
    levelled = frames[:count] * frame_gains(coded.gain_indices, count)[:, None]
    signal = overlap_add(levelled, coded.num_samples)
    return de_emphasise(signal) if config.pre_emphasis else signal


def _padded_batches(array: NDArray) -> Iterator[NDArray]:
    """Batches of exactly SIGNAL_BATCH rows, the last one filled with zeros."""
    for start in range(0, len(array), SIGNAL_BATCH):
        batch = array[start : start + SIGNAL_BATCH]
        missing = SIGNAL_BATCH - len(batch)
        yield np.pad(batch, [(0, missing)] + [(0, 0)] * (batch.ndim - 1))
