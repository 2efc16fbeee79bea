"""Format version 4: packets, whose contexts reach back to the last that stands alone (docs/bitstream.md)."""

from __future__ import annotations

from typing import Final

from nsc.format import version_2, version_3

VERSION: Final = 4

_MOST_SIDE_BYTES = 6  # kind, level and offset within the first part


class Header(version_3.Header):
    """Header of packets, or of a file of them, whose groups are one packet each; fields and bytes as in version 3."""

    @property
    def version(self) -> int:
        """Of the format."""
        return VERSION

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
        """No group is longer; a length above it is damage."""
        return super().most_group_bytes + _MOST_SIDE_BYTES

    def frames_of(self, num_samples: int) -> int:
        """Frames of a signal of so many samples, of whole packets: a receiver does not know which is the last."""
        return -(-super().frames_of(num_samples) // self.frames) * self.frames


def read(model: str, num_samples: int | None, own: tuple[int, int]) -> version_2.Header:
    """The header of these fields.

    Raises:
        DamagedError: values that no encoder writes.
    """
    return Header(*version_3.read(model, num_samples, own))
