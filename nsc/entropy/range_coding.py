"""Integers to bytes and back: a range coder over integer probability tables, cut to whole bytes."""

from __future__ import annotations

import constriction
import numpy as np
from numpy.typing import NDArray

WORD_BYTES = 4  # the range coder puts out 32-bit words
STATE_BITS = 64  # of its interval: lower end and width
# The default of `perfect` changed once and changes bytes. Without it the counts become 24-bit probabilities by
# integer arithmetic alone, as docs/bitstream.md writes down.
_MODEL = constriction.stream.model.Categorical(perfect=False)

Symbols = NDArray[np.int32]
TableRows = NDArray[np.float64]


class RangeEncoder:
    """Writes symbols, each under a table of its own."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, symbols: Symbols, rows: TableRows) -> None:
        """Appends symbols int32 [n] under tables [n, alphabet] of whole numbers that sum to 2^16 in each row."""
        self._coder.encode(symbols, _MODEL, rows)

    @property
    def state(self) -> tuple[int, int]:
        """Lower end and width of the coder's interval: the same in a decoder that has read the same symbols."""
        return self._coder.pos()[1]

    def finish(self) -> bytes:
        """The fewest bytes that decode to what was written, zeros standing for all bytes after them."""
        words, (lower, width) = self._coder.pos()
        sealed = self._coder.get_compressed().astype(">u4").tobytes()
        length = WORD_BYTES * words + STATE_BITS // 8
        point = int.from_bytes(sealed.ljust(length, b"\0"), "big")
        # `lower` has no carry in it yet; the sealed point, less than a width above, gives the whole number
        start = point - (point - lower) % (1 << STATE_BITS)
        for kept in range(length + 1):
            unit = 1 << 8 * kept
            shortest = -(-start // unit) * unit
            if shortest >= start + width:
                break
            point = shortest
        return point.to_bytes(length, "big").rstrip(b"\0")


class RangeDecoder:
    """Reads what `RangeEncoder` wrote; most other bytes decode to arbitrary symbols."""

    def __init__(self, data: bytes) -> None:
        # Zeros stand for the bytes that the encoder cut off.
        padded = data + b"\0" * (-len(data) % WORD_BYTES + 2 * WORD_BYTES)
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))

    def decode(self, rows: TableRows) -> Symbols:
        """The next symbols, int32 [n], under tables [n, alphabet] as in `RangeEncoder.encode`.

        Raises:
            ValueError: the bytes were not written by a range encoder under these tables.
        """
        try:
            return self._coder.decode(_MODEL, rows)
        except AssertionError as error:
            raise ValueError(f"expected bytes of a range coder, found others ({error})") from None
