"""Packets that carry a copy of the one before them, and pauses in which none are sent."""

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
from nsc.errors import UserError
from nsc.format import DamagedError, file_of, pack_header, unpack_header, version_3

pytestmark = pytest.mark.slow  # the networks of models that ship

Signal = NDArray[np.float32]
FRAME = 640


def sent(signal: Signal, **how: float) -> tuple[bytes, list[bytes]]:
    """Header and packets of a signal."""
    encoder = nsc.PacketEncoder("cq", **how)  # type: ignore[arg-type]
    return encoder.header, [*encoder.write(signal), *encoder.finish()]


def heard(header: bytes, packets: list[bytes], lost: set[int]) -> tuple[Signal, nsc.PacketDecoder]:
    """What a decoder gives that waits for one packet more where one is missing."""
    decoder = nsc.PacketDecoder("cq", header)
    blocks = [decoder.write(packet, number) for number, packet in enumerate(packets) if number not in lost]
    return np.concatenate(blocks), decoder


def decibels(samples: Signal) -> float:
    return float(10 * np.log10(np.mean(np.square(samples)) + 1e-12))


@pytest.fixture(scope="module")
def speech(speech_signals: list[Signal]) -> Signal:
    return np.concatenate(speech_signals)[:40_000]


def test_a_lost_packet_is_heard_from_the_copy_in_the_next_one(speech: Signal) -> None:
    header, packets = sent(speech, quality=4, redundancy=6)
    lost = set(range(3, len(packets) - 1, 4))
    whole, _ = heard(header, packets, set())
    restored, decoder = heard(header, packets, lost)
    assert decoder.damage.restored == sorted(lost) and not decoder.damage.lost and decoder.damage
    header, packets = sent(speech, quality=4, refresh=1)
    concealed, decoder = heard(header, packets, lost)
    assert decoder.damage.lost == sorted(lost) and not decoder.damage.restored
    errors = [decibels((whole - each)[FRAME:]) for each in (restored, concealed)]
    assert errors[0] < errors[1] - 6


def test_of_a_burst_the_last_packet_is_restored_and_a_file_gives_the_same(speech: Signal) -> None:
    header, packets = sent(speech[:20_000], quality=3, redundancy=6)
    lost = {10, 11, 12}
    signal, decoder = heard(header, packets, lost)
    assert decoder.damage.lost == [10, 11] and decoder.damage.restored == [12]
    kept = [None if number in lost else packet for number, packet in enumerate(packets)]
    decoded = nsc.decode(file_of(header, kept), "cq")
    assert decoded.damage.lost == [10, 11] and decoded.damage.restored == [12]
    np.testing.assert_allclose(decoded.signal[:18_000], signal[:18_000], atol=1e-5)


def test_a_packet_that_was_concealed_at_once_is_not_heard_again(speech: Signal) -> None:
    header, packets = sent(speech[:16_000], quality=3, redundancy=6)
    decoder = nsc.PacketDecoder("cq", header)
    decoder.write(packets[0], 0)
    assert len(decoder.lost()) == len(decoder.write(packets[2], 2)) == FRAME
    assert decoder.damage.lost == [1] and not decoder.damage.restored


def test_copies_count_in_the_rate(speech: Signal) -> None:
    _, packets = sent(speech, kbps=14, redundancy=6)
    copies = sum(1 + packet[0] for packet in packets)  # each has its length ahead of it, below 128
    seconds = len(speech) / 16_000
    # a stream may save what its first seconds leave
    assert 0.75 < 8 * sum(map(len, packets)) / seconds / 14_000 < 1.05
    assert 0.6 < 8 * copies / seconds / 6_000 < 1.1
    with pytest.raises(UserError, match="redundancy: expected less than kbps"):
        nsc.PacketEncoder("cq", kbps=6, redundancy=6)
    with pytest.raises(UserError, match="redundancy: expected a number above 0"):
        nsc.PacketEncoder("cq", redundancy=0)


def test_a_header_says_whether_packets_carry_copies(speech: Signal) -> None:
    encoder = nsc.PacketEncoder("cq", redundancy=6)
    header = unpack_header(encoder.header)
    assert header.part_names == ["redundancy", "codec 1"]
    assert pack_header(header) == encoder.header
    plain = unpack_header(nsc.PacketEncoder("cq").header)
    assert plain.part_names == ["codec 1"] and plain != header
    with pytest.raises(DamagedError, match="reserved bit"):
        version_3.read("01234567", None, header.version_bytes())


@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_in_a_pause_little_is_sent_and_noise_of_its_level_is_heard(speech: Signal, noise: float) -> None:
    """The pause takes 0.32 s to count as one; then one packet in ten is sent."""
    pause = noise * np.random.default_rng(2).standard_normal(48_000).astype(np.float32)
    signal = np.concatenate([speech[:16_000], pause, speech[:16_000]])
    header, packets = sent(signal, kbps=12, dtx=True)
    paused = slice(16_000 // FRAME + 9, 64_000 // FRAME - 1)
    assert sum(map(bool, packets[paused])) <= len(packets[paused]) / 10 + 1
    decoder = nsc.PacketDecoder("cq", header)
    found = np.concatenate([decoder.write(packet, n) if packet else decoder.lost() for n, packet in enumerate(packets)])
    assert not decoder.damage
    inside = slice(24_000, 60_000)
    level = decibels(found[inside])
    assert abs(level - decibels(signal[inside])) < 2 if noise else level < -90
    # speech comes back as if it had been sent all along
    header, packets = sent(signal, kbps=12)
    whole, _ = heard(header, packets, set())
    again = slice(66_000, 78_000)
    assert abs(decibels(found[again]) - decibels(whole[again])) < 0.3


def test_a_program_that_waits_for_numbers_hears_the_same_noise(speech: Signal) -> None:
    signal = np.concatenate([speech[:16_000], 0.002 * np.ones(24_000, np.float32), speech[:8_000]])
    header, packets = sent(signal, quality=3, dtx=True)
    unsent = {number for number, packet in enumerate(packets) if not packet}
    assert unsent
    waiting, decoder = heard(header, packets, unsent)
    assert not decoder.damage
    at_once = nsc.PacketDecoder("cq", header)
    blocks = [at_once.write(packet) if packet else at_once.lost() for packet in packets]
    np.testing.assert_array_equal(np.concatenate(blocks), waiting)


def test_a_pause_that_no_packet_renews_ends_as_a_loss(speech: Signal) -> None:
    """One comes every 0.4 s: after 2 s without, the sender is lost."""
    noise = 0.01 * np.random.default_rng(2).standard_normal(20_000).astype(np.float32)
    header, packets = sent(np.concatenate([speech[:16_000], noise]), quality=3, dtx=True)
    begins = packets.index(b"")
    decoder = nsc.PacketDecoder("cq", header)
    for packet in packets[:begins]:
        decoder.write(packet)
    found = [decoder.lost() for _ in range(100)]
    assert decoder.damage.lost == list(range(begins + 50, begins + 100))
    assert min(map(decibels, found[:50])) > -50 and not found[-1].any()
