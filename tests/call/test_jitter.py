"""The order of packets, what counts as lost or late, and jitter as RFC 3550 has it."""

from __future__ import annotations

import numpy as np
import pytest

from nsc.call.jitter import MOST_HELD, JitterBuffer
from nsc.call.rtp import CLOCKS, Packet
from nsc.coding.packets import MOST_MISSING

FIRST = 65_530  # numbers come round soon


def packet(place: int, payload: bytes = b"") -> Packet:
    return Packet((FIRST + place) % 65_536, (640 * place - 1280) % CLOCKS, 1, payload or b"%d" % place)


def taken(buffer: JitterBuffer) -> list[tuple[str, int]]:
    """What is in order by now."""
    found = []
    while due := buffer.ready():
        found.append((due.packet.payload.decode(), due.missing))
    return found


def heard(places: list[int], depth: int = 2) -> tuple[list[tuple[str, int]], JitterBuffer]:
    buffer, found = JitterBuffer(FIRST, depth), []
    for place in places:
        buffer.put(packet(place), 0.04 * place)
        found += taken(buffer)
    return found, buffer


def test_packets_come_out_in_the_order_of_their_numbers() -> None:
    found, buffer = heard([0, 2, 1, 4, 5, 3, 6, 7, 8, 9])
    assert found == [(str(place), 0) for place in range(10)]
    assert (buffer.counts.received, buffer.counts.lost) == (10, 0)


def test_a_missing_packet_is_given_up_when_enough_have_come_after_it() -> None:
    found, buffer = heard([0, 2, 3])
    assert found == [("0", 0)]
    buffer.put(packet(4), 0)
    assert taken(buffer) == [("2", 1), ("3", 0), ("4", 0)]
    buffer.put(packet(1), 0)
    assert taken(buffer) == []
    assert (buffer.counts.lost, buffer.counts.late, buffer.counts.repeated) == (1, 1, 0)


def test_repeated_packets_are_counted_and_left_out() -> None:
    found, buffer = heard([0, 0, 1, 3, 3, 2, 2, 4])
    assert [payload for payload, _ in found] == ["0", "1", "2", "3", "4"]
    assert (buffer.counts.received, buffer.counts.repeated) == (5, 3)


def test_a_long_outage_is_as_many_missing_packets() -> None:
    found, buffer = heard([0, 201, 202, 203])
    assert found == [("0", 0), ("201", 200), ("202", 0), ("203", 0)]
    assert buffer.counts.lost == 200


def test_what_leads_nowhere_takes_no_memory() -> None:
    buffer = JitterBuffer(FIRST, MOST_HELD + 10)
    for place in range(1, 4 * MOST_HELD):
        buffer.put(packet(place), 0)
    buffer.put(packet(MOST_MISSING), 0)
    assert len(buffer) == MOST_HELD
    assert buffer.counts.strays == 3 * MOST_HELD
    assert buffer.missing_until((FIRST + MOST_MISSING) % 65_536) == 0


def test_jitter_is_that_of_the_recursion_of_rfc_3550() -> None:
    random = np.random.default_rng(0)
    arrivals = 0.04 * np.arange(200) + random.uniform(0, 0.02, 200)
    buffer = JitterBuffer(FIRST, 2)
    for place, seconds in enumerate(arrivals):
        buffer.put(packet(place), seconds)
        taken(buffer)
    expected, before = 0.0, arrivals[0]
    for place, seconds in enumerate(arrivals[1:], 1):
        expected += (16_000 * abs(seconds - 0.04 * place - before) - expected) / 16
        before = seconds - 0.04 * place
    assert buffer.counts.jitter == pytest.approx(expected, rel=1e-6)
    assert 40 < buffer.counts.jitter < 200
