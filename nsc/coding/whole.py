"""Whole signals to .nsc files and back, in memory or block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nsc.coding.decoder import NO_SAMPLES, Damage, Decoder
from nsc.coding.encoder import Encoder, checked_samples
from nsc.coding.interface import Model, Signal
from nsc.constants import SAMPLE_RATE

SAMPLE_BLOCK = 60 * SAMPLE_RATE  # samples given to the encoder at once: an hour of speech is not copied whole
BYTE_BLOCK = 1 << 14


class Decoded(NamedTuple):
    """A decoded signal, float32 [n] at 16 kHz, and what had to be made up in it."""

    signal: Signal
    damage: Damage


def encode(signal: ArrayLike, model: Model, layers: int | None = None, *, spans: int = 1) -> bytes:
    """An .nsc file of a signal [n] of 16 kHz, see `nsc.encode`."""
    samples = checked_samples(signal)
    blocks = (samples[start : start + SAMPLE_BLOCK] for start in range(0, max(1, len(samples)), SAMPLE_BLOCK))
    return b"".join(encoded_blocks(blocks, len(samples), model, layers, spans=spans))


def encoded_blocks(
    blocks: Iterable[ArrayLike], num_samples: int, model: Model, layers: int | None = None, *, spans: int = 1
) -> Iterator[bytes]:
    """The bytes of an .nsc file of `num_samples` samples that arrive in blocks; a model may need them all at once."""
    whole = None
    if model.needs_whole_signal:
        whole = np.concatenate([NO_SAMPLES, *map(np.asarray, blocks)])
        blocks = [whole]
    encoder = Encoder(model, layers, spans=spans, num_samples=num_samples, whole=whole)
    for block in blocks:
        yield encoder.write(block)
    yield encoder.finish()


def decode(data: bytes, model: Model, layers: int | None = None) -> Decoded:
    """The signal of an .nsc file, of the declared length even if parts of the file are damaged, see `nsc.decode`."""
    decoder = Decoder(model, layers)
    blocks = list(decoded_blocks(data, decoder))
    return Decoded(np.concatenate([NO_SAMPLES, *blocks]), decoder.damage)


def decoded_blocks(data: bytes, decoder: Decoder) -> Iterator[Signal]:
    """The signal of an .nsc file block by block, in little memory."""
    for start in range(0, len(data), BYTE_BLOCK):
        yield from decoder.pieces(data[start : start + BYTE_BLOCK])
    yield from decoder.last_pieces()
