"""The first 16 bytes of a file; each format version has a header class of its own."""

from __future__ import annotations

import binascii
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from nsc.arguments import file_bytes
from nsc.format import version_1, version_2, version_3, version_4
from nsc.format.errors import DamagedError, NotNscError, UnknownVersionError

if TYPE_CHECKING:
    from typing import Self

MAGIC = b"NSC"
UNKNOWN_LENGTH = 0xFFFFFFFF  # of a stream whose end was not known at its start
# magic, version, model, samples, two bytes of the version's own, checksum
_HEADER = struct.Struct(">3sB4sIBBH")
HEADER_BYTES = _HEADER.size


class Header(Protocol):
    """Header of a file, in any version."""

    @property
    def version(self) -> int:
        """Of the format."""
        ...

    @property
    def model(self) -> str:
        """First eight hex digits of the model's hash."""
        ...

    @property
    def num_samples(self) -> int | None:
        """Length at 16 kHz; None if the stream began before its end was known."""
        ...

    @property
    def layers(self) -> int:
        """Layers of the model whose codes are in the file; the last ones can be cut off."""
        ...

    @property
    def part_names(self) -> list[str]:
        """Of the parts of each group, in order."""
        ...

    @property
    def side_bytes(self) -> int:
        """Bytes of side information in each group, such as gains."""
        ...

    @property
    def group_frames(self) -> int:
        """Frames in a whole group."""
        ...

    @property
    def group_samples(self) -> int:
        """Samples that a whole group adds to the signal."""
        ...

    @property
    def most_group_bytes(self) -> int:
        """No group is longer; a length above it is damage."""
        ...

    @property
    def delay_samples(self) -> int:
        """Largest delay in samples from the encoder's input to the decoder's output."""
        ...

    def __hash__(self) -> int: ...

    def frames_of(self, num_samples: int) -> int:
        """Frames of a signal of so many samples, at least 1."""
        ...

    @property
    def side_limits(self) -> tuple[int, ...]:
        """Below which each index of the side information exists."""
        ...

    def version_bytes(self) -> tuple[int, int]:
        """The two header bytes whose meaning is the version's own."""
        ...

    def with_layers(self, layers: int) -> Self:
        """The header of the same file cut to fewer layers."""
        ...


VERSIONS: dict[int, Callable[[str, int | None, tuple[int, int]], Header]] = {
    version_1.VERSION: version_1.read,
    version_2.VERSION: version_2.read,
    version_3.VERSION: version_3.read,
    version_4.VERSION: version_4.read,
}


def pack_header(header: Header) -> bytes:
    """The first 16 bytes of a file."""
    length = UNKNOWN_LENGTH if header.num_samples is None else header.num_samples
    fields = (MAGIC, header.version, bytes.fromhex(header.model), length, *header.version_bytes())
    unchecked = _HEADER.pack(*fields, 0)[:-2]
    return unchecked + binascii.crc_hqx(unchecked, 0xFFFF).to_bytes(2, "big")


def unpack_header(data: bytes) -> Header:
    """Reads the first bytes of a file.

    Raises:
        NotNscError, UnknownVersionError, DamagedError: as their names say.
        UserError: no bytes.
    """
    data = file_bytes(data)
    if data[: len(MAGIC)] != MAGIC:
        raise NotNscError(f"expected an .nsc file, found one that begins with {data[:4]!r}; encode speech to get one")
    if len(data) > len(MAGIC) and data[len(MAGIC)] not in VERSIONS:
        known = f"1 to {max(VERSIONS)}"
        raise UnknownVersionError(f"expected version {known} of .nsc, found {data[len(MAGIC)]}; use the newest codec")
    if len(data) < HEADER_BYTES:
        raise DamagedError(f"expected a header of {HEADER_BYTES} bytes, found {len(data)}; fetch the file again")
    _, version, model, length, *own, checksum = _HEADER.unpack(data[:HEADER_BYTES])
    if binascii.crc_hqx(data[: HEADER_BYTES - 2], 0xFFFF) != checksum:
        raise DamagedError("expected the header's checksum, found another: the header is damaged; fetch the file again")
    return VERSIONS[version](model.hex(), None if length == UNKNOWN_LENGTH else length, (own[0], own[1]))


def total_groups(header: Header) -> int | None:
    """Groups of the whole signal, the last one often shorter than the others; None if its length is not known."""
    return None if header.num_samples is None else -(-header.frames_of(header.num_samples) // header.group_frames)
