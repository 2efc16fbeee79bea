"""The worked example of docs/rtp.md, read by nothing but what docs/bitstream.md and RFC 3550 say."""

import re
import struct

import numpy as np
import pytest

import nsc
from nsc.format import unpack_header
from tests.helpers.places import ROOT
from tests.helpers.reference_packets import Packet, ReferencePacketDecoder

TEXT = (ROOT / "docs" / "rtp.md").read_text()
EXAMPLE = TEXT[TEXT.index("# A worked example") :]
WIRE = [bytes.fromhex("".join(lines.split())) for lines in EXAMPLE.split("```")[1].strip().split("\n\n")]
(HEADER,) = map(bytes.fromhex, re.findall(r"header=([0-9a-f]{32})", TEXT))


def row(name: str) -> list[list[int]]:
    """The numbers of the two packets in a row of the table."""
    cells = next(line for line in EXAMPLE.split("\n") if line.startswith(f"| {name}")).split("|")[2:4]
    return [[int(each) for each in re.findall(r"\d+", cell.split("(")[0])] for cell in cells]


@pytest.fixture(scope="module")
def read() -> list[Packet]:
    with np.load(ROOT / "nsc" / "pretrained" / "cq-scalable" / "tables.npz") as tables:
        decoder = ReferencePacketDecoder(tables, 4, 1, 2)
        found = [decoder.decode(packet[12:]) for packet in WIRE]
    assert None not in found
    return [packet for packet in found if packet]


def test_the_rtp_header_is_as_the_table_says() -> None:
    for place, packet in enumerate(WIRE):
        flags, kind, number, timestamp, source = struct.unpack(">BBHII", packet[:12])
        assert (flags, kind, f"{source:08x}") == (0x80, 98, "4e534301")
        assert [[number], [timestamp]] == [row("sequence number")[place], row("timestamp")[place]]
    assert row("timestamp")[1][0] - row("timestamp")[0][0] == 640


def test_the_payload_is_read_from_the_documents_alone(read: list[Packet]) -> None:
    assert [[packet[12]] for packet in WIRE] == row("length of part 1")
    assert [[packet.level, packet.offset] for packet in read] == row("level, offset")
    assert [packet.lsf[0] for packet in read] == row("LSFs")
    assert [packet.gains for packet in read] == row("gains")
    sums = [[int(np.abs(indices).sum()) for indices in packet.indices] for packet in read]
    assert sums == row("sum of magnitudes")


def test_the_decoder_takes_the_example_by_its_sequence_numbers() -> None:
    header = unpack_header(HEADER)
    assert (header.version, header.model, header.layers, header.group_samples) == (4, "56654e7e", 2, 640)
    decoder = nsc.PacketDecoder("cq-scalable", HEADER)
    samples = [len(decoder.write(packet[12:], int.from_bytes(packet[2:4]))) for packet in WIRE]
    assert samples == [480, 640] and not decoder.damage
