"""Losses in a stream: outages, late joins, packets given up, and damage that arrives in blocks of any size."""

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
from measures.measures import si_sdr
from nsc.coding.interface import Model
from nsc.format import Gap, Group, GroupReader, pack_group, pack_header, read_contents
from nsc.format.version_2 import Header

Signal = NDArray[np.float32]
STREAM = Header("01234567", None, 1, 1, 320)


@pytest.fixture(scope="module")
def model() -> Model:
    return nsc.load("cq")


@pytest.fixture(scope="module")
def packets(model: Model, speech_signals: list[Signal]) -> list[bytes]:
    """A header and a packet for each frame of a stream."""
    encoder = nsc.Encoder(model, spans=1)
    data = encoder.write(speech_signals[0][:48_000]) + encoder.finish()
    header, groups, *_ = read_contents(data)
    return [pack_header(header), *map(pack_group, groups)]


def small(number: int) -> bytes:
    return pack_group(Group(number % 256, (3, 4), (b"",)))


def found(reader: GroupReader, numbers: list[int]) -> list[int]:
    """What a reader gives for groups of these numbers: numbers of groups, and gaps as negative counts."""
    pieces = [each for number in numbers for each in reader.write(small(number))]
    return [-each.groups if isinstance(each, Gap) else each.number for each in pieces]


@pytest.mark.parametrize("lost", [127, 128, 150, 200, 223])
def test_an_outage_costs_what_it_lost_and_is_listed(lost: int) -> None:
    reader = GroupReader(STREAM)
    before, after = list(range(40)), list(range(40 + lost, 60 + lost))
    given = found(reader, [*before, *after])
    assert given == [*before, -lost, *(number % 256 for number in after)]
    assert (reader.missing, reader.damaged_bytes) == (lost, 0)


def test_late_and_repeated_packets_are_left_out() -> None:
    reader = GroupReader(STREAM)
    assert found(reader, [0, 1, 2, 2, 1, 3, 0, 1, 2, 3, 4, 5]) == [0, 1, 2, 3, 4, 5]
    assert reader.missing == 0 and reader.damaged_bytes == 6 * len(small(0))


def test_a_joined_stream_begins_with_whatever_comes_first_and_knows_its_end(model: Model, packets: list[bytes]) -> None:
    header = nsc.info(packets[0]).header
    whole = nsc.Decoder(model)
    expected = np.concatenate([*(whole.write(each) for each in packets), whole.finish()])
    joined = nsc.Decoder(model, header=header)
    cut = b"".join(packets[1:])[200:]  # in the midst of a group
    signal = np.concatenate([joined.write(cut), joined.finish()])
    assert joined.damage.lost == [] and not joined.damage.end_missing
    assert 640 <= len(expected) - len(signal) <= 640 * 20 and (len(expected) - len(signal)) % 640 == 0
    late = slice(-16_000, None)
    assert si_sdr(expected[late], signal[late]) > 12  # the decoder's noise is drawn by its place in the stream


def test_a_header_may_come_again_between_groups(model: Model, packets: list[bytes]) -> None:
    repeated = packets[0] + b"".join(packets[0] + each for each in packets[1:])
    once, often = (nsc.decode(data, model) for data in (b"".join(packets), repeated))
    assert not often.damage
    np.testing.assert_array_equal(once.signal, often.signal)


def test_a_packet_that_is_given_up_is_concealed_at_once_and_left_out_when_it_comes(
    model: Model, packets: list[bytes]
) -> None:
    waiting, impatient = nsc.Decoder(model), nsc.Decoder(model)
    kept = [*packets[:30], *packets[31:]]
    expected = np.concatenate([*(waiting.write(each) for each in kept), waiting.finish()])
    blocks = [impatient.write(each) for each in packets[:30]]
    blocks.append(impatient.lost())
    assert len(blocks[-1]) == 640
    late = packets[30]
    blocks += [impatient.write(each) for each in (late, *packets[31:])]
    blocks.append(impatient.finish())
    assert impatient.damage.lost == waiting.damage.lost == [29]
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


def test_nothing_can_be_given_up_before_the_header(model: Model) -> None:
    with pytest.raises(nsc.UserError, match="header has arrived"):
        nsc.Decoder(model).lost()


@pytest.mark.parametrize("seed", range(3))
def test_damage_is_the_same_however_it_arrives(seed: int, packets: list[bytes]) -> None:
    random = np.random.default_rng(seed)
    repeated = (packets[0] + each if number % 8 == 0 else each for number, each in enumerate(packets[1:]))
    data = bytearray(b"".join(repeated))
    for _ in range(12):
        place = int(random.integers(len(data) - 300))
        data[place : place + 200] = random.bytes(int(random.integers(300)))
    header = nsc.info(packets[0]).header
    outcomes = []
    for size in (1, 64, len(data)):
        reader = GroupReader(header)
        pieces = [
            each for start in range(0, len(data), size) for each in reader.write(bytes(data[start : start + size]))
        ]
        outcomes.append((pieces + reader.finish(), reader.damaged_bytes, reader.missing))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_a_second_file_behind_the_first_is_told(model: Model, real_speech: Signal) -> None:
    data = nsc.encode(real_speech[:16_000], model)
    alone, two = nsc.decode(data, model), nsc.decode(data + data, model)
    assert two.damage.another_follows and not alone.damage
    np.testing.assert_array_equal(alone.signal, two.signal)
