"""Whole signals to .nsc files and back, in memory or block by block."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nsc.arguments import check_rate
from nsc.coding.decoder import Decoder
from nsc.coding.encoder import Coding, GroupEncoder, checked_samples
from nsc.coding.interface import Model, Signal
from nsc.coding.playout import NO_SAMPLES, Damage
from nsc.coding.rate import OWN_RATE, EvenPace, Rate, offset_for_rate
from nsc.constants import SAMPLE_RATE
from nsc.errors import UserError
from nsc.format import sent_bytes

SAMPLE_BLOCK = 60 * SAMPLE_RATE  # samples given to the encoder at once: an hour of speech is not copied whole
BYTE_BLOCK = 1 << 14
PIECE, PIECES = 5 * SAMPLE_RATE, 12  # samples of a piece of a long signal, on which its rate is searched, and how many
APART = 1800 * SAMPLE_RATE  # samples from piece to piece in signals so long that there are more of them
MOST_PASSES = 3  # over a long signal
MOST_BYTES_HELD = 1 << 22  # in memory, of a file that may have to be coded once more
MISSED = 0.014  # relative error of its rate at which it is coded once more: half a step of the offset


class Decoded(NamedTuple):
    """A decoded signal, float32 [n] at 16 kHz, and what had to be concealed."""

    signal: Signal
    damage: Damage


def encode(
    signal: ArrayLike,
    model: Model,
    layers: int | None = None,
    *,
    spans: int | None = None,
    refresh: int | None = None,
    rate: Rate = OWN_RATE,
) -> bytes:
    """An .nsc file of a signal [n] of 16 kHz, see `nsc.encode`."""
    samples = checked_samples(signal)
    return b"".join(encoded_blocks(_blocks(samples), len(samples), Coding(model, layers, spans, refresh), rate))


def _blocks(signal: Signal) -> list[Signal]:
    return [signal[start : start + SAMPLE_BLOCK] for start in range(0, max(1, len(signal)), SAMPLE_BLOCK)]


def encoded_blocks(
    blocks: Iterable[ArrayLike], num_samples: int, coding: Coding, rate: Rate = OWN_RATE
) -> Iterator[bytes]:
    """The bytes of an .nsc file of `num_samples` samples that arrive in blocks.

    A rate in kbps is searched by going through the blocks three to five times; those of an iterator, which come once,
    are all held in memory, as they are for models that look at the whole signal.

    Raises:
        UserError: the model does not code at this rate; or no step size keeps every group of it within a bound.
    """
    check_rate(*rate)
    model = coding.model
    whole, seeks = None, rate.kbps is not None and not rate.bounded and model.offsets > 0
    if model.needs_whole_signal or (seeks and iter(blocks) is blocks):
        whole = np.concatenate([NO_SAMPLES, *map(checked_samples, blocks)])
        blocks = _blocks(whole)
    if seeks:
        yield from _at_rate(rate.kbps or 0.0, blocks, num_samples, coding)
        return
    encoder = GroupEncoder(coding, coding.pace(rate), num_samples, whole=whole)
    yield from _written(encoder, blocks)
    if encoder.exceeded:
        raise UserError(
            f"expected groups of at most {rate.kbps:g} kbps, found {encoder.exceeded} that take more at every step"
            " size; choose a higher rate or longer groups"
        )


def _written(encoder: GroupEncoder, blocks: Iterable[ArrayLike]) -> Iterator[bytes]:
    for block in blocks:
        yield encoder.write(block)
    yield encoder.finish()


def _at_rate(kbps: float, blocks: Iterable[ArrayLike], num_samples: int, coding: Coding) -> Iterator[bytes]:
    """The file of the step offset at which a whole signal is nearest to a rate.

    The offset is searched on the signal, or where that is long on pieces from all over it; then the whole is coded, and
    once or twice more where it takes another rate than its pieces.
    """
    model, shown = coding.model, _pieces(blocks, num_samples)

    @functools.cache
    def coded(offset: int) -> bytes:
        return b"".join(_written(GroupEncoder(coding, EvenPace(offset, model.offsets), len(shown)), _blocks(shown)))

    def rate_at(offset: int) -> float:
        return 8 * sent_bytes(coded(offset)) * SAMPLE_RATE / 1000 / max(1, len(shown))

    offset = offset_for_rate(kbps, model.offsets, model.own_offset, rate_at)
    if len(shown) == num_samples:
        yield coded(offset)
        return
    with ExitStack() as files:
        found: dict[int, float] = {}
        written: dict[int, IO[bytes]] = {}
        while offset not in found and len(found) < MOST_PASSES:
            file = written[offset] = files.enter_context(SpooledTemporaryFile(MOST_BYTES_HELD))
            encoder = GroupEncoder(coding, EvenPace(offset, model.offsets), num_samples)
            size = sum(map(file.write, _written(encoder, blocks)))
            if coding.refresh:
                file.seek(0)
                size = sent_bytes(file.read())
            found[offset] = 8 * size * SAMPLE_RATE / 1000 / num_samples
            if abs(found[offset] / kbps - 1) < MISSED:
                break
            offset = offset_for_rate(kbps * rate_at(offset) / found[offset], model.offsets, offset, rate_at)
        nearest = written[min(found, key=lambda tried: abs(math.log(found[tried] / kbps)))]
        nearest.seek(0)
        while data := nearest.read(BYTE_BLOCK):
            yield data


def _pieces(blocks: Iterable[ArrayLike], num_samples: int) -> Signal:
    """A signal, or where it is long as many pieces of it, evenly spread."""
    count = max(PIECES, num_samples // APART)
    starts = [0] if num_samples <= PIECES * PIECE else np.linspace(0, num_samples - PIECE, count).astype(int).tolist()
    length = num_samples if len(starts) == 1 else PIECE
    pieces, begin = [list[Signal]() for _ in starts], 0
    for block in map(checked_samples, blocks):
        for piece, start in zip(pieces, starts, strict=True):
            piece.append(block[max(0, start - begin) : max(0, start + length - begin)].copy())  # alone, not the block
        begin += len(block)
    return np.concatenate([NO_SAMPLES, *itertools.chain(*pieces)])


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
