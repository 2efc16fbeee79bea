"""Whole signals to .nsc files and back, in memory or block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nsc.coding.decoder import NO_SAMPLES, Damage, Decoder
from nsc.coding.encoder import Encoder, checked_samples
from nsc.coding.interface import OWN_STEPS, Model, Signal, Steps
from nsc.coding.rate import offset_for_quality, offset_for_rate
from nsc.constants import SAMPLE_RATE
from nsc.errors import UserError

SAMPLE_BLOCK = 60 * SAMPLE_RATE  # samples given to the encoder at once: an hour of speech is not copied whole
BYTE_BLOCK = 1 << 14
MOST_GROUP_FRAMING = 12  # bytes of a group besides its parts


class Rate(NamedTuple):
    """Rate requested of a model for any rate; None throughout is the model's own.

    kbps: 1000 bits per second of the whole file.
    quality: from 0 (coarsest steps) to 10, in place of kbps.
    bounded: no group takes more than kbps.
    """

    kbps: float | None = None
    quality: float | None = None
    bounded: bool = False


OWN_RATE = Rate()


class Decoded(NamedTuple):
    """A decoded signal, float32 [n] at 16 kHz, and what had to be concealed."""

    signal: Signal
    damage: Damage


def encode(
    signal: ArrayLike, model: Model, layers: int | None = None, *, spans: int | None = None, rate: Rate = OWN_RATE
) -> bytes:
    """An .nsc file of a signal [n] of 16 kHz, see `nsc.encode`."""
    samples = checked_samples(signal)
    blocks = (samples[start : start + SAMPLE_BLOCK] for start in range(0, max(1, len(samples)), SAMPLE_BLOCK))
    return b"".join(encoded_blocks(blocks, len(samples), model, layers, spans=spans, rate=rate))


def encoded_blocks(
    blocks: Iterable[ArrayLike],
    num_samples: int,
    model: Model,
    layers: int | None = None,
    *,
    spans: int | None = None,
    rate: Rate = OWN_RATE,
) -> Iterator[bytes]:
    """The bytes of an .nsc file of `num_samples` samples that arrive in blocks.

    A model may need them all at once; a rate is searched on the first block.
    """
    blocks = map(np.asarray, blocks)
    whole = None
    if model.needs_whole_signal:
        whole = np.concatenate([NO_SAMPLES, *blocks])
        blocks = iter([whole])
    steps = OWN_STEPS
    if rate != OWN_RATE:
        first = next(blocks, NO_SAMPLES)
        blocks = chain([first], blocks)
        steps = _steps_at(rate, first, model, layers, spans)
    encoder = Encoder(model, layers, spans=spans, num_samples=num_samples, whole=whole, steps=steps)
    for block in blocks:
        yield encoder.write(block)
    yield encoder.finish()


def _steps_at(rate: Rate, speech: Signal, model: Model, layers: int | None, spans: int | None) -> Steps:
    """The steps at which speech takes a rate, or those of a quality."""
    group = model.group_seconds(spans)

    def kbps_at(offset: int) -> float:
        encoder = Encoder(model, layers, spans=spans, num_samples=len(speech), steps=Steps(offset))
        size = len(encoder.write(speech)) + len(encoder.finish())
        return 8 * size * SAMPLE_RATE / 1000 / max(1, len(speech))

    if rate.quality is not None:
        return Steps(offset_for_quality(rate.quality, model.offsets))
    if rate.kbps is None:
        raise UserError("expected kbps with a bounded rate, found none; give the bound")
    if rate.bounded:
        most = int(1000 * rate.kbps * group / 8) - MOST_GROUP_FRAMING
        if most < 1:
            raise UserError(f"expected room for a group in {rate.kbps:g} kbps, found none; choose longer groups")
        return Steps(0, most)
    return Steps(offset_for_rate(rate.kbps, model.offsets, kbps_at))


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
