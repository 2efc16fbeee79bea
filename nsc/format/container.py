"""The .nsc container: finding groups after damage, cutting layers, counting bytes (docs/bitstream.md)."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from nsc.arguments import file_bytes, layers_of
from nsc.constants import SAMPLE_RATE
from nsc.errors import UserError
from nsc.format.errors import BitstreamError, DamagedError, WrongModelError
from nsc.format.group import INDEX_RANGE, Group, pack_group, plausible_places, unpack_group
from nsc.format.header import HEADER_BYTES, MAGIC, Header, pack_header, total_groups, unpack_header

SUFFIX = ".nsc"
AHEAD = 128  # groups that may be missing before one that counts as late instead
LATE = 32  # groups that may come after they were given up, so that longer outages than 256 less these are not seen
RESUMED = 4  # groups in sequence that bear out that more than AHEAD are missing
MOST_MISSING = 9  # groups made up for each one that arrived; a stream that asks for more is damaged
CHECKS_PER_BYTE = 256  # bytes that are checksummed in search of groups for each that arrives; damage takes a tenth


class Gap(NamedTuple):
    """Groups that did not arrive."""

    groups: int


class GroupReader:
    """Finds the groups of a file given in blocks of any size, and the gaps where some are missing.

    After damage it looks for the next place with the checksum of a group that can follow. What comes after a long gap
    is held back until enough groups have arrived to bear it out: a few bytes cannot ask for hours of made-up speech.
    Groups whose numbers are none that can follow are late, or come after an outage: a few in sequence show which.
    Nothing depends on the sizes of the blocks. The header may come again between groups.

    Attributes:
        header: of the file.
        arrived: groups found so far.
        missing: groups missed so far.
        damaged_bytes: bytes that belong to no group.
        another_follows: whether the header of another file comes after the last group.
    """

    def __init__(self, header: Header, *, joins: bool = False) -> None:
        """Begins after a header; where it `joins` a stream, whatever group comes first is the first."""
        self.header = header
        self.arrived = self.missing = self.damaged_bytes = 0
        self.another_follows = False
        self._given_up = 0
        self._total = None if joins else total_groups(header)
        self._joins, self._first = joins, 0  # the number of the first group
        self._repeated = pack_header(header)
        self._data = bytearray()
        self._before = self._place = 0  # bytes before those at hand, and the place that is looked at
        self._checked = 0  # bytes that were checksummed
        self._aside: list[Group] = []
        self._aside_bytes = 0
        self._held: list[Group | Gap] = []

    @property
    def too_little_arrived(self) -> bool:
        """Whether more is missing than may be made up."""
        return self.missing > MOST_MISSING * self.arrived

    def write(self, data: bytes) -> list[Group | Gap]:
        """Takes the next bytes; gives the groups that they complete."""
        self._data += data
        self._read(at_end=False)
        return self._released()

    def give_up(self) -> list[Group | Gap]:
        """Counts the next group as missing, and as late should it still come; gives what may be decoded now."""
        self._given_up += 1
        self._held.append(Gap(1))
        return self._released()

    def finish(self) -> list[Group | Gap]:
        """Gives what is left when no more bytes come, and the gap to the declared end."""
        self._read(at_end=True)
        missing = (self._total or 0) - self._passed
        if missing > 0:
            self.missing += missing
            self._held.append(Gap(missing))
        return self._released(at_end=True)

    @property
    def _passed(self) -> int:
        return self.arrived + self.missing + self._given_up

    @property
    def _is_over(self) -> bool:
        return self._total is not None and self._passed >= self._total

    def _released(self, *, at_end: bool = False) -> list[Group | Gap]:
        if self.too_little_arrived and not at_end:
            return []
        released, self._held = self._held, []
        return released

    def _read(self, *, at_end: bool) -> None:
        start = searched = 0
        places: list[int] = []
        while start < len(self._data):
            if self._data.startswith(self._repeated, start) and not self._is_over:
                start += HEADER_BYTES
                continue
            self._place = self._before + start
            group, end = unpack_group(self._data, start, self.header, self._may_follow)
            incomplete = self._data.startswith(MAGIC, start) and len(self._data) - start < HEADER_BYTES
            if (incomplete or end > len(self._data)) and not at_end:
                break
            if group is not None and (self._take(group) or self._set_aside(group, end - start)):
                start, searched = end, 0
                continue
            self.another_follows |= self._is_over and _is_header(self._data[start : start + HEADER_BYTES])
            if start + 1 >= searched:
                places, searched = plausible_places(self._data, start + 1, self.header)
            later = bisect_right(places, start)
            found = places[later] if later < len(places) else max(start + 1, searched)
            self.damaged_bytes += found - start
            start = found
        del self._data[:start]
        self._before += start

    def _take(self, group: Group) -> bool:
        """Puts a group in its place; false if it cannot come here, or the length that it carries does not end there."""
        if self._joins and not self.arrived:
            self._first = group.number - self._passed
        missing = self._missing_before(group.number)
        if missing >= self._ahead:
            return False
        number = self._passed + missing
        if group.num_samples is not None:
            last = _groups_of(group.num_samples, self.header) - 1
            if (last - group.number) % INDEX_RANGE if self._joins else last != number:
                return False
            self._total = number + 1
        self._follow(missing, [group])
        return True

    def _set_aside(self, group: Group, size: int) -> bool:
        """Puts aside a group that cannot follow, until a few in sequence show that they go on after an outage."""
        first = self._aside[0].number if self._aside else group.number
        if group.num_samples is not None or group.number != (first + len(self._aside)) % INDEX_RANGE:
            self._drop_aside()
        if group.num_samples is not None:
            return False
        self._aside.append(group)
        self._aside_bytes += size
        missing = self._missing_before(self._aside[0].number)
        if INDEX_RANGE - missing <= LATE:
            self._drop_aside()
        if len(self._aside) < RESUMED:
            return True
        if self._total is None or self._passed + missing + len(self._aside) <= self._total:
            self._aside_bytes = 0
            self._follow(missing, self._aside)
        self._drop_aside()
        return True

    def _follow(self, missing: int, groups: list[Group]) -> None:
        self._held += [Gap(missing), *groups] if missing else groups
        self.missing += missing
        self.arrived += len(groups)
        self._drop_aside()

    def _drop_aside(self) -> None:
        self.damaged_bytes += self._aside_bytes
        self._aside, self._aside_bytes = [], 0

    def _may_follow(self, _number: int, is_last: bool, size: int) -> bool:
        """See `MayFollow`. Each checksum is paid for, so that their work grows with the bytes and not faster."""
        says_length_twice = is_last and self.header.num_samples is not None
        if says_length_twice or self._is_over or self._checked + size > CHECKS_PER_BYTE * (self._place + size):
            return False
        self._checked += size
        return True

    def _missing_before(self, number: int) -> int:
        """How many groups are missing before one of this number, or 256 less how late it is."""
        return (number - self._first - self._passed) % INDEX_RANGE

    @property
    def _ahead(self) -> int:
        """How many numbers may come next, from the first that is missing on."""
        return AHEAD if self._total is None else min(AHEAD, self._total - self._passed)


def _is_header(data: bytes | bytearray) -> bool:
    try:
        unpack_header(bytes(data))
    except BitstreamError:
        return False
    return True


def _groups_of(num_samples: int, header: Header) -> int:
    return -(-header.frames_of(num_samples) // header.group_frames)


class Contents(NamedTuple):
    """A file in its parts: the groups that arrived, how many did not, and bytes that belong to none."""

    header: Header
    groups: list[Group]
    missing: int
    damaged_bytes: int

    @property
    def num_samples(self) -> int | None:
        """Length at 16 kHz; None if a stream broke off before its end."""
        lengths = [self.header.num_samples, *(group.num_samples for group in self.groups)]
        return next((length for length in lengths if length is not None), None)


def check_model(header: Header, model: str) -> None:
    """Raises WrongModelError where a file is not of the model with this hash."""
    if header.model != model:
        raise WrongModelError(f"expected a file of model {model}, found one of model {header.model}; give that model")


def whole_file(data: bytes, model: str | None = None) -> Contents:
    """An undamaged file, whose length is known and whose model is this one where one is given, in its parts.

    Raises:
        BitstreamError: the header cannot be read or names another model, or groups are missing or damaged.
    """
    contents = read_contents(data)
    if model is not None:
        check_model(contents.header, model)
    if contents.missing or contents.damaged_bytes or contents.num_samples is None or not contents.groups:
        raise DamagedError(
            f"expected a whole file of known length, found {len(contents.groups)} groups, {contents.missing} missing"
            f" and {contents.damaged_bytes} bytes damaged; decode it instead"
        )
    return contents


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
    samples = contents.num_samples
    seconds = None if samples is None else samples / SAMPLE_RATE
    return Info(contents.header, seconds, contents.missing, _byte_counts(data, contents))


def _byte_counts(data: bytes, contents: Contents) -> dict[str, int]:
    """How many bytes of a file are header, framing, gains, damaged, and each part; they add up to the file."""
    header, groups, _, damaged = contents
    parts = {name: sum(len(group.parts[place]) for group in groups) for place, name in enumerate(header.part_names)}
    gains = len(groups) * header.side_bytes
    rest = len(data) - HEADER_BYTES - gains - damaged - sum(parts.values())
    return {"header": HEADER_BYTES, "framing": rest, "gain": gains, "damaged": damaged, **parts}
