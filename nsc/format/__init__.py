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
from nsc.format.group import Group, pack_group, pack_parts, unpack_parts
from nsc.format.header import HEADER_BYTES, Header, pack_header, unpack_header
from nsc.format.packets import Packets, file_of, packets_of, sent_bytes, sent_size, unpack_packet_header
