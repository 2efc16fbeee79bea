"""Format version 4: packets, whose contexts reach back to the last that stands alone (docs/bitstream.md)."""

from __future__ import annotations

from typing import Final

from nsc.format import version_2, version_3

VERSION: Final = 4
REDUNDANCY_PART: Final = "redundancy"

_MOST_SIDE_BYTES = 6  # kind, level and offset within the first part
_REDUNDANT_FLAG = 0x10  # on the byte of layers


class Header(version_3.Header):
    """Header of packets, or of a file of them, whose groups are one packet each; fields and bytes as in version 3."""

    @property
    def version(self) -> int:
        return VERSION

    @property
    def part_names(self) -> list[str]:
        """Of the parts of each packet: the copy of the one before where packets carry any, then its own."""
        return [REDUNDANCY_PART] * self.redundant + super().part_names

    @property
    def side_bytes(self) -> int:
        """One that only marks the end: level and step offset lie within the first part."""
        return 1

    @property
    def side_limits(self) -> tuple[int, ...]:
        """It is 0."""
        return (1,)

    @property
    def most_group_bytes(self) -> int:
        own = super().most_group_bytes + _MOST_SIDE_BYTES
        return own + self._replace(layers=1, redundant=False).most_group_bytes if self.redundant else own

    @property
    def delay_samples(self) -> int:
        """As of groups; who is to hear copies waits for one packet more."""
        return super().delay_samples + self.group_samples * self.redundant

    def version_bytes(self) -> tuple[int, int]:
        """As in version 3, with a flag of redundancy."""
        own, lengths = super().version_bytes()
        return own | _REDUNDANT_FLAG * self.redundant, lengths

    def frames_of(self, num_samples: int) -> int:
        """Frames of a signal of so many samples, of whole packets: a receiver does not know which is the last."""
        return -(-super().frames_of(num_samples) // self.frames) * self.frames


def read(model: str, num_samples: int | None, own: tuple[int, int]) -> version_2.Header:
    """The header of these fields.

    Raises:
        DamagedError: values that no encoder writes.
    """
    redundant = bool(own[0] & _REDUNDANT_FLAG)
    plain = version_3.read(model, num_samples, (own[0] & ~_REDUNDANT_FLAG, own[1]))
    return Header(*plain)._replace(redundant=redundant)
