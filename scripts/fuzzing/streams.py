"""Streams that lie under right checksums, decoded to symbols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fuzzing.choice import Generator, one_of
from fuzzing.targets import Target
from nsc import format as bitstream
from nsc.format import HEADER_BYTES, MOST_MISSING, BitstreamError, DamagedError, Gap, Group, GroupReader, Header
from utilities import number_of_frames

EXTREMES = (0, 1, 2, 127, 128, 255, 256, 7679, 7680, 65_535, 1 << 24, 16_000 * 3600, 0xFFFFFFFE)
MOST_EDITS = 4
LONGEST_BLOCK = 400  # bytes that are given to a reader at a time

Parts = tuple[bytes, ...]


class Stream:
    """A file in its parts, to be changed and sealed again."""

    def __init__(self, data: bytes) -> None:
        self.header, groups, *_ = bitstream.read_contents(data)
        self.groups = list(groups)

    def sealed(self) -> bytes:
        """The bytes, all checksums right."""
        return b"".join([bitstream.pack_header(self.header), *map(bitstream.pack_group, self.groups)])


def mutated(files: Sequence[bytes], generator: Generator) -> bytes:
    """One of the files, changed a few times; checksums are right except after one edit in eight, of raw bytes."""
    stream = Stream(one_of(files, generator))
    for _ in range(int(generator.integers(1, MOST_EDITS + 1))):
        edit = one_of(EDITS, generator)
        edit(stream, files, generator)
    data = stream.sealed()
    return _raw_edit(data, generator) if generator.integers(8) == 0 else data


def _flip_payload(stream: Stream, files: Sequence[bytes], generator: Generator) -> None:
    def flip(part: bytes) -> bytes:
        flipped = bytearray(part or b"\0")
        for _ in range(int(generator.integers(1, 5))):
            flipped[int(generator.integers(len(flipped)))] ^= 1 << int(generator.integers(8))
        return bytes(flipped)

    _change_part(stream, generator, flip)


def _replace_payload(stream: Stream, files: Sequence[bytes], generator: Generator) -> None:
    size = int(generator.integers(0, 200))
    fills = (b"", b"\0" * size, b"\xff" * size, generator.bytes(size), generator.bytes(8 * size))
    _change_part(stream, generator, lambda _: one_of(fills, generator))


def _resize_payload(stream: Stream, files: Sequence[bytes], generator: Generator) -> None:
    size = int(generator.integers(1, 60))
    _change_part(stream, generator, lambda part: one_of((part[:-size], part[size:], part + bytes(size)), generator))


def _change_part(stream: Stream, generator: Generator, change: Callable[[bytes], bytes]) -> None:
    if stream.groups:
        place = int(generator.integers(len(stream.groups)))
        parts = list(stream.groups[place].parts)
        number = int(generator.integers(len(parts)))
        parts[number] = change(parts[number])
        stream.groups[place] = stream.groups[place]._replace(parts=tuple(parts))


def _splice(stream: Stream, files: Sequence[bytes], generator: Generator) -> None:
    """Groups of another file, perhaps of another model, in place of some."""
    others = Stream(one_of(files, generator)).groups
    start, end = sorted(int(each) for each in generator.integers(0, len(stream.groups) + 1, 2))
    spans, parts = stream.header.spans, stream.header.parts
    fitting = [
        group._replace(gains=(group.gains * spans)[:spans], parts=(group.parts * parts)[:parts]) for group in others
    ]
    stream.groups[start:end] = fitting[: int(generator.integers(0, len(fitting) + 1))]


def _reorder(stream: Stream, files: Sequence[bytes], generator: Generator) -> None:
    count = len(stream.groups)
    places = generator.integers(0, max(1, count), int(generator.integers(0, 2 * count + 1)))
    stream.groups = [stream.groups[place] for place in places] if count else []


def _repeat(stream: Stream, files: Sequence[bytes], generator: Generator) -> None:
    if stream.groups:
        first = int(generator.integers(256))
        group = one_of(stream.groups, generator)
        step = int(one_of((0, 1, 2, 127, 128, 255), generator))
        times = range(int(generator.integers(1, 20)))
        stream.groups += [group._replace(number=(first + step * time) % 256) for time in times]


def _renumber(stream: Stream, files: Sequence[bytes], generator: Generator) -> None:
    if stream.groups:
        place = int(generator.integers(len(stream.groups)))
        stream.groups[place] = stream.groups[place]._replace(number=int(generator.integers(256)))


def _regain(stream: Stream, files: Sequence[bytes], generator: Generator) -> None:
    if stream.groups:
        place = int(generator.integers(len(stream.groups)))
        gains = tuple(int(each) for each in generator.integers(0, 128, stream.header.spans))
        stream.groups[place] = stream.groups[place]._replace(gains=gains)


def _claim_end(stream: Stream, files: Sequence[bytes], generator: Generator) -> None:
    if stream.groups:
        place = int(generator.integers(len(stream.groups)))
        length = _length(generator)
        stream.groups[place] = stream.groups[place]._replace(num_samples=length)


def _lie_in_header(stream: Stream, files: Sequence[bytes], generator: Generator) -> None:
    header = stream.header
    kind = int(generator.integers(6))
    if kind == 0:
        header = header._replace(num_samples=_length(generator))
    elif kind == 1:
        header = header._replace(num_samples=None)
    elif kind == 2:
        header = header._replace(layers=int(generator.integers(0, 128)))
    elif kind == 3:
        header = header._replace(spans=int(generator.integers(0, 40)))
    elif kind == 4:
        header = header._replace(has_lpc=not header.has_lpc)
    else:
        header = header._replace(model=Stream(one_of(files, generator)).header.model)
    # groups keep their own number of gains and parts: what the header says of them is the lie, or is made true
    if generator.integers(2) and header.spans and header.parts:
        stream.groups = [
            group._replace(
                gains=(group.gains * header.spans)[: header.spans], parts=(group.parts * header.parts)[: header.parts]
            )
            for group in stream.groups
        ]
    stream.header = header


def _length(generator: Generator) -> int:
    if generator.integers(2):
        return int(one_of(EXTREMES, generator))
    return int(generator.integers(0, 100_000))


def _raw_edit(data: bytes, generator: Generator) -> bytes:
    """Bytes changed, cut out, put in or cut off, without regard to checksums."""
    body = bytearray(data)
    at, size = int(generator.integers(len(body))), int(generator.integers(1, 60))
    kind = int(generator.integers(5))
    if kind == 0:
        body[at] ^= 1 << int(generator.integers(8))
    elif kind == 1:
        del body[at : at + size]
    elif kind == 2:
        body[at:at] = generator.bytes(size)
    elif kind == 3:
        del body[at:]
    else:
        body[at:at] = body[at : at + size] * int(generator.integers(1, 50))
    return bytes(body)


EDITS: tuple[Callable[[Stream, Sequence[bytes], Generator], None], ...] = (
    _flip_payload,
    _flip_payload,
    _replace_payload,
    _resize_payload,
    _splice,
    _reorder,
    _repeat,
    _renumber,
    _regain,
    _claim_end,
    _lie_in_header,
)


class BrokenPromiseError(AssertionError):
    """A promise that was not kept."""


class SymbolDecoder:
    """Does all that a decoder does up to the symbols, and checks its promises on the way."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = {target.digest: target for target in targets}
        self._group = lru_cache(maxsize=4096)(self._decoded)

    def __call__(self, data: bytes, block: int) -> str:
        """Decodes a file given in blocks of so many bytes.

        Returns:
            How it ended: 'whole', 'concealed'.

        Raises:
            BitstreamError: as a decoder does.
            BrokenPromiseError: a promise was not kept.
        """
        contents = bitstream.read_contents(data)
        header, target = contents.header, self._target(contents.header)
        reader, shown, frames = GroupReader(header), 0, 0
        total = None if header.num_samples is None else number_of_frames(header.num_samples)
        arrived: list[Group] = []
        for found in self._in_blocks(reader, data[HEADER_BYTES:], block):
            for each in found:
                shown += each.groups if isinstance(each, Gap) else 1
                arrived += [] if isinstance(each, Gap) else [each]
                if shown > (MOST_MISSING + 1) * len(arrived) + MOST_MISSING and reader.arrived < len(arrived):
                    raise BrokenPromiseError(f"{shown} groups for {len(arrived)} that arrived")
        if arrived != contents.groups or reader.damaged_bytes != contents.damaged_bytes:
            raise BrokenPromiseError("other groups in blocks than in one piece")
        if sum(len(bitstream.pack_group(each)) for each in arrived) + reader.damaged_bytes + HEADER_BYTES != len(data):
            raise BrokenPromiseError("bytes that are neither groups nor damage")
        if reader.too_little_arrived or not arrived:
            raise DamagedError("too little of the speech is there")
        concealed = reader.missing
        for group in arrived:
            if group.num_samples is not None:
                total = number_of_frames(group.num_samples)
            count = header.group_frames if total is None else max(0, min(header.group_frames, total - frames))
            frames += count
            concealed += count < 1 or not self._group(target.digest, group.parts, count)
        if concealed > (MOST_MISSING + 1) * len(arrived):
            raise BrokenPromiseError(f"{concealed} groups made up for {len(arrived)} that arrived")
        return "concealed" if concealed or reader.damaged_bytes else "whole"

    def _target(self, header: Header) -> Target:
        target = self._targets.get(header.model)
        if target is None or header.has_lpc != target.has_lpc or header.layers > target.layers:
            raise bitstream.WrongModelError("the parts of another model")
        return target

    @staticmethod
    def _in_blocks(reader: GroupReader, data: bytes, block: int) -> Iterator[list[Group | Gap]]:
        for start in range(0, len(data), block):
            found = reader.write(data[start : start + block])
            if reader.too_little_arrived and found:
                raise BrokenPromiseError("a gap that too few groups bear out")
            yield found
        yield reader.finish()

    def _decoded(self, digest: str, parts: Parts, count: int) -> bool:
        """Whether a group's bytes are symbols; checks that these belong to their alphabets."""
        target = self._targets[digest]
        try:
            symbols = target.coder.decode(parts, count)
        except ValueError:
            return False
        check_symbols(symbols, target, count)
        return True


def check_symbols(symbols: Mapping[str, NDArray[np.int32]], target: Target, count: int) -> None:
    """Raises BrokenPromiseError where symbols are not so many of their alphabets."""
    for name, values in symbols.items():
        if values.shape != (count, *target.shapes[name]):
            raise BrokenPromiseError(f"{name} has shape {values.shape}")
        if values.size and not 0 <= values.min() <= values.max() < target.alphabets[name]:
            raise BrokenPromiseError(f"{name} has symbols from {values.min()} to {values.max()}")


def outcome(data: bytes, decode: SymbolDecoder, block: int) -> str:
    """How decoding ended: its result or the type of its error."""
    try:
        return decode(data, block)
    except BitstreamError as error:
        return type(error).__name__
