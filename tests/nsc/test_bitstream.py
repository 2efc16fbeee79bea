from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsc import format as bitstream
from nsc.errors import UserError
from nsc.format import BitstreamError, Gap, Group, GroupReader, container
from nsc.format.channel import gilbert_losses, lose_groups
from nsc.format.version_1 import Header

HEADER = Header("0123abcd", 3 * 7680 + 100, 2, True, 1)


def some_groups(count: int = 4, header: Header = HEADER, seed: int = 0) -> list[Group]:
    rng = np.random.default_rng(seed)
    return [
        Group(
            number % 256,
            tuple(rng.integers(0, 64, header.spans).tolist()),
            tuple(rng.bytes(int(rng.integers(0, 300))) for _ in header.part_names),
        )
        for number in range(count)
    ]


def some_file(count: int = 4, header: Header = HEADER) -> bytes:
    return bitstream.pack_header(header) + b"".join(map(bitstream.pack_group, some_groups(count, header)))


@pytest.mark.parametrize("header", [HEADER, Header("ffffffff", None, 63, False, 16), Header("00000000", 0, 1, True, 3)])
def test_a_header_comes_back_from_sixteen_bytes(header: Header) -> None:
    data = bitstream.pack_header(header)
    assert len(data) == 16
    assert bitstream.unpack_header(data) == header


def test_the_bytes_of_a_known_file_never_change() -> None:
    group = Group(5, (40,), (b"lpc", b"first", b""), None)
    assert bitstream.pack_header(HEADER).hex() == "4e5343010123abcd00005a648201ffca"
    assert bitstream.pack_group(group).hex() == "10052803056c706366697273740f3006f7"


def test_groups_come_back_in_order_and_whole() -> None:
    contents = bitstream.read_contents(some_file())
    assert contents == (HEADER, some_groups(), 0, 0)


def test_the_end_of_a_stream_of_unknown_length_is_told_by_its_last_group() -> None:
    header = HEADER._replace(num_samples=None)
    groups = some_groups(3)
    groups[-1] = groups[-1]._replace(num_samples=20_000)
    data = bitstream.pack_header(header) + b"".join(map(bitstream.pack_group, groups))
    assert bitstream.read_contents(data + b"after the end").groups == groups


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_blocks_of_any_size_give_the_same_groups(size: int) -> None:
    data = some_file()[16:]
    damaged = data[:50] + b"?" + data[51:]
    for each in (data, damaged):
        whole = GroupReader(HEADER)
        expected = whole.write(each) + whole.finish()
        reader = GroupReader(HEADER)
        found = [group for start in range(0, len(each), size) for group in reader.write(each[start : start + size])]
        assert found + reader.finish() == expected


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", bitstream.NotNscError),
        (b"RIFF", bitstream.NotNscError),
        (b"NS", bitstream.NotNscError),
        (b"NSC", bitstream.DamagedError),
        (b"NSC\x05", bitstream.UnknownVersionError),
        (bitstream.pack_header(HEADER)[:15], bitstream.DamagedError),
        (bitstream.pack_header(HEADER)[:-1] + b"!", bitstream.DamagedError),
        (bitstream.pack_header(HEADER._replace(layers=0)), bitstream.DamagedError),
        (bitstream.pack_header(HEADER._replace(spans=17)), bitstream.DamagedError),
    ],
)
def test_a_header_that_cannot_be_read_is_a_clear_error(data: bytes, error: type[BitstreamError]) -> None:
    with pytest.raises(error, match=r"expected .*, found"):
        bitstream.unpack_header(data)


def test_any_flipped_bit_of_the_header_is_an_error() -> None:
    data = bitstream.pack_header(HEADER)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            bitstream.unpack_header(bytes(flipped))


@pytest.mark.slow
def test_any_flipped_bit_of_a_group_loses_that_group_only() -> None:
    groups = some_groups()
    packed = [bitstream.pack_group(group) for group in groups]
    start = 16 + len(packed[0])
    data = some_file()
    for bit in range(8 * start, 8 * (start + len(packed[1]))):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        contents = bitstream.read_contents(bytes(flipped))
        assert contents.groups == [groups[0], *groups[2:]], bit
        assert contents.missing == 1


@pytest.mark.parametrize("lost", [{0}, {3}, {1, 2}, {0, 1, 2, 3}])
def test_lost_groups_are_counted_where_they_are_missing(lost: set[int]) -> None:
    groups = some_groups()
    packed = b"".join(bitstream.pack_group(group) for number, group in enumerate(groups) if number not in lost)
    reader = GroupReader(HEADER)
    found = reader.write(packed) + reader.finish()
    assert [each for each in found if isinstance(each, Group)] == [
        group for number, group in enumerate(groups) if number not in lost
    ]
    assert sum(each.groups for each in found if isinstance(each, Gap)) == len(lost)


def test_more_than_256_groups_keep_their_places() -> None:
    header = HEADER._replace(num_samples=600 * 7680)
    packed = [bitstream.pack_group(group) for group in some_groups(601, header)]
    kept = packed[:250] + packed[300:]
    contents = bitstream.read_contents(bitstream.pack_header(header) + b"".join(kept))
    assert (len(contents.groups), contents.missing, contents.damaged_bytes) == (551, 50, 0)


def test_a_cut_file_is_the_file_of_fewer_layers() -> None:
    cut = bitstream.read_contents(bitstream.truncate(some_file(), 1))
    assert cut.header == HEADER._replace(layers=1)
    assert cut.groups == [group._replace(parts=group.parts[:2]) for group in some_groups()]


@pytest.mark.parametrize("layers", [0, 3, -1])
def test_a_file_is_not_cut_to_layers_that_it_does_not_have(layers: int) -> None:
    with pytest.raises(UserError, match="expected 1 to 2 layers"):
        bitstream.truncate(some_file(), layers)


def test_all_bytes_of_a_file_are_accounted_for() -> None:
    data = some_file() + b"tail"
    counts = bitstream.info(data).bytes
    assert sum(counts.values()) == len(data)
    assert counts["codec 2"] == sum(len(group.parts[2]) for group in some_groups())
    assert (counts["gain"], counts["header"], counts["damaged"]) == (4, 16, 4)


def test_framing_costs_under_three_per_cent_at_nine_kbps() -> None:
    header = HEADER._replace(num_samples=20 * 7680 - 32, layers=1)
    group_bytes = 9000 * 0.48 / 8
    groups = [Group(number, (40,), (bytes(130), bytes(int(group_bytes) - 141))) for number in range(20)]
    data = bitstream.pack_header(header) + b"".join(map(bitstream.pack_group, groups))
    counts = bitstream.info(data).bytes
    assert len(data) == pytest.approx(20 * group_bytes, rel=0.01)
    assert counts["header"] + counts["framing"] + counts["gain"] < 0.03 * len(data)


def test_a_gilbert_channel_loses_the_share_and_the_bursts_that_were_asked_for() -> None:
    lost = np.array(gilbert_losses(200_000, 0.1, 3.0, np.random.default_rng(7)))
    starts = lost[1:] & ~lost[:-1]
    assert lost.mean() == pytest.approx(0.1, rel=0.05)
    assert lost.sum() / starts.sum() == pytest.approx(3.0, rel=0.05)


def test_the_same_seed_loses_the_same_groups() -> None:
    data = some_file(64, HEADER._replace(num_samples=64 * 7680 - 500))
    assert lose_groups(data, 0.3, 2.0, 1) == lose_groups(data, 0.3, 2.0, 1)
    assert lose_groups(data, 0.3, 2.0, 1) != lose_groups(data, 0.3, 2.0, 2)
    assert lose_groups(data, 0.0, 1.0, 1) == data


@pytest.mark.parametrize(("loss", "burst"), [(-0.1, 1), (1, 1), (0.5, 0.5), (0.9, 1)])
def test_a_channel_that_cannot_be_is_refused(loss: float, burst: float) -> None:
    with pytest.raises(UserError, match="expected a loss"):
        lose_groups(some_file(), loss, burst, 0)


@given(st.binary(max_size=400), st.integers(0, 3))
@settings(deadline=None, max_examples=300, print_blob=True)
def test_any_bytes_behind_a_header_are_read_to_the_end(tail: bytes, kept: int) -> None:
    data = b"".join([bitstream.pack_header(HEADER), *map(bitstream.pack_group, some_groups()[:kept]), tail])
    contents = bitstream.read_contents(data)
    assert len(contents.groups) + contents.missing == 4


@pytest.mark.slow
def test_of_a_million_bytes_without_a_group_few_are_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    looked_at = mock.Mock(wraps=container.unpack_group)
    monkeypatch.setattr(container, "unpack_group", looked_at)
    contents = bitstream.read_contents(bitstream.pack_header(HEADER) + rng.bytes(1_000_000))
    assert looked_at.call_count < 200_000
    assert contents.damaged_bytes == 1_000_000
