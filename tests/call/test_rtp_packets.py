"""What a call puts on the wire, read by a library of others; and what it makes of anything else."""

from __future__ import annotations

import numpy as np
import pytest

from nsc.call import rtp
from tests.helpers.places import ROOT

HEADER = bytes.fromhex("4e5343043977aac6ffffffff2190067e")
STREAM = rtp.Stream(0x4E534301, HEADER, 1010, 1012, 166_400, 168_000, rtp.HEARD)


def test_another_library_reads_the_same_rtp_packet() -> None:
    pytest.importorskip("scapy", reason="scapy is a test's extra")
    from scapy.layers.rtp import RTP

    packet = rtp.Packet(65_535, 4_294_967_295, 0x4E534301, b"payload", marker=True)
    read = RTP(rtp.pack(packet))
    assert (read.version, read.padding, read.extension, read.numsync, read.sync) == (2, 0, 0, 0, [])
    assert (read.marker, read.payload_type) == (1, 98)
    assert (read.sequence, read.timestamp, read.sourcesync) == packet[:3]
    assert bytes(read.payload) == b"payload"


def test_another_library_reads_the_same_rtcp_packets() -> None:
    pytest.importorskip("scapy", reason="scapy is a test's extra")
    from scapy.contrib.rtcp import RTCP

    kinds = ((STREAM, 204, rtp.HEARD, 40), (rtp.Bye(7, "no model"), 203, 1, 20), (rtp.Request(7), 206, 1, 12))
    for message, kind, count, size in kinds:
        data = rtp.pack_control(message, media=9)
        read = RTCP(data)
        assert (read.version, read.padding, read.count, read.packet_type) == (2, 0, count, kind)
        assert 4 * (read.length + 1) == len(data) == size


def test_packets_come_back_as_they_were_sent() -> None:
    packet = rtp.Packet(3, 640, 7, b"x")
    assert rtp.unpack(rtp.pack(packet)) == packet and not rtp.is_control(rtp.pack(packet))
    assert rtp.unpack(rtp.pack(packet._replace(marker=True))) == packet._replace(marker=True)
    messages: list[rtp.Stream | rtp.Bye | rtp.Request]
    messages = [STREAM, rtp.Bye(7), rtp.Bye(8, "ümlaut"), rtp.Request(9), STREAM._replace(state=rtp.ENDED)]
    assert list(rtp.unpack_control(rtp.pack_control(*messages))) == messages
    assert rtp.is_control(rtp.pack_control(rtp.Bye(1)))


def test_the_documented_bytes_are_those_on_the_wire() -> None:
    text = (ROOT / "docs" / "rtp.md").read_text().split("## Control")[1].split("```")[1]
    assert bytes.fromhex("".join(text.split())) == rtp.pack_control(STREAM, rtp.Bye(STREAM.source))


@pytest.mark.parametrize("seed", range(4))
def test_any_bytes_are_read_or_left(seed: int) -> None:
    random = np.random.default_rng(seed)
    whole = rtp.pack_control(STREAM, rtp.Bye(7, "why"), rtp.Request(7))
    for _ in range(2_000):
        data = bytearray(whole if random.random() < 0.7 else random.bytes(int(random.integers(80))))
        for place in random.integers(len(data) or 1, size=int(random.integers(4))):
            data[place : place + 1] = random.bytes(1)
        cut = bytes(data[: int(random.integers(len(data) + 1))])
        assert len(list(rtp.unpack_control(cut))) <= 4
        assert rtp.is_control(cut) or rtp.unpack(cut) is None or cut[0] == 0x80
