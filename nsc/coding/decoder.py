"""An .nsc stream to speech, in blocks of any size; lost groups are concealed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nsc.arguments import file_bytes, layers_of, model_of
from nsc.coding.interface import Model, Signal, Synthesis, check_layers
from nsc.format import HEADER_BYTES, DamagedError, Gap, Group, GroupReader, Header, WrongModelError, unpack_header

NO_SAMPLES = np.zeros(0, np.float32)


@dataclass
class Damage:
    """What a decoder had to conceal; false if nothing.

    lost: number of each group that was concealed, from 0.
    damaged_bytes: bytes that belong to no group.
    end_missing: a stream of unknown length broke off before its last group.
    """

    lost: list[int] = field(default_factory=list)
    damaged_bytes: int = 0
    end_missing: bool = False

    def __bool__(self) -> bool:
        return bool(self.lost or self.damaged_bytes or self.end_missing)


class Decoder:
    """Bytes in, speech out. Lost groups are concealed and listed in `damage`.

    >>> decoder = nsc.Decoder(nsc.load("cq"))
    >>> for data in receive():
    ...     play(decoder.write(data))
    >>> play(decoder.finish())
    """

    def __init__(self, model: Model | str | Path, layers: int | None = None) -> None:
        """Begins a stream that was made with `model`; of its layers the first `layers` are used, None for all.

        Raises:
            UserError: no such model, or arguments of other types.
        """
        self._model = model_of(model)
        self._layers = layers_of(layers)
        self._start = b""
        self._stream: _Stream | None = None
        self.damage = Damage()

    @property
    def header(self) -> Header | None:
        """The stream's header, once it has arrived."""
        return self._stream.header if self._stream else None

    def write(self, data: bytes) -> Signal:
        """Takes bytes; gives the samples [n] of 16 kHz that they complete.

        Raises:
            BitstreamError: the header is not that of an .nsc stream of this model.
            UserError: the stream does not have so many layers.
        """
        return np.concatenate([NO_SAMPLES, *self.pieces(file_bytes(data))])

    def finish(self) -> Signal:
        """The samples that are left when no more bytes come.

        Raises:
            BitstreamError: there was no header, or too little of the speech is there.
        """
        return np.concatenate([NO_SAMPLES, *self.last_pieces()])

    def pieces(self, data: bytes) -> Iterator[Signal]:
        """As `write`, a group at a time, however much a few bytes decode to; to be used up before the next bytes."""
        if self._stream is None:
            self._start += data
            if len(self._start) < HEADER_BYTES:
                return
            self._stream = self._begin()
            data = self._start[HEADER_BYTES:]
        yield from self._stream.write(data)

    def last_pieces(self) -> Iterator[Signal]:
        """As `finish`, a group at a time."""
        if self._stream is None:
            unpack_header(self._start)  # which says what is wrong
        assert self._stream is not None
        yield from self._stream.finish()

    def _begin(self) -> _Stream:
        header = unpack_header(self._start)
        if header.model != self._model.digest:
            raise WrongModelError(
                f"expected a file of model {self._model.digest}, found one of model {header.model}; give that model"
            )
        if header.layers > self._model.depth:
            raise WrongModelError(f"expected the parts of model {header.model}, found others; encode the speech again")
        layers = check_layers(self._layers, header.layers, "file")
        return _Stream(header, self._model.synthesis(header, layers), self.damage)


class _Stream:
    """A stream whose header has arrived."""

    def __init__(self, header: Header, synthesis: Synthesis, damage: Damage) -> None:
        self.header = header
        self._synthesis = synthesis
        self._damage = damage
        self._reader = GroupReader(header)
        self._num_samples = header.num_samples
        self._frames_done = self._groups_done = self._samples_given = 0
        self._lead = synthesis.lead  # samples still to come out before the signal's start

    def write(self, data: bytes) -> Iterator[Signal]:
        yield from self._decode(self._reader.write(data))

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

    def _decode(self, found: list[Group | Gap]) -> Iterator[Signal]:
        for each in found:
            if isinstance(each, Gap):
                yield from (self._conceal() for _ in range(each.groups))
            else:
                yield self._decode_group(each)

    def _decode_group(self, group: Group) -> Signal:
        if group.num_samples is not None:
            self._num_samples = group.num_samples
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
        return signal
