"""Mutated streams under valid checksums, decoded to symbols and through the decoder, without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nsc import format as bitstream
from nsc.coding.decoder import Decoder
from nsc.coding.interface import Signal
from nsc.constants import SAMPLE_RATE
from nsc.format import MOST_MISSING, BitstreamError, Info, version_1, version_2, version_3
from scripts.fuzzing.choice import Generator, one_of
from scripts.fuzzing.targets import BrokenPromiseError, Target

AnyHeader = version_1.Header | version_2.Header

EXTREMES = (0, 1, 2, 127, 128, 255, 256, 7679, 7680, 65_535, 1 << 24, 16_000 * 3600, 0xFFFFFFFE)
MOST_EDITS = 4
LONGEST_BLOCK = 400  # bytes that are given to a decoder at a time
SMALLEST_GROUP = 7  # bytes


class Stream:
    """A file in its parts, to be changed and sealed again."""

    def __init__(self, data: bytes) -> None:
        header, groups, *_ = bitstream.read_contents(data)
        assert isinstance(header, AnyHeader)
        self.header: AnyHeader = header
        self.groups = list(groups)

    def sealed(self) -> bytes:
        """The bytes, all checksums right."""
        return b"".join([bitstream.pack_header(self.header), *map(bitstream.pack_group, self.groups)])

    def fitting(self, group: bitstream.Group) -> bitstream.Group:
        """A group with as many side bytes and parts as the header says, one byte where it says none."""
        side, parts = max(1, self.header.side_bytes), len(self.header.part_names)
        return group._replace(side=(group.side * side)[:side], parts=(group.parts * parts)[:parts])


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
    fitting = [stream.fitting(group) for group in others]
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


def _change_side(stream: Stream, files: Sequence[bytes], generator: Generator) -> None:
    if stream.groups:
        place = int(generator.integers(len(stream.groups)))
        side = tuple(int(each) for each in generator.integers(0, 128, max(1, stream.header.side_bytes)))
        stream.groups[place] = stream.groups[place]._replace(side=side)


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
        fewest = int(isinstance(header, version_3.Header))  # which writes one less
        header = header._replace(layers=int(generator.integers(fewest, 128)))
    elif kind == 3:
        header = _with_other_groups(header, generator)
    elif kind == 4:
        header = _with_other_flag(header)
    else:
        header = header._replace(model=Stream(one_of(files, generator)).header.model)
    stream.header = header
    # groups keep their own number of side bytes and parts: what the header says of them is the lie, or is made true
    if generator.integers(2) and header.side_bytes and header.part_names:
        stream.groups = [stream.fitting(group) for group in stream.groups]


def _with_other_groups(header: AnyHeader, generator: Generator) -> AnyHeader:
    if isinstance(header, version_1.Header):
        return header._replace(spans=int(generator.integers(0, 40)))
    return header._replace(frames=int(generator.integers(1, 17)), hop=32 * int(generator.integers(1, 17)))


def _with_other_flag(header: AnyHeader) -> AnyHeader:
    if isinstance(header, version_1.Header):
        return header._replace(has_lpc=not header.has_lpc)
    return header._replace(look_ahead=not header.look_ahead)


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
    _change_side,
    _claim_end,
    _lie_in_header,
)


def outcome(data: bytes, targets: Mapping[str, Target], block: int) -> str:
    """Decodes a file given in blocks of these sizes, and checks the promises.

    Returns:
        How it ended: "whole", "concealed", or the type of its error.

    Raises:
        BrokenPromiseError: a promise was not kept.
    """
    try:
        found = bitstream.info(data)
        model = targets.get(found.header.model)
        if model is None:
            raise bitstream.WrongModelError("a file of another model")
        return _decoded(data, found, model, block)
    except BitstreamError as error:
        if "\n" in str(error):
            raise BrokenPromiseError(f"no line: {error}") from None
        return type(error).__name__


def _decoded(data: bytes, found: Info, model: Target, block: int) -> str:
    if sum(found.bytes.values()) != len(data):
        raise BrokenPromiseError("bytes that are neither groups nor damage")
    decoder, given, received = Decoder(model), 0, 0
    most = (MOST_MISSING + 1) * found.header.group_samples
    for start in range(0, len(data), block):
        received += len(data[start : start + block])
        for piece in decoder.pieces(data[start : start + block]):
            given += _checked(piece, found.header.group_samples)
        if given > most * (received // SMALLEST_GROUP):
            raise BrokenPromiseError(f"{given} samples for {received} bytes")
    given += sum(_checked(piece, found.header.group_samples) for piece in decoder.last_pieces())
    damage = decoder.damage
    expected = None if found.seconds is None else round(found.seconds * SAMPLE_RATE)
    if expected not in (None, given) or (expected is None) != damage.end_missing:
        raise BrokenPromiseError(f"info says {expected} samples, decoding gives {given}")
    if damage.damaged_bytes != found.bytes["damaged"] or len(damage.lost) < found.missing:
        raise BrokenPromiseError(f"info says {found.missing} groups missing, decoding {len(damage.lost)}")
    return "concealed" if damage else "whole"


def _checked(piece: Signal, most: int) -> int:
    if len(piece) > most or not np.isfinite(piece).all():
        raise BrokenPromiseError(f"{len(piece)} samples in a group of {most}")
    return len(piece)
