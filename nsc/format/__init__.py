"""The .nsc file format, without models and, unless a file is damaged, without numpy (docs/bitstream.md)."""

from nsc.format.container import (
    MOST_MISSING,
    SUFFIX,
    Contents,
    Gap,
    GroupReader,
    Info,
    info,
    read_contents,
    truncate,
    whole_file,
)
from nsc.format.errors import BitstreamError, DamagedError, NotNscError, UnknownVersionError, WrongModelError
from nsc.format.group import Group, pack_group, unpack_group
from nsc.format.header import HEADER_BYTES, MAGIC, Header, pack_header, total_groups, unpack_header

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
    "UnknownVersionError",
    "WrongModelError",
    "info",
    "pack_group",
    "pack_header",
    "read_contents",
    "total_groups",
    "truncate",
    "unpack_group",
    "unpack_header",
    "whole_file",
]
