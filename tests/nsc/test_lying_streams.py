"""Streams whose checksums are right and whose fields lie: output, memory and time stay bounded by what arrived."""

import dataclasses
import zlib
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from nsc import Decoder, decode, info
from nsc import format as bitstream
from nsc.coding.whole import decoded_blocks
from nsc.errors import UserError
from nsc.format import DamagedError, Gap, Group, GroupReader
from nsc.format import group as group_format
from nsc.format.channel import lose_groups
from nsc.format.container import CHECKS_PER_BYTE
from nsc.format.version_1 import Header
from nsc.kinds.samples.model import CascadeModel
from runs.saved_model import SavedModel

UNKNOWN = Header("0123abcd", None, 1, False, 16)
KNOWN = Header("0123abcd", 100 * 7680 - 32, 1, False, 1)
Signal = NDArray[np.float32]


@pytest.fixture(scope="module")
def model(coding_model: SavedModel) -> CascadeModel:
    model: CascadeModel = coding_model.coding
    return model


def empty_group(number: int, header: Header, num_samples: int | None = None) -> bytes:
    """The smallest group there is."""
    return bitstream.pack_group(Group(number % 256, (0,) * header.spans, (b"",) * len(header.part_names), num_samples))


def file_of(header: Header, numbers: list[int]) -> bytes:
    return bitstream.pack_header(header) + b"".join(empty_group(number, header) for number in numbers)


def test_a_group_after_a_long_gap_waits_until_a_tenth_has_arrived() -> None:
    reader = GroupReader(UNKNOWN)
    assert reader.write(empty_group(100, UNKNOWN)) == []
    for number in range(101, 111):
        assert reader.write(empty_group(number, UNKNOWN)) == []
    released = reader.write(empty_group(111, UNKNOWN))  # 12 groups bear out a gap of 100
    assert released[0] == Gap(100)
    assert [each.number for each in released[1:] if isinstance(each, Group)] == list(range(100, 112))


@pytest.mark.parametrize("count", [1, 3, 10])
def test_a_few_bytes_cannot_ask_for_hours(model: CascadeModel, count: int) -> None:
    header = UNKNOWN._replace(model=model.digest, has_lpc=True)
    data = file_of(header, [127 + 128 * number for number in range(count)])
    decoder = Decoder(model)
    given = sum(map(len, decoder.pieces(data)))
    assert given == 0
    with pytest.raises(DamagedError, match="too little of the speech is there"):
        decoder.finish()


def test_decoding_gives_a_group_at_a_time_whatever_a_few_bytes_stand_for(model: CascadeModel) -> None:
    header = UNKNOWN._replace(model=model.digest, has_lpc=True)
    data = file_of(header, [0, 1, 19])
    pieces = list(decoded_blocks(data, Decoder(model)))
    assert max(map(len, pieces)) <= header.group_samples
    assert sum(map(len, pieces)) == 20 * header.group_samples - 32


def test_info_and_decoder_agree_on_a_last_group_that_claims_an_hour(model: CascadeModel) -> None:
    header = Header(model.digest, None, 1, True, 1)
    data = bitstream.pack_header(header) + empty_group(0, header) + empty_group(1, header, 3600 * 16_000)
    found, decoded = info(data), decode(data, model)
    assert found.seconds is None
    assert found.bytes["damaged"] == len(empty_group(1, header, 0))
    assert decoded.damage.end_missing
    assert decoded.damage.damaged_bytes == found.bytes["damaged"]
    assert len(decoded.signal) == 7680 - 32


@pytest.mark.parametrize("claimed", [0, 7679, 7680 * 2 - 31, 3600 * 16_000])
def test_a_last_group_is_one_only_where_its_length_ends(claimed: int) -> None:
    header = Header("0123abcd", None, 1, True, 1)
    data = bitstream.pack_header(header) + empty_group(0, header) + empty_group(1, header, claimed)
    assert len(bitstream.read_contents(data).groups) == (2 if 7680 - 32 < claimed <= 2 * 7680 - 32 else 1)


def test_an_end_inside_a_file_of_known_length_is_damage_and_the_declared_length_stays(model: CascadeModel) -> None:
    header = Header(model.digest, 20 * 7680 - 32, 1, True, 1)
    groups = [empty_group(number, header) for number in range(20)]
    groups[0] = empty_group(0, header, 500)
    signal, damage = decode(bitstream.pack_header(header) + b"".join(groups), model)
    assert len(signal) == 20 * 7680 - 32
    assert damage.lost == [0]
    assert damage.damaged_bytes == len(groups[0])


@pytest.mark.parametrize(
    "pattern",
    [b"\xff\x80\x08", b"\xff\x80\x08\x00", b"\x81\x80\x08\x01\x01", bytes([0x90, 0x80, 0x10] + [1] * 30)],
)
def test_checksums_are_of_so_many_bytes_for_each_that_arrives(pattern: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    header, size = Header("0123abcd", None, 63, True, 16), 60_000
    checked: list[int] = []

    def crc32(data: memoryview) -> int:
        checked.append(len(data))
        return zlib.crc32(data)

    monkeypatch.setattr(group_format, "zlib", mock.Mock(crc32=crc32))
    contents = bitstream.read_contents(bitstream.pack_header(header) + (pattern * size)[:size])
    assert contents.damaged_bytes == size
    assert sum(checked) <= CHECKS_PER_BYTE * size


def test_groups_behind_much_damage_are_still_found() -> None:
    rng = np.random.default_rng(3)
    middle = b"".join(empty_group(number, KNOWN) for number in range(60, 100))
    data = bitstream.pack_header(KNOWN) + empty_group(0, KNOWN) + rng.bytes(50_000) + middle
    contents = bitstream.read_contents(data)
    assert [group.number for group in contents.groups] == [0, *range(60, 100)]
    assert (contents.missing, contents.damaged_bytes) == (59, 50_000)


def test_symbols_that_no_encoder_wrote_are_a_typed_error(model: CascadeModel) -> None:
    header = Header(model.digest, 7000, 1, True, 1)
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(30):
        group = Group(0, (30,), (rng.bytes(40), rng.bytes(200)))
        try:
            model.symbols(bitstream.pack_header(header) + bitstream.pack_group(group))
        except DamagedError as error:
            refused += 1
            assert "\n" not in str(error)
    corrupt = Group(0, (30,), (b"\xff" * 40, b"\xff" * 200))
    with pytest.raises(DamagedError, match="expected the symbols of group 0, found none"):
        model.symbols(bitstream.pack_header(header) + bitstream.pack_group(corrupt))


def test_a_header_without_a_group_is_told_in_words_that_mean_something(model: CascadeModel) -> None:
    data = bitstream.pack_header(Header(model.digest, None, 1, True, 1))
    with pytest.raises(DamagedError, match="expected 1 groups, found 0"):
        decode(data, model)
    with pytest.raises(DamagedError, match="found 0 groups"):
        model.symbols(data)


@pytest.mark.parametrize(("loss", "burst", "seed"), [(0.1, float("nan"), 0), (0.1, float("inf"), 0), (0.1, 2.0, -1)])
def test_a_channel_of_no_numbers_is_refused(loss: float, burst: float, seed: int) -> None:
    with pytest.raises(UserError, match="expected a "):
        lose_groups(file_of(KNOWN, [0]), loss, burst, seed)


@pytest.mark.parametrize("value", [7e19, -7e19, np.inf, np.nan])
def test_samples_are_bounded_whatever_a_network_makes_of_symbols(model: CascadeModel, value: float) -> None:
    class Loud:
        def frames(self, symbols: object, lost: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.full((len(lost), 512), value, np.float32)

    data = bitstream.pack_header(Header(model.digest, 7000, 1, True, 1))
    data += bitstream.pack_group(Group(0, (63,), (b"", b"")))
    loud: Any = Loud()
    signal, damage = decode(data, dataclasses.replace(model, network=loud))
    assert not damage and np.abs(signal).max() <= 64
