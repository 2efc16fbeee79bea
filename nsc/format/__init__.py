"""The .nsc file format, without models and, unless a file is damaged, without numpy (docs/bitstream.md)."""

from nsc.format.container import (
    MOST_MISSING,
    SUFFIX,
    Contents,
    Gap,
    GroupReader,
    Info,
    check_model,
    info,
    read_contents,
    truncate,
    whole_file,
)
from nsc.format.errors import BitstreamError, DamagedError, NotNscError, UnknownVersionError, WrongModelError
from nsc.format.group import Group, pack_group, pack_parts, unpack_group, unpack_parts
from nsc.format.header import HEADER_BYTES, MAGIC, Header, pack_header, total_groups, unpack_header
from nsc.format.packets import Packets, file_of, packets_of, sent_bytes, sent_size, unpack_packet_header

__all__ = [
    "HEADER_BYTES",
    "MAGIC",
    "MOST_MISSING",
    "SUFFIX",
    "BitstreamError",
    "Contents",
    "DamagedError",
    "Gap",
    "Group",
    "GroupReader",
    "Header",
    "Info",
    "NotNscError",
    "Packets",
    "UnknownVersionError",
    "WrongModelError",
    "check_model",
    "file_of",
    "info",
    "pack_group",
    "pack_header",
    "pack_parts",
    "packets_of",
    "read_contents",
    "sent_bytes",
    "sent_size",
    "total_groups",
    "truncate",
    "unpack_group",
    "unpack_header",
    "unpack_packet_header",
    "unpack_parts",
    "whole_file",
]
