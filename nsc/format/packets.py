"""Packets as they are sent, and files of them; converting one to the other needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nsc.arguments import file_bytes
from nsc.errors import UserError
from nsc.format.container import read_contents, whole_file
from nsc.format.group import Group, pack_group, pack_parts, unpack_parts
from nsc.format.header import Header, pack_header, unpack_header
from nsc.format.version_4 import Header as PacketHeader


class Packets(NamedTuple):
    """Packets in their order, and the header that their receiver has to know."""

    header: bytes
    packets: list[bytes]


def unpack_packet_header(data: bytes) -> PacketHeader:
    """Reads the header of packets.

    Raises:
        BitstreamError: this is no header.
        UserError: it is the header of something else.
    """
    header = unpack_header(data)
    if not isinstance(header, PacketHeader):
        raise UserError(f"expected packets, version 4 of .nsc, found version {header.version}; encode as packets")
    return header


def packets_of(data: bytes) -> Packets:
    """The packets of an .nsc file of packets; `file_of` makes the file of them again.

    >>> header, packets = nsc.packets_of(nsc.encode(samples, refresh=5))

    Raises:
        BitstreamError: the header cannot be read, or groups are missing or damaged.
        UserError: the file holds no packets.
    """
    header = unpack_packet_header(file_bytes(data))
    contents = whole_file(data)
    whole = header._replace(num_samples=contents.num_samples)
    return Packets(pack_header(whole), [pack_parts(group.parts) for group in contents.groups])


def file_of(header: bytes, packets: Sequence[bytes | None]) -> bytes:
    """An .nsc file of packets, each with its number and a checksum.

    Args:
        header: of the packets. Where it does not say how long the signal is, it is as long as what they decode to.
        packets: in their order, None for those that were lost, none of which or b"" is in the file.

    Raises:
        BitstreamError: this is no header.
        UserError: it is the header of something else, or a packet does not have the parts that it says.
    """
    found = unpack_packet_header(header)
    if found.num_samples is None:
        spectra = len(packets) * found.frames * found.spectra_per_frame
        found = found._replace(num_samples=max(0, spectra - 1) * found.hop)
    groups = []
    for number, packet in enumerate(packets):
        if not packet:
            continue
        parts = unpack_parts(file_bytes(packet), len(found.part_names))
        if parts is None:
            raise UserError(
                f"expected packets of {len(found.part_names)} parts, found another at {number}; check the header"
            )
        groups.append(pack_group(Group(number, (0,), parts)))
    return b"".join([pack_header(found), *groups])


def sent_bytes(data: bytes) -> int:
    """How many bytes of a file are sent: the packets where it holds them, else all."""
    header, groups, *_ = read_contents(data)
    return sum(sent_size(header, group) for group in groups) if isinstance(header, PacketHeader) else len(data)


def sent_size(header: Header, group: Group) -> int:
    """How many bytes of a group are sent."""
    return len(pack_parts(group.parts) if isinstance(header, PacketHeader) else pack_group(group))
