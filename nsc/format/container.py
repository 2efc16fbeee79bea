"""The .nsc container: finding groups after damage, cutting layers, counting bytes (docs/bitstream.md)."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from nsc.arguments import file_bytes, layers_of
from nsc.constants import SAMPLE_RATE
from nsc.errors import UserError
from nsc.format.errors import DamagedError
from nsc.format.group import INDEX_RANGE, Group, pack_group, plausible_places, unpack_group
from nsc.format.header import HEADER_BYTES, Header, pack_header, total_groups, unpack_header

SUFFIX = ".nsc"
AHEAD = 128  # groups that may be missing before one that counts as late instead
MOST_MISSING = 9  # groups made up for each one that arrived; a stream that asks for more is damaged
CHECKS_PER_BYTE = 256  # bytes that are checksummed in search of groups for each that arrives; damage takes a tenth


class Gap(NamedTuple):
    """Groups that did not arrive."""

    groups: int


class GroupReader:
    """Finds the groups of a file given in blocks of any size, and the gaps where some are missing.

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
        self._total = total_groups(header)
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
        start = searched = 0
        places: list[int] = []
        while start < len(self._data):
            group, end = unpack_group(self._data, start, self.header, self._may_follow)
            if end > len(self._data) and not at_end:
                break
            if group is not None and self._take(group):
                start, searched = end, 0
                continue
            if start + 1 >= searched:
                ahead = self._passed, self._ahead
                places, searched = plausible_places(self._data, start + 1, self.header, *ahead)
            later = bisect_right(places, start)
            found = places[later] if later < len(places) else max(start + 1, searched)
            self.damaged_bytes += found - start
            start = found
        del self._data[:start]

    def _take(self, group: Group) -> bool:
        """Puts a group in its place; false if the length that it carries does not end there."""
        missing = self._missing_before(group.number)
        if missing is None:
            return False
        number = self._passed + missing
        if group.num_samples is not None:
            if _groups_of(group.num_samples, self.header) != number + 1:
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
        return missing if missing < self._ahead else None

    @property
    def _ahead(self) -> int:
        """How many numbers may come next, from the first that is missing on."""
        return AHEAD if self._total is None else min(AHEAD, self._total - self._passed)


def _groups_of(num_samples: int, header: Header) -> int:
    return -(-header.frames_of(num_samples) // header.group_frames)


class Contents(NamedTuple):
    """A file in its parts: the groups that arrived, how many did not, and bytes that belong to none."""

    header: Header
    groups: list[Group]
    missing: int
    damaged_bytes: int


def whole_file(data: bytes) -> tuple[Header, list[Group]]:
    """Header and groups of an undamaged file of known length.

    Raises:
        BitstreamError: the header cannot be read, or groups are missing or damaged.
    """
    header, groups, missing, damaged = read_contents(data)
    if missing or damaged or header.num_samples is None or not groups:
        raise DamagedError(
            f"expected a whole file of known length, found {len(groups)} groups, {missing} missing and {damaged} bytes"
            " damaged; decode it instead"
        )
    return header, groups


def read_contents(data: bytes) -> Contents:
    """Splits a file into header and groups; needs no model.

    Raises:
        BitstreamError: the header cannot be read.
    """
    data = file_bytes(data)
    reader = GroupReader(unpack_header(data))
    found = reader.write(data[HEADER_BYTES:]) + reader.finish()
    groups = [each for each in found if isinstance(each, Group)]
    missing = sum(each.groups for each in found if isinstance(each, Gap))
    return Contents(reader.header, groups, missing, reader.damaged_bytes)


def truncate(data: bytes, layers: int) -> bytes:
    """The same file with fewer layers: what encoding with that many layers gives, byte for byte.

    Raises:
        BitstreamError: the header cannot be read.
        UserError: the file does not have so many layers.
    """
    header, groups, *_ = read_contents(data)
    if layers_of(layers) is None or not 1 <= layers <= header.layers:
        raise UserError(f"expected 1 to {header.layers} layers, which the file has, found {layers}; choose among them")
    cut = header.with_layers(layers)
    kept = len(cut.part_names)
    packed = [pack_group(group._replace(parts=group.parts[:kept])) for group in groups]
    return b"".join([pack_header(cut), *packed])


class Info(NamedTuple):
    """What an .nsc file holds.

    seconds: duration, None if a stream broke off before its end.
    bytes: of header, framing, gain, damage and each part; they add up to the file.
    """

    header: Header
    seconds: float | None
    missing: int
    bytes: dict[str, int]

    def kbps(self, name: str | None = None) -> float:
        """1000 bits per second of a part, or of the whole file."""
        size = sum(self.bytes.values()) if name is None else self.bytes[name]
        return 8 * size / 1000 / self.seconds if self.seconds else float("nan")


def info(data: bytes) -> Info:
    """What an .nsc file holds; needs no model.

    >>> nsc.info(Path("speech.nsc").read_bytes()).kbps()

    Raises:
        BitstreamError: the header cannot be read.
    """
    data = file_bytes(data)
    contents = read_contents(data)
    header, groups, missing, _ = contents
    lengths = [header.num_samples, *(group.num_samples for group in groups)]
    known = [length for length in lengths if length is not None]
    return Info(header, known[0] / SAMPLE_RATE if known else None, missing, _byte_counts(data, contents))


def _byte_counts(data: bytes, contents: Contents) -> dict[str, int]:
    """How many bytes of a file are header, framing, gains, damaged, and each part; they add up to the file."""
    header, groups, _, damaged = contents
    parts = {name: sum(len(group.parts[place]) for group in groups) for place, name in enumerate(header.part_names)}
    gains = len(groups) * header.side_bytes
    rest = len(data) - HEADER_BYTES - gains - damaged - sum(parts.values())
    return {"header": HEADER_BYTES, "framing": rest, "gain": gains, "damaged": damaged, **parts}
