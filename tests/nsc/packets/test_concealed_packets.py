"""What is heard in place of lost packets: no click where it begins or ends, no hum, no more packets than were lost."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
from nsc.kinds.spectral import synthesis
from nsc.loading.litert import Arrays, Graphs

pytestmark = pytest.mark.slow  # the networks of models that ship

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


def decibels(signal: Signal) -> float:
    return float(10 * np.log10(np.mean(np.square(signal)) + 1e-12))


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
    assert powers[1] > 30 * powers[4] > 0  # by then it is noise
    assert powers[16:].max() < 1e-6 * powers[0]  # the enhancer's own last millisecond
    after = np.concatenate([decoder.write(packet) for packet in packets[20:]])
    assert len(before) + sum(map(len, outage)) + len(after) == len(whole) + 200 * FRAME
    assert decoder.damage.lost == list(range(20, 220))
    settled = slice(4 * FRAME, None)
    expected = whole[len(before) :]
    error = np.mean(np.square((after - expected)[settled])) / np.mean(np.square(expected[settled]))
    assert error < 0.02


def test_an_outage_fades_into_the_noise_behind_the_speech(speech_signals: list[Signal]) -> None:
    """As loud as it was, for so long as no one takes the line for dead; a packet that comes ends it."""
    noise = 0.003 * np.random.default_rng(3).standard_normal(48_000).astype(np.float32)
    signal = np.concatenate([np.zeros(8_000, np.float32), np.concatenate(speech_signals)[:40_000]]) + noise
    encoder = nsc.PacketEncoder("cq", quality=8, refresh=1)
    packets = encoder.write(signal)[:60]
    decoder = nsc.PacketDecoder("cq", encoder.header)
    before = np.concatenate([decoder.write(packet) for packet in packets])
    pause = before[2_000:7_000]
    outage = np.concatenate([decoder.lost() for _ in range(20)])
    assert abs(decibels(outage[2_400:4_800]) - decibels(pause)) < 3
    assert decibels(outage[10_400:]) < -100


class _CountingGraphs:
    """Of a model, with the number of its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        run = Graphs.__call__

        def counted(graphs: Graphs, name: str, **inputs: NDArray[Any]) -> Arrays:
            self.calls += 1
            return run(graphs, name, **inputs)

        monkeypatch.setattr(Graphs, "__call__", counted)


def test_a_number_that_jumps_far_ahead_costs_no_more_than_a_second_of_concealing(
    sent: tuple[bytes, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    header, packets = sent
    decoder = nsc.PacketDecoder("cq", header)
    before = [decoder.write(packet, number) for number, packet in enumerate(packets[:20])]
    graphs = _CountingGraphs(monkeypatch)
    jumped = decoder.write(packets[20], 20 + 2_999)
    assert graphs.calls < 90  # decoder, enhancer and for 0.2 s concealment
    assert len(jumped) == 3_000 * FRAME and len(decoder.damage.lost) == 2_999
    assert not jumped[40 * FRAME : -2 * FRAME].any() and before[-1].any() and jumped[-FRAME:].any()


def test_an_outage_leaves_the_networks_as_they_are_after_silence(
    sent: tuple[bytes, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is decoded after it is the same as if they had run all the time."""
    header, packets = sent

    def with_outage() -> Signal:
        decoder = nsc.PacketDecoder("cq", header)
        heard = [decoder.write(packet) for packet in packets[:20]] + [decoder.lost() for _ in range(40)]
        return np.concatenate(heard + [decoder.write(packet) for packet in packets[20:30]])

    resting = with_outage()
    monkeypatch.setattr(synthesis, "BACKGROUND_TO", 1_000_000)
    np.testing.assert_allclose(with_outage(), resting, atol=1e-7)


def test_a_decoder_of_a_stream_gives_up_group_after_group_as_cheaply(
    speech_signals: list[Signal], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = nsc.Decoder("cq")
    decoder.write(nsc.Encoder("cq", quality=4, spans=1).write(speech_signals[0][:16_000]))
    graphs = _CountingGraphs(monkeypatch)
    outage = [decoder.lost() for _ in range(3_000)]
    assert {len(each) for each in outage} == {FRAME} and not outage[-1].any()
    assert graphs.calls < 90
