"""RTP and RTCP (RFC 3550) as a call has them on the wire; docs/rtp.md describes every byte."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from nsc.format import HEADER_BYTES

PAYLOAD_TYPE: Final = 98
CLOCKS: Final = 1 << 32  # timestamps come round
MOST_REASON: Final = 200  # bytes of text in a BYE
FIRST_BYTE: Final = 0x80  # version 2, no padding, no extension, no contributing sources
MARKER: Final = 0x80
CONTROL: Final = range(192, 224)  # second bytes of RTCP where both share a port, RFC 5761
BYE, APP, FEEDBACK = 203, 204, 206  # packet types of RTCP
OFFERED, HEARD, ENDED = range(3)  # subtypes of APP
PICTURE_LOSS: Final = 1  # feedback by which a receiver asks for what stands alone, RFC 4585
NAME: Final = b"nsc4"  # of our APP packets

_RTP = struct.Struct(">BBHII")
_RTCP = struct.Struct(">BBHI")
_STREAM = struct.Struct(f">4s{HEADER_BYTES}sHHII")


class Packet(NamedTuple):
    """An RTP packet of a stream: sequence number, timestamp, sender (SSRC), what it carries, marker."""

    number: int
    timestamp: int
    source: int
    payload: bytes
    marker: bool = False


class Stream(NamedTuple):
    """What a sender says of its stream, as often as it likes.

    source: its SSRC.
    header: of the packets, 16 bytes.
    first, next: sequence numbers of its first packet and of the one that it sends next.
    start, end: timestamps of the signal's first sample and, so far, of the one after its last.
    state: OFFERED until it has heard of the other side's stream, then HEARD; ENDED when no more packets will come.
    """

    source: int
    header: bytes
    first: int
    next: int
    start: int
    end: int
    state: int = OFFERED


class Bye(NamedTuple):
    """A sender leaves the call, and may say why."""

    source: int
    reason: str = ""


class Request(NamedTuple):
    """A receiver asks the other side for a packet that stands alone."""

    source: int


def is_control(data: bytes) -> bool:
    """Whether a datagram is RTCP, not RTP."""
    return len(data) >= _RTCP.size and data[0] >> 6 == 2 and data[1] in CONTROL


def pack(packet: Packet) -> bytes:
    """The datagram of a packet."""
    kind = PAYLOAD_TYPE | (MARKER if packet.marker else 0)
    return _RTP.pack(FIRST_BYTE, kind, packet.number, packet.timestamp, packet.source) + packet.payload


def unpack(data: bytes) -> Packet | None:
    """The packet of a datagram; None if it is none of ours."""
    if len(data) <= _RTP.size:
        return None
    first, kind, number, timestamp, source = _RTP.unpack_from(data)
    if first != FIRST_BYTE or kind & ~MARKER != PAYLOAD_TYPE:
        return None
    return Packet(number, timestamp, source, data[_RTP.size :], bool(kind & MARKER))


def pack_control(*messages: Stream | Bye | Request, media: int = 0) -> bytes:
    """The datagram of RTCP messages; a request is to the sender `media`."""
    return b"".join(_control(each, media) for each in messages)


def _control(message: Stream | Bye | Request, media: int) -> bytes:
    if isinstance(message, Stream):
        body = _STREAM.pack(NAME, *message[1:-1])
        return _rtcp(message.state, APP, message.source, body)
    if isinstance(message, Request):
        return _rtcp(PICTURE_LOSS, FEEDBACK, message.source, struct.pack(">I", media))
    reason = message.reason.encode()[:MOST_REASON]
    text = bytes([len(reason)]) + reason if reason else b""
    return _rtcp(1, BYE, message.source, text + bytes(-len(text) % 4))


def _rtcp(count: int, kind: int, source: int, body: bytes) -> bytes:
    return _RTCP.pack(FIRST_BYTE | count, kind, 1 + len(body) // 4, source) + body


def unpack_control(data: bytes) -> Iterator[Stream | Bye | Request]:
    """The messages of a datagram that a call knows, up to where it can be read."""
    while len(data) >= _RTCP.size:
        first, kind, words, source = _RTCP.unpack_from(data)
        size, count = 4 * words + 4, first & 31
        if first & ~31 != FIRST_BYTE or not _RTCP.size <= size <= len(data):
            return
        body, data = data[_RTCP.size : size], data[size:]
        if kind == APP and count in (OFFERED, HEARD, ENDED) and len(body) == _STREAM.size and body.startswith(NAME):
            yield Stream._make((source, *_STREAM.unpack(body)[1:], count))
        elif kind == BYE and count == 1:
            yield Bye(source, body[1 : 1 + body[0]].decode(errors="replace") if body else "")
        elif kind == FEEDBACK and count == PICTURE_LOSS:
            yield Request(source)
