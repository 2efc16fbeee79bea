"""The .nsc container: finding groups after damage, cutting layers, counting bytes (docs/bitstream.md)."""

from __future__ import annotations

from typing import NamedTuple

from nsc.constants import SAMPLE_RATE
from nsc.errors import UserError
from nsc.format.group import INDEX_RANGE, Group, pack_group, unpack_group
from nsc.format.header import HEADER_BYTES, Header, pack_header, total_groups, unpack_header

SUFFIX = ".nsc"
AHEAD = 128  # groups that may be missing before one that counts as late instead


class Gap(NamedTuple):
    """Groups that did not arrive."""

    groups: int


class GroupReader:
    """Finds the groups of a file given in blocks of any size, and tells where some are missing.

    After damage it looks for the next place with the checksum of a group that can follow.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.total = total_groups(header)
        self.passed = 0  # groups found or missed so far
        self.damaged_bytes = 0
        self._data = b""

    def write(self, data: bytes) -> list[Group | Gap]:
        """Takes the next bytes; gives the groups that they complete."""
        self._data += data
        return self._read(at_end=False)

    def finish(self) -> list[Group | Gap]:
        """Gives what is left when no more bytes come, and the gap to the declared end."""
        found = self._read(at_end=True)
        missing = (self.total or 0) - self.passed
        self.passed += max(0, missing)
        return [*found, Gap(missing)] if missing > 0 else found

    def _read(self, *, at_end: bool) -> list[Group | Gap]:
        found: list[Group | Gap] = []
        start = 0
        while start < len(self._data):
            group, end = unpack_group(self._data, start, self.header)
            if end > len(self._data) and not at_end:
                break
            missing = None if group is None else self._missing_before(group)
            if group is None or missing is None:
                self.damaged_bytes += 1
                start += 1
                continue
            found += [Gap(missing), group] if missing else [group]
            self.passed += missing + 1
            if group.num_samples is not None:
                self.total = self.passed
            start = end
        self._data = self._data[start:]
        return found

    def _missing_before(self, group: Group) -> int | None:
        """How many groups are missing before this one; None if it cannot come here."""
        missing = (group.number - self.passed) % INDEX_RANGE
        possible = missing < AHEAD and (self.total is None or self.passed + missing < self.total)
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
    """The same file with fewer layers: what encoding with so many layers gives, byte for byte.

    Raises:
        BitstreamError: the header cannot be read.
        UserError: the file does not have so many layers.
    """
    header, groups, *_ = read_contents(data)
    if not 1 <= layers <= header.layers:
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
        """1000 bits a second of a part, or of the whole file."""
        size = sum(self.bytes.values()) if name is None else self.bytes[name]
        return 8 * size / 1000 / self.seconds if self.seconds else float("nan")


def info(data: bytes) -> Info:
    """What an .nsc file holds; needs no model.

    >>> nsc.info(Path("speech.nsc").read_bytes()).kbps()

    Raises:
        BitstreamError: the header cannot be read.
    """
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
