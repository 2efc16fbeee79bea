"""One side of a call against whatever the network brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import nsc
from nsc.call import rtp
from nsc.call.devices import PacedFile
from nsc.call.session import Session
from nsc.call.streams import Receiver, Sender
from nsc.coding.interface import Model, Signal
from nsc.coding.playout import LOUDEST
from nsc.format import pack_header
from nsc.format.packets import unpack_packet_header
from scripts.fuzzing.datagrams import OTHER_SIDE, Wire


@pytest.fixture(scope="module")
def model() -> Model:
    return nsc.load("cq")


@pytest.fixture
def other(model: Model) -> Sender:
    return Sender(nsc.PacketEncoder(model, refresh=1))


def session_on(wire: Wire, model: Model, patience: float = 600) -> Session:
    source = PacedFile([np.zeros(64_000, np.float32)], lambda: 0.0)
    return Session(wire, Sender(nsc.PacketEncoder(model)), source, delay=0.06, patience=patience)


def said(wire: Wire) -> list[Any]:
    return [message for data, _ in wire.sent for message in rtp.unpack_control(data)]


def call_among(
    strangers: Callable[[list[bytes]], Iterator[bytes]], model: Model, other: Sender, speech: Signal
) -> Signal:
    """What is heard of a side among whose datagrams are others, made from what it sends."""
    packets = other.write(speech) + other.finish()
    offer, end = (rtp.pack_control(other.stream(state)) for state in (rtp.HEARD, rtp.ENDED))
    own = [offer, *packets, end + rtp.pack_control(rtp.Bye(other.source))]
    wire = Wire(each for datagram in own for each in (*strangers(own), datagram))
    session = session_on(wire, model)
    signal = np.concatenate(list(session.blocks()))
    assert session.failed == ""
    return signal


def test_strangers_change_nothing(model: Model, other: Sender, real_speech: Signal) -> None:
    random = np.random.default_rng(0)

    def strangers(own: list[bytes]) -> Iterator[bytes]:
        yield random.bytes(int(random.integers(2_000)))
        for _ in range(4):
            whole = own[int(random.integers(len(own)))]
            data, control = bytearray(whole), rtp.is_control(whole)
            data[4 if control else 8] ^= 1 << int(random.integers(8))  # another sender
            for place in random.integers(12, len(data), size=3):
                data[place] = int(random.integers(256))
            # of the first one that offers a stream, nobody knows whether it is a stranger
            yield bytes(data[:-1] if control else data)

    alone = call_among(lambda own: iter(()), model, Sender(nsc.PacketEncoder(model, refresh=1)), real_speech[:20_000])
    assert len(alone) == 20_000
    assert np.array_equal(call_among(strangers, model, other, real_speech[:20_000]), alone)


def test_what_claims_to_be_the_other_side_ends_in_speech_too(model: Model, other: Sender, real_speech: Signal) -> None:
    random = np.random.default_rng(1)

    def liars(own: list[bytes]) -> Iterator[bytes]:
        for _ in range(4):
            data = bytearray(own[int(random.integers(len(own) - 1))])
            for place in random.integers(12, len(data), size=3):
                data[place] = int(random.integers(256))
            yield bytes(data)

    signal = call_among(liars, model, other, real_speech[:20_000])
    assert np.isfinite(signal).all() and np.abs(signal).max() <= LOUDEST


def test_a_model_that_is_not_here_is_refused_with_the_reason(model: Model, other: Sender) -> None:
    stream = other.stream(rtp.OFFERED)
    unknown = pack_header(unpack_packet_header(stream.header)._replace(model="00000000"))
    file = nsc.encode(np.zeros(1000, np.float32), model)[:16]
    offers = [rtp.pack_control(stream._replace(header=each)) for each in (unknown, bytes(16), file)]
    wire = Wire(offers)
    listening = session_on(wire, model)
    with pytest.raises(nsc.UserError, match="found nobody listening there"):
        list(listening.blocks())
    assert [to for _, to in wire.sent if to] == [OTHER_SIDE] * 3
    reasons = [message.reason for message in said(wire) if isinstance(message, rtp.Bye) and message.reason]
    assert len(reasons) == 3
    assert all(word in reason for word, reason in zip(("00000000", "expected", "version 4"), reasons, strict=True))
    with pytest.raises(nsc.UserError, match="00000000"):
        list(session_on(Wire(offers, OTHER_SIDE), model).blocks())


def test_a_refusal_is_one_line(model: Model) -> None:
    wire = Wire([rtp.pack_control(rtp.Bye(1, "no such model"))], OTHER_SIDE)
    with pytest.raises(nsc.UserError, match="the other side refuses: no such model"):
        list(session_on(wire, model).blocks())


def test_a_request_lets_the_next_packet_stand_alone(model: Model, other: Sender, real_speech: Signal) -> None:
    encoder = nsc.PacketEncoder(model, refresh=16)
    asked = Sender(encoder)
    asked.write(real_speech[:4_000])
    asked.refresh()
    packet = rtp.unpack(asked.write(real_speech[4_000:6_000])[0])
    assert packet
    decoder = nsc.PacketDecoder(model, encoder.header)
    decoder.write(packet.payload)
    assert not decoder.damage


def test_a_missing_packet_is_asked_for(model: Model, other: Sender, real_speech: Signal) -> None:
    first, _, *rest = other.write(real_speech[:10_000])
    wire = Wire([rtp.pack_control(other.stream(rtp.HEARD)), first, *rest, rtp.pack_control(rtp.Bye(other.source))])
    list(session_on(wire, model).blocks())
    assert sum(isinstance(message, rtp.Request) for message in said(wire)) == 1


def test_silence_ends_a_call_and_keeps_what_has_come(model: Model, other: Sender, real_speech: Signal) -> None:
    packets = other.write(real_speech[:10_000])
    wire = Wire([rtp.pack_control(other.stream(rtp.HEARD)), *packets])
    session = session_on(wire, model)
    assert sum(map(len, session.blocks())) == 640 * len(packets) - 160
    assert "left without a word" in session.failed


@pytest.fixture(scope="module")
def sender(model: Model) -> Sender:
    return Sender(nsc.PacketEncoder(model, refresh=1))


@pytest.fixture(scope="module")
def packets(sender: Sender, speech_signals: list[Signal]) -> list[rtp.Packet]:
    found = [rtp.unpack(data) for data in sender.write(np.concatenate(speech_signals)[: 12 * 16_000])]
    return [each for each in found if each]


class TestLoudspeaker:
    """What is played when the loudspeaker asks, whatever has come by then."""

    @pytest.fixture
    def receiver(self, sender: Sender, packets: list[rtp.Packet]) -> Receiver:
        return Receiver(sender.stream(rtp.HEARD), 0.08)

    def test_nothing_is_played_until_the_delay_is_filled(self, receiver: Receiver, packets: list[rtp.Packet]) -> None:
        receiver.put(packets[0], 0)
        assert not receiver.tick().any() and len(receiver.tick()) == 640
        receiver.put(packets[1], 0)
        receiver.tick()
        assert len(receiver.tick()) == 640 and not receiver.damage

    def test_an_outage_takes_as_long_as_it_takes(self, receiver: Receiver, packets: list[rtp.Packet]) -> None:
        waiting: list[int] = []
        for place, packet in enumerate(packets[:60]):
            if not 20 <= place < 40:
                receiver.put(packet, 0)
            waiting.append((waiting[-1] if waiting else 0) - 640)
            while waiting[-1] <= 0:
                waiting[-1] += len(receiver.tick())
        assert max(waiting[2:]) <= 2 * 640, "speech does not pile up"
        assert receiver.counts.lost == 20
        assert receiver.damage.lost == list(range(20, 40))

    def test_packets_that_all_come_later_are_played_later(self, receiver: Receiver, packets: list[rtp.Packet]) -> None:
        for place in range(80):
            if place < 10:
                receiver.put(packets[place], 0)
            if place >= 20:
                receiver.put(packets[place - 10], 0)
            receiver.tick()
        assert receiver.counts.lost == receiver.counts.late == 0

    @pytest.mark.slow
    def test_a_buffer_that_stays_full_is_emptied_without_a_gap(
        self, receiver: Receiver, packets: list[rtp.Packet]
    ) -> None:
        for packet in packets[:8]:
            receiver.put(packet, 0)
        lengths = []
        for packet in packets[8:290]:
            receiver.put(packet, 0)
            lengths.append(len(receiver.tick()))
        assert set(lengths[1:]) == {640}
        assert sum(1 for _ in receiver.ready()) < 8 and not receiver.damage


def heard_of(encoder: nsc.PacketEncoder, speech: Signal, lost: set[int]) -> tuple[Session, Signal, list[bytes]]:
    """What a side hears of another, whose packets are lost as they are counted."""
    other = Sender(encoder)
    packets = other.write(speech) + other.finish()
    kept = [packet for number, packet in enumerate(packets) if number not in lost]
    offer, end = (rtp.pack_control(other.stream(state)) for state in (rtp.HEARD, rtp.ENDED))
    session = session_on(Wire([offer, *kept, end + rtp.pack_control(rtp.Bye(other.source))]), nsc.load("cq"))
    return session, np.concatenate(list(session.blocks())), packets


def test_a_lost_packet_is_heard_from_the_copy_in_the_next_one(model: Model, real_speech: Signal) -> None:
    encoder = nsc.PacketEncoder(model, quality=4, redundancy=4)
    session, signal, packets = heard_of(encoder, real_speech[:20_000], {4, 9, 10, 15})
    assert (session.damage.restored, session.damage.lost) == ([4, 10, 15], [9])
    assert len(signal) == 20_000 and len(packets) == 32


@pytest.mark.slow
def test_pauses_in_which_nothing_is_sent_take_their_time(model: Model, real_speech: Signal) -> None:
    pause = 1e-4 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    speech = np.concatenate([real_speech[8_000:24_000], pause, real_speech[8_000:24_000], pause])
    encoder = nsc.PacketEncoder(model, quality=4, dtx=True, refresh=1)
    session, signal, packets = heard_of(encoder, speech, {12})
    read = [rtp.unpack(packet) for packet in packets]
    numbers, timestamps, _, _, markers = zip(*(each for each in read if each), strict=True)
    assert {(after - before) % 65_536 for before, after in pairwise(numbers)} == {1}
    places = [(after - before) % rtp.CLOCKS // 640 for before, after in pairwise(timestamps)]
    assert max(places) == 10 and markers == (True, *(each > 1 for each in places))
    assert session.damage.lost == [12]
    assert len(packets) < 80 and len(signal) == len(speech)
    encoder = nsc.PacketEncoder(model, quality=4, dtx=True, refresh=1)
    decoder = nsc.PacketDecoder(model, encoder.header)
    blocks = [
        decoder.write(packet) if packet and place != 12 else decoder.lost()
        for place, packet in enumerate(encoder.write(speech) + encoder.finish())
    ]
    assert np.array_equal(signal, np.concatenate(blocks)[: len(speech)])


def test_a_loudspeaker_plays_pauses_in_which_nothing_is_sent(model: Model, real_speech: Signal) -> None:
    pause = 1e-4 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    other = Sender(nsc.PacketEncoder(model, quality=4, dtx=True, refresh=1))
    stream = other.stream(rtp.HEARD)
    sent = {
        (packet.timestamp - stream.start) % rtp.CLOCKS // 640: packet
        for data in other.write(np.concatenate([real_speech[8_000:24_000], pause, real_speech[8_000:24_000]]))
        if (packet := rtp.unpack(data))
    }
    receiver, waiting, played = Receiver(stream, 0.08), 0, 0
    for place in range(max(sent) + 1):
        if place in sent:
            receiver.put(sent[place], 0.04 * place)
        waiting -= 640
        while waiting <= 0:
            signal = receiver.tick()
            waiting, played = waiting + len(signal), played + len(signal)
        assert waiting <= 2 * 640
    assert len(sent) < max(sent) - 20
    assert receiver.damage.lost == [] and receiver.counts.lost == 0
    assert abs(played - 640 * max(sent)) <= 2 * 640
