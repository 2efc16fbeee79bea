"""An .nsc stream to speech, in blocks of any size; lost groups are concealed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np

from nsc.arguments import file_bytes, layers_of, model_of
from nsc.coding.interface import Model, Signal
from nsc.coding.playout import NO_SAMPLES, Damage, Playout, playout_of
from nsc.errors import UserError
from nsc.format import HEADER_BYTES, DamagedError, Gap, Group, GroupReader, Header, unpack_header


class Decoder:
    """Bytes in, speech out. Lost groups are concealed and listed in `damage`.

    >>> decoder = nsc.Decoder(nsc.load("cq"))
    >>> for data in receive():
    ...     play(decoder.write(data))
    >>> play(decoder.finish())
    """

    def __init__(self, model: Model | str | Path, layers: int | None = None, *, header: Header | None = None) -> None:
        """Begins a stream.

        Args:
            model: that it was made with: a model that is loaded, or its name, hash or folder.
            layers: of the stream to use; None for all.
            header: of a stream that is joined after its first bytes, which begins at whatever group comes first. None
                for a stream that begins with its header.

        Raises:
            BitstreamError: the header is not that of a stream of this model.
            UserError: no such model, arguments of other types, or the stream does not have so many layers.
        """
        self._model = model_of(model)
        self._layers = layers_of(layers)
        self._start = b""
        self._finished = False
        self.damage = Damage()
        self._stream = None if header is None else self._begin(header, joins=True)

    @property
    def header(self) -> Header | None:
        """The stream's header, once it has arrived."""
        return self._stream.header if self._stream else None

    def write(self, data: bytes) -> Signal:
        """Takes bytes; gives the samples [n] of 16 kHz that they complete.

        Raises:
            BitstreamError: the header is not that of an .nsc stream of this model.
            UserError: the stream does not have so many layers, or was finished.
        """
        return np.concatenate([NO_SAMPLES, *self.pieces(file_bytes(data))])

    def lost(self) -> Signal:
        """Conceals the next group at once, without waiting for one after it; should it still come, it is left out.

        Raises:
            UserError: the header has not arrived, or the stream was finished.
        """
        self._check_open()
        if self._stream is None:
            raise UserError("expected a stream whose header has arrived, found none; wait for it, or give the header")
        return np.concatenate([NO_SAMPLES, *self._stream.lost()])

    def finish(self) -> Signal:
        """The samples that are left when no more bytes come.

        Raises:
            BitstreamError: there was no header, or too little of the speech is there.
        """
        return np.concatenate([NO_SAMPLES, *self.last_pieces()])

    def pieces(self, data: bytes) -> Iterator[Signal]:
        """As `write`, a group at a time, however much a few bytes decode to; to be used up before the next bytes."""
        self._check_open()
        if self._stream is None:
            self._start += data
            if len(self._start) < HEADER_BYTES:
                return
            self._stream = self._begin(unpack_header(self._start))
            data = self._start[HEADER_BYTES:]
        yield from self._stream.write(data)

    def last_pieces(self) -> Iterator[Signal]:
        """As `finish`, a group at a time."""
        self._check_open()
        self._finished = True
        if self._stream is None:
            unpack_header(self._start)  # which says what is wrong
        assert self._stream is not None
        yield from self._stream.finish()

    def _check_open(self) -> None:
        if self._finished:
            raise UserError("expected a stream that goes on, found its end before; begin another decoder")

    def _begin(self, header: Header, *, joins: bool = False) -> _Stream:
        playout = playout_of(self._model, header, self._layers, self.damage, joins=joins)
        return _Stream(header, playout, self.damage, joins=joins)


class _Stream:
    """A stream whose header has arrived."""

    def __init__(self, header: Header, playout: Playout, damage: Damage, *, joins: bool) -> None:
        self.header = header
        self._playout, self._damage = playout, damage
        self._reader = GroupReader(header, joins=joins)

    def write(self, data: bytes) -> Iterator[Signal]:
        yield from self._decode(self._reader.write(data))

    def lost(self) -> Iterator[Signal]:
        yield from self._decode(self._reader.give_up())

    def finish(self) -> Iterator[Signal]:
        found = self._reader.finish()
        arrived, missing = self._reader.arrived, self._reader.missing
        if self._reader.too_little_arrived or not arrived:
            raise DamagedError(
                f"expected {max(1, arrived + missing)} groups, found {arrived}: too little of the speech is there;"
                " fetch the file again"
            )
        yield from self._decode(found)
        self._damage.damaged_bytes = self._reader.damaged_bytes
        self._damage.end_missing = not self._playout.ends
        self._damage.another_follows = self._reader.another_follows

    def _decode(self, found: list[Group | Gap]) -> Iterator[Signal]:
        for each, following in zip_longest(found, found[1:]):
            if isinstance(each, Group):
                yield self._playout.group(each)
                continue
            restores = isinstance(following, Group)
            yield from (self._playout.conceal() for _ in range(each.groups - restores))
            if isinstance(following, Group):
                yield self._playout.restore(following)
