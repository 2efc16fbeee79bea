"""What is heard in place of lost packets: no click where it begins or ends, no hum, no more packets than were lost."""

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc

Signal = NDArray[np.float32]
FRAME = 640


@pytest.fixture(scope="module")
def sent(speech_signals: list[Signal]) -> tuple[bytes, list[bytes]]:
    """Header and packets of 2 s of speech."""
    encoder = nsc.PacketEncoder("cq", quality=4, refresh=1)
    packets = encoder.write(np.concatenate(speech_signals)[:32_000])
    return encoder.header, packets


def heard(sent: tuple[bytes, list[bytes]], lost: set[int]) -> Signal:
    header, packets = sent
    decoder = nsc.PacketDecoder("cq", header)
    blocks = [decoder.lost() if n in lost else decoder.write(packet) for n, packet in enumerate(packets)]
    assert decoder.damage.lost == sorted(lost)
    return np.concatenate(blocks)


def test_no_click_where_a_loss_begins_or_ends(sent: tuple[bytes, list[bytes]]) -> None:
    whole, concealed = heard(sent, set()), heard(sent, set(range(3, 48, 4)))
    assert len(concealed) == len(whole)
    largest = np.abs(np.diff(whole)).max()
    assert np.abs(np.diff(concealed)).max() < 1.2 * largest
    assert np.abs(concealed).max() < 1.2 * np.abs(whole).max()


def test_an_outage_falls_silent_and_costs_what_it_lasts(sent: tuple[bytes, list[bytes]]) -> None:
    header, packets = sent
    whole = heard(sent, set())
    decoder = nsc.PacketDecoder("cq", header)
    before = np.concatenate([decoder.write(packet) for packet in packets[:20]])
    outage = [decoder.lost() for _ in range(200)]
    powers = np.array([np.mean(np.square(each)) for each in outage])
    assert 0 < powers[0] < 4 * np.mean(np.square(before[-FRAME:])) + 1e-6
    assert powers[3] > powers[4] and powers[6:].max() < 1e-6 * powers[0]  # the enhancer's own last millisecond
    after = np.concatenate([decoder.write(packet) for packet in packets[20:]])
    assert len(before) + sum(map(len, outage)) + len(after) == len(whole) + 200 * FRAME
    assert decoder.damage.lost == list(range(20, 220))
    settled = slice(4 * FRAME, None)
    expected = whole[len(before) :]
    error = np.mean(np.square((after - expected)[settled])) / np.mean(np.square(expected[settled]))
    assert error < 0.02
