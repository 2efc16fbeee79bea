"""Groups of frames in the bitstream: each with its number, side information, parts and checksum."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from nsc.format.header import MAGIC, Header

END_FLAG = 0x80  # on a group's first byte of side information: the group is the last, the length follows
INDEX_RANGE = 256  # groups are numbered modulo this

_LENGTH = struct.Struct(">I")
_CHECKSUM = struct.Struct(">I")
_MOST_NUMBER_BYTES = 3
_SEARCHED_BYTES, _FEWEST_SEARCHED = 4096, 64  # in one sweep; for fewer it does not pay
_FRAMING = 1 + _CHECKSUM.size  # bytes of a group alongside its length, side information and parts


class Group(NamedTuple):
    """One group.

    number: counted from 0, modulo 256.
    side: side information, one byte each below 128; in version 1 a gain index per span.
    parts: bytes of LPC and codes.
    num_samples: length of the whole signal, in the last group of a stream of unknown length only.
    """

    number: int
    side: tuple[int, ...]
    parts: tuple[bytes, ...]
    num_samples: int | None = None


def pack_group(group: Group) -> bytes:
    """A group's bytes: length, number, side information, lengths of all parts but the last, parts, checksum."""
    side = bytearray(group.side)
    end = b""
    if group.num_samples is not None:
        side[0] |= END_FLAG
        end = _LENGTH.pack(group.num_samples)
    body = bytes([group.number % INDEX_RANGE]) + bytes(side) + end + pack_parts(group.parts)
    checked = _pack_number(len(body) + _CHECKSUM.size) + body
    return checked + _CHECKSUM.pack(zlib.crc32(checked))


def pack_parts(parts: Sequence[bytes]) -> bytes:
    """Lengths of all parts but the last, then the parts: all of a packet."""
    return b"".join([*(_pack_number(len(part)) for part in parts[:-1]), *parts])


def unpack_parts(data: bytes, count: int, at: int = 0) -> tuple[bytes, ...] | None:
    """The inverse of `pack_parts`, from a place of the bytes on; None if so many parts do not end with them."""
    lengths = []
    for _ in range(count - 1):
        number = _unpack_number(data, at)
        if number is None:
            return None
        lengths.append(number[0])
        at = number[1]
    borders = [at + sum(lengths[:place]) for place in range(count)] + [len(data)]
    if borders[-2] > len(data):
        return None
    return tuple(data[start:end] for start, end in pairwise(borders))


# Whether a group of this number may come, given whether it says that it is the last, and its size in bytes.
MayFollow = Callable[[int, bool, int], bool]


def unpack_group(
    data: bytes | bytearray, start: int, header: Header, may_follow: MayFollow | None = None
) -> tuple[Group | None, int]:
    """Reads the group at a place of `data`.

    Args:
        data: some bytes of a file.
        start: the place.
        header: of the file.
        may_follow: asked before the checksum is worked out; None for any.

    Returns:
        The group and where it ends. Without a group: 0 where there is no intact one, else where it would end, which
        is beyond the end of `data`.
    """
    number = _unpack_number(data, start)
    if number is None:
        return None, len(data) + 1 if len(data) - start < _MOST_NUMBER_BYTES else 0
    length, body = number
    shortest, longest, limits = _bounds(header)
    if not shortest <= length <= longest:
        return None, 0
    end = body + length
    if len(data) < end:
        return None, end
    side = bytearray(data[body + 1 : body + 1 + len(limits)])
    is_last = bool(side[0] & END_FLAG)
    side[0] &= ~END_FLAG
    exists = all(index < limit for index, limit in zip(side, limits, strict=True))
    if not exists or (may_follow and not may_follow(data[body], is_last, end - start)):
        return None, 0
    checksum = end - _CHECKSUM.size
    if zlib.crc32(memoryview(data)[start:checksum]) != _CHECKSUM.unpack_from(data, checksum)[0]:
        return None, 0
    group = _unpack_body(bytes(data[body:checksum]), tuple(side), is_last, len(header.part_names))
    return group, end if group else 0


def plausible_places(data: bytes | bytearray, start: int, header: Header) -> tuple[list[int], int]:
    """Where groups, by all but their checksum, or headers might begin: the search after damage in one sweep.

    Args:
        data: some bytes of a file.
        start: the first place of interest.
        header: of the file.

    Returns:
        Such places from `start` on, and the first place that was not looked at.
    """
    import numpy as np  # only damage waits for it

    shortest, longest, limits = _bounds(header)
    reach = _MOST_NUMBER_BYTES + 1 + len(limits)
    window = np.frombuffer(bytes(data[start : start + _SEARCHED_BYTES + reach]), np.uint8).astype(np.int32)
    count = len(window) - reach
    if count < _FEWEST_SEARCHED:
        return [], start
    first, second, third = (window[place : place + count] for place in range(_MOST_NUMBER_BYTES))
    size = 1 + (first > 0x7F) + ((first > 0x7F) & (second > 0x7F))
    length = (first & 0x7F) + ((second & 0x7F) << 7) * (size > 1) + (third << 14) * (size > 2)
    places = np.flatnonzero((length >= shortest) & (length <= longest))
    at = places + size[places]
    plausible = np.ones(len(places), bool)
    flag = END_FLAG if header.num_samples is None else 0
    for place, limit in enumerate(limits, start=1):
        plausible &= (window[at + place] & ~(flag if place == 1 else 0)) < limit
    headers = np.flatnonzero((first == MAGIC[0]) & (second == MAGIC[1]) & (third == MAGIC[2]))
    return (start + np.union1d(places[plausible], headers)).tolist(), start + count


@lru_cache(maxsize=16, typed=True)  # headers of two versions may be equal as tuples
def _bounds(header: Header) -> tuple[int, int, tuple[int, ...]]:
    """The shortest and the longest length of a group, and below what its side information is."""
    return _FRAMING + header.side_bytes, header.most_group_bytes, header.side_limits


def _unpack_body(body: bytes, side: tuple[int, ...], is_last: bool, count: int) -> Group | None:
    at, num_samples = 1 + len(side), None
    if is_last:
        if len(body) < at + _LENGTH.size:
            return None
        num_samples, at = _LENGTH.unpack_from(body, at)[0], at + _LENGTH.size
    parts = unpack_parts(body, count, at)
    return None if parts is None else Group(body[0], side, parts, num_samples)


def _pack_number(value: int) -> bytes:
    """Seven bits per byte, lowest first, the top bit set in all but the last."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def _unpack_number(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """A number and where it ends; None where there is none."""
    value = 0
    for place, byte in enumerate(data[at : at + _MOST_NUMBER_BYTES]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    return None
