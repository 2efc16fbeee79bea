"""An .nsc stream to speech, in blocks of any size; lost groups are concealed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nsc.arguments import file_bytes, layers_of, model_of
from nsc.coding.interface import Model, Signal, Synthesis, check_layers
from nsc.errors import UserError
from nsc.format import HEADER_BYTES, DamagedError, Gap, Group, GroupReader, Header, WrongModelError, unpack_header

NO_SAMPLES = np.zeros(0, np.float32)
LOUDEST = 64.0  # times full scale that samples may reach


@dataclass
class Damage:
    """What a decoder had to conceal; false if nothing.

    lost: number of each group that was concealed, from 0.
    damaged_bytes: bytes that belong to no group.
    end_missing: a stream of unknown length broke off before its last group.
    another_follows: after its last group comes another file, which is not decoded.
    """

    lost: list[int] = field(default_factory=list)
    damaged_bytes: int = 0
    end_missing: bool = False
    another_follows: bool = False

    def __bool__(self) -> bool:
        return bool(self.lost or self.damaged_bytes or self.end_missing or self.another_follows)


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
        if header.model != self._model.digest:
            raise WrongModelError(
                f"expected a file of model {self._model.digest}, found one of model {header.model}; give that model"
            )
        if header.layers > self._model.depth:
            raise WrongModelError(f"expected the parts of model {header.model}, found others; encode the speech again")
        layers = check_layers(self._layers, header.layers, "file")
        return _Stream(header, self._model.synthesis(header, layers), self.damage, joins=joins)


class _Stream:
    """A stream whose header has arrived."""

    def __init__(self, header: Header, synthesis: Synthesis, damage: Damage, *, joins: bool) -> None:
        self.header = header
        self._synthesis = synthesis
        self._damage = damage
        self._reader = GroupReader(header, joins=joins)
        self._num_samples = None if joins else header.num_samples
        self._frames_done = self._groups_done = self._samples_given = 0
        self._lead = synthesis.lead  # samples still to come out before the signal's start

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
        self._damage.end_missing = self._num_samples is None
        self._damage.another_follows = self._reader.another_follows

    def _decode(self, found: list[Group | Gap]) -> Iterator[Signal]:
        for each in found:
            if isinstance(each, Gap):
                yield from (self._conceal() for _ in range(each.groups))
            else:
                yield self._decode_group(each)

    def _decode_group(self, group: Group) -> Signal:
        if group.num_samples is not None:
            # counted from where a stream was joined
            groups = -(-self.header.frames_of(group.num_samples) // self.header.group_frames)
            missed = groups - 1 - self._groups_done
            self._num_samples = group.num_samples - missed * self.header.group_samples
        frames = self._frames_in_next()
        signal = self._synthesis.next_group(group, frames) if frames else None
        if signal is None:  # a checksum that happened to match
            return self._conceal()
        self._groups_done += 1
        self._frames_done += frames
        return self._given(signal)

    def _conceal(self) -> Signal:
        frames = self._frames_in_next()
        self._damage.lost.append(self._groups_done)
        self._groups_done += 1
        if not frames:
            return NO_SAMPLES
        self._frames_done += frames
        return self._given(self._synthesis.conceal(frames))

    def _frames_in_next(self) -> int:
        """Frames of the next group."""
        if self._num_samples is None:
            return self.header.group_frames
        return max(0, min(self.header.group_frames, self.header.frames_of(self._num_samples) - self._frames_done))

    def _given(self, signal: Signal) -> Signal:
        """Cuts off what comes before the signal's start and after its end."""
        before = min(self._lead, len(signal))
        self._lead -= before
        signal = signal[before:]
        if self._num_samples is not None:
            signal = signal[: max(0, self._num_samples - self._samples_given)]
        self._samples_given += len(signal)
        # bytes that no encoder writes may ask for any number
        return np.clip(np.nan_to_num(signal, nan=0.0), -LOUDEST, LOUDEST)
