"""The .nsc container: header, groups with their own checksum, layers that can be cut off (docs/bitstream.md)."""

from __future__ import annotations

import binascii
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from constants import FRAME_LENGTH, FRAMES_PER_GROUP, GAIN_LEVELS, LPC_ORDER
from nsc.errors import UserError
from utilities import GROUP_LENGTH, number_of_frames

MAGIC = b"NSC"
VERSION = 1
SUFFIX = ".nsc"
UNKNOWN_LENGTH = 0xFFFFFFFF  # of a stream whose end was not known at its start
MOST_LAYERS = 63
LPC_FLAG = 0x80
END_FLAG = 0x80  # on a group's first gain: the group is the last, the length follows
MOST_SPANS = 16  # gains in a group
MOST_SYMBOL_BYTES = 2  # the rarest symbol of a table that sums to 2^16
INDEX_RANGE = 256  # groups are numbered modulo this
AHEAD = 128  # groups that may be missing before one that counts as late instead
MOST_MISSING = 9  # groups made up for each one that arrived; a stream that asks for more is damaged
CHECKS_PER_BYTE = 256  # bytes that are checksummed in search of groups for each that arrives; damage takes a tenth

_HEADER = struct.Struct(">3sB4sIBBH")
_LENGTH = struct.Struct(">I")
_CHECKSUM = struct.Struct(">I")
_MOST_NUMBER_BYTES = 3
_FRAMING = 1 + _CHECKSUM.size  # bytes of a group beside its length, gains and parts


class BitstreamError(UserError):
    """A file that cannot be decoded."""


class NotNscError(BitstreamError):
    """The first bytes are not those of an .nsc file."""


class UnknownVersionError(BitstreamError):
    """The format is of another version."""


class WrongModelError(BitstreamError):
    """The file was made with a model that is not at hand."""


class DamagedError(BitstreamError):
    """The header is damaged, or too little is left behind it."""


class Header(NamedTuple):
    """What a file says of itself.

    model: first eight hex digits of the model's hash.
    num_samples: length at 16 kHz; None when the stream began before its end was known.
    layers: codecs of the cascade whose codes are in the file.
    has_lpc: whether the first part of each group holds LSFs.
    spans: stretches of 16 frames in a group, each with its gain.
    """

    model: str
    num_samples: int | None
    layers: int
    has_lpc: bool
    spans: int

    @property
    def parts(self) -> int:
        """Parts of each group."""
        return self.layers + self.has_lpc

    @property
    def group_samples(self) -> int:
        """Samples that a whole group adds to the signal."""
        return self.spans * GROUP_LENGTH

    @property
    def most_group_bytes(self) -> int:
        """No group is longer; a length above it is damage."""
        symbols = self.spans * FRAMES_PER_GROUP * (LPC_ORDER + self.layers * FRAME_LENGTH // 2)
        return MOST_SYMBOL_BYTES * symbols + self.spans + _MOST_NUMBER_BYTES * self.parts + _LENGTH.size + _FRAMING

    @property
    def total_groups(self) -> int | None:
        """Groups of the whole signal, if its length is known."""
        return None if self.num_samples is None else number_of_groups(self.num_samples, self.spans)

    @property
    def group_frames(self) -> int:
        """Frames in a whole group."""
        return self.spans * FRAMES_PER_GROUP


class Group(NamedTuple):
    """One group as it travels.

    number: counted from 0, modulo 256.
    gains: index of each span.
    parts: bytes of LPC and codes.
    num_samples: length of the whole signal, in the last group of a stream of unknown length only.
    """

    number: int
    gains: tuple[int, ...]
    parts: tuple[bytes, ...]
    num_samples: int | None = None


def pack_header(header: Header) -> bytes:
    """The first 16 bytes of a file."""
    length = UNKNOWN_LENGTH if header.num_samples is None else header.num_samples
    layers = header.layers | (LPC_FLAG if header.has_lpc else 0)
    fields = (MAGIC, VERSION, bytes.fromhex(header.model), length, layers, header.spans)
    unchecked = _HEADER.pack(*fields, 0)[:-2]
    return unchecked + binascii.crc_hqx(unchecked, 0xFFFF).to_bytes(2)


HEADER_BYTES = _HEADER.size


def unpack_header(data: bytes) -> Header:
    """Reads the first bytes of a file.

    Raises:
        NotNscError, UnknownVersionError, DamagedError: as their names say.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise NotNscError(f"expected an .nsc file, found one that begins with {data[:4]!r}; encode speech to get one")
    if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
        raise UnknownVersionError(f"expected version {VERSION} of .nsc, found {data[len(MAGIC)]}; use the newest codec")
    if len(data) < HEADER_BYTES:
        raise DamagedError(f"expected a header of {HEADER_BYTES} bytes, found {len(data)}; fetch the file again")
    _, _, model, length, layers, spans, checksum = _HEADER.unpack(data[:HEADER_BYTES])
    if binascii.crc_hqx(data[: HEADER_BYTES - 2], 0xFFFF) != checksum:
        raise DamagedError("expected the header's checksum, found another: the header is damaged; fetch the file again")
    has_lpc, layers = bool(layers & LPC_FLAG), layers & ~LPC_FLAG
    if not 1 <= layers <= MOST_LAYERS or not 1 <= spans <= MOST_SPANS:
        raise DamagedError(
            f"expected 1 to {MOST_LAYERS} layers and 1 to {MOST_SPANS} gains, found {layers} and {spans}"
        )
    return Header(model.hex(), None if length == UNKNOWN_LENGTH else length, layers, has_lpc, spans)


def pack_group(group: Group) -> bytes:
    """A group's bytes: length, number, gains, lengths of all parts but the last, parts, checksum."""
    gains = bytearray(group.gains)
    end = b""
    if group.num_samples is not None:
        gains[0] |= END_FLAG
        end = _LENGTH.pack(group.num_samples)
    lengths = b"".join(_pack_number(len(part)) for part in group.parts[:-1])
    body = bytes([group.number % INDEX_RANGE]) + bytes(gains) + end + lengths + b"".join(group.parts)
    checked = _pack_number(len(body) + _CHECKSUM.size) + body
    return checked + _CHECKSUM.pack(zlib.crc32(checked))


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
        is behind the end of `data`.
    """
    number = _unpack_number(data, start)
    if number is None:
        return None, len(data) + 1 if len(data) - start < _MOST_NUMBER_BYTES else 0
    length, body = number
    if not _FRAMING + header.spans <= length <= header.most_group_bytes:
        return None, 0
    end = body + length
    if len(data) < end:
        return None, end
    gains = bytearray(data[body + 1 : body + 1 + header.spans])
    is_last = bool(gains[0] & END_FLAG)
    gains[0] &= ~END_FLAG
    if max(gains) >= GAIN_LEVELS or (may_follow and not may_follow(data[body], is_last, end - start)):
        return None, 0
    checksum = end - _CHECKSUM.size
    if zlib.crc32(memoryview(data)[start:checksum]) != _CHECKSUM.unpack_from(data, checksum)[0]:
        return None, 0
    group = _unpack_body(bytes(data[body:checksum]), tuple(gains), is_last, header)
    return group, end if group else 0


def _unpack_body(body: bytes, gains: tuple[int, ...], is_last: bool, header: Header) -> Group | None:
    at, num_samples = 1 + header.spans, None
    if is_last:
        if len(body) < at + _LENGTH.size:
            return None
        num_samples, at = _LENGTH.unpack_from(body, at)[0], at + _LENGTH.size
    lengths = []
    for _ in range(header.parts - 1):
        number = _unpack_number(body, at)
        if number is None:
            return None
        lengths.append(number[0])
        at = number[1]
    borders = [at + sum(lengths[:count]) for count in range(header.parts)] + [len(body)]
    if borders[-2] > len(body):
        return None
    parts = tuple(body[start:end] for start, end in pairwise(borders))
    return Group(body[0], gains, parts, num_samples)


def _pack_number(value: int) -> bytes:
    """Seven bits a byte, lowest first, the top bit set in all but the last."""
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


def number_of_groups(num_samples: int, spans: int) -> int:
    """Groups of a signal, the last one often shorter than the others."""
    return -(-number_of_frames(num_samples) // (spans * FRAMES_PER_GROUP))


class Gap(NamedTuple):
    """Groups that did not arrive."""

    groups: int


class GroupReader:
    """Finds the groups of a file given in blocks of any size, and tells where some are missing.

    After damage it looks for the next place with the checksum of a group that can follow. What comes after a long gap
    is held back until enough groups have arrived to bear it out: a few bytes cannot ask for hours of made-up speech.

    Attributes:
        header: of the file.
        arrived: groups found so far.
        missing: groups missed so far.
        damaged_bytes: bytes that belong to no group.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.arrived = self.missing = self.damaged_bytes = 0
        self._total = header.total_groups
        self._data = bytearray()
        self._checks_left = 0
        self._held: list[Group | Gap] = []

    @property
    def too_little_arrived(self) -> bool:
        """Whether more is missing than may be made up."""
        return self.missing > MOST_MISSING * self.arrived

    def write(self, data: bytes) -> list[Group | Gap]:
        """Takes the next bytes; gives the groups that they complete."""
        self._data += data
        self._checks_left += CHECKS_PER_BYTE * len(data)
        self._read(at_end=False)
        return [] if self.too_little_arrived else self._released()

    def finish(self) -> list[Group | Gap]:
        """Gives what is left when no more bytes come, and the gap to the declared end."""
        self._read(at_end=True)
        missing = (self._total or 0) - self._passed
        if missing > 0:
            self.missing += missing
            self._held.append(Gap(missing))
        return self._released()

    @property
    def _passed(self) -> int:
        return self.arrived + self.missing

    def _released(self) -> list[Group | Gap]:
        released, self._held = self._held, []
        return released

    def _read(self, *, at_end: bool) -> None:
        start = 0
        while start < len(self._data):
            group, end = unpack_group(self._data, start, self.header, self._may_follow)
            if end > len(self._data) and not at_end:
                break
            if group is None or not self._take(group):
                self.damaged_bytes += 1
                start += 1
                continue
            start = end
        del self._data[:start]

    def _take(self, group: Group) -> bool:
        """Puts a group in its place; false if the length that it tells is not one that ends there."""
        missing = self._missing_before(group.number)
        if missing is None:
            return False
        number = self._passed + missing
        if group.num_samples is not None:
            if number_of_groups(group.num_samples, self.header.spans) != number + 1:
                return False
            self._total = number + 1
        self._held += [Gap(missing), group] if missing else [group]
        self.missing += missing
        self.arrived += 1
        return True

    def _may_follow(self, number: int, is_last: bool, size: int) -> bool:
        """See `MayFollow`. Each checksum is paid for, so that their work grows with the bytes and not faster."""
        says_length_twice = is_last and self.header.num_samples is not None
        if says_length_twice or self._missing_before(number) is None or size > self._checks_left:
            return False
        self._checks_left -= size
        return True

    def _missing_before(self, number: int) -> int | None:
        """How many groups are missing before one of this number; None if it cannot come here."""
        missing = (number - self._passed) % INDEX_RANGE
        possible = missing < AHEAD and (self._total is None or self._passed + missing < self._total)
        return missing if possible else None


class Contents(NamedTuple):
    """A file in its parts: the groups that arrived, how many did not, and bytes that belong to none."""

    header: Header
    groups: list[Group]
    missing: int
    damaged_bytes: int


def read_contents(data: bytes) -> Contents:
    """Takes a file apart; needs no model.

    Raises:
        BitstreamError: the header cannot be read.
    """
    reader = GroupReader(unpack_header(data))
    found = reader.write(data[HEADER_BYTES:]) + reader.finish()
    groups = [each for each in found if isinstance(each, Group)]
    missing = sum(each.groups for each in found if isinstance(each, Gap))
    return Contents(reader.header, groups, missing, reader.damaged_bytes)


def truncate(data: bytes, layers: int) -> bytes:
    """The same file with fewer codecs: what encoding with so many layers gives, byte for byte.

    Raises:
        BitstreamError: the header cannot be read.
        UserError: the file does not have so many layers.
    """
    header, groups, *_ = read_contents(data)
    if not 1 <= layers <= header.layers:
        raise UserError(f"expected 1 to {header.layers} layers, which the file has, found {layers}; choose among them")
    header = header._replace(layers=layers)
    packed = [pack_group(group._replace(parts=group.parts[: header.parts])) for group in groups]
    return b"".join([pack_header(header), *packed])


def lose_groups(data: bytes, loss: float, burst: float, seed: int) -> bytes:
    """The file without the groups that a Gilbert channel loses (Gilbert, 1960).

    Args:
        data: an .nsc file.
        loss: share of groups lost on average, 0 to below 1.
        burst: mean number of groups lost in a row, at least 1.
        seed: of the channel.

    Raises:
        BitstreamError: the header cannot be read.
        UserError: values that no Gilbert channel has.
    """
    if not 0 <= loss < 1 or not 1 <= burst < math.inf or loss > burst * (1 - loss):
        raise UserError(
            f"expected a loss from 0 to below 1 and bursts of at least 1 and loss / (1 - loss) groups, found"
            f" {loss:g} and {burst:g}; choose longer bursts or less loss"
        )
    if seed < 0:
        raise UserError(f"expected a seed of at least 0, found {seed}; choose another")
    header, groups, *_ = read_contents(data)
    lost = gilbert_losses(len(groups), loss, burst, np.random.default_rng(seed))
    kept = [pack_group(group) for group, gone in zip(groups, lost, strict=True) if not gone]
    return b"".join([pack_header(header), *kept])


def gilbert_losses(count: int, loss: float, burst: float, generator: np.random.Generator) -> list[bool]:
    """Which of `count` groups a two-state channel loses, see `lose_groups`."""
    leave_loss, enter_loss = 1 / burst, loss / (burst * (1 - loss))
    losing = bool(generator.random() < loss)
    states = []
    for chance in generator.random(count):
        states.append(losing)
        losing = bool(chance >= leave_loss) if losing else bool(chance < enter_loss)
    return states


def byte_counts(data: bytes, part_names: Sequence[str]) -> dict[str, int]:
    """How many bytes of a file are header, framing, gains, damaged, and each part; they add up to the file.

    Args:
        data: an .nsc file.
        part_names: of the parts, as many as the file has.
    """
    header, groups, _, damaged = read_contents(data)
    parts = {name: sum(len(group.parts[number]) for group in groups) for number, name in enumerate(part_names)}
    gains = len(groups) * header.spans
    rest = len(data) - HEADER_BYTES - gains - damaged - sum(parts.values())
    return {"header": HEADER_BYTES, "framing": rest, "gain": gains, "damaged": damaged, **parts}
