"""A jitter buffer: packets in the order of their numbers, and what the network did to them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from nsc.call.rtp import CLOCKS, Packet
from nsc.coding.packets import MOST_MISSING, NUMBERS
from nsc.constants import SAMPLE_RATE

MOST_HELD: Final = 100  # packets
MOST_REMEMBERED: Final = 1000  # missing numbers, which tell a late packet from a repeated one
JITTER_SHARE: Final = 1 / 16  # of a new difference, RFC 3550, section 6.4.1


@dataclass
class Counts:
    """What became of a stream's packets.

    received: different ones that came in time.
    lost: not there when they were due.
    late: of the lost ones, those that came after all.
    repeated: that had come before.
    strays: with a number that leads nowhere.
    payload_bytes: of those received.
    jitter: mean deviation of the time between two packets, RFC 3550, in samples of 16 kHz.
    """

    received: int = 0
    lost: int = 0
    late: int = 0
    repeated: int = 0
    strays: int = 0
    payload_bytes: int = 0
    jitter: float = 0.0


class Due(NamedTuple):
    """A packet whose turn has come, and how many are missing before it."""

    packet: Packet
    missing: int


class JitterBuffer:
    """Puts packets into order. A missing one is waited for until `depth` later ones have come."""

    def __init__(self, first: int, depth: int) -> None:
        """Begins with the packet of number `first`."""
        self.counts = Counts()
        self._due, self._depth = first, depth  # counted on where sequence numbers come round
        self._held: dict[int, Packet] = {}
        self._missed: deque[int] = deque(maxlen=MOST_REMEMBERED)
        self._transit: float | None = None

    def __len__(self) -> int:
        return len(self._held)

    def put(self, packet: Packet, seconds: float) -> None:
        """Takes a packet that came at this time of any clock."""
        number = self._counted_on(packet.number)
        if number in self._held or (number < self._due and number not in self._missed):
            self.counts.repeated += 1
        elif number < self._due:
            self._missed.remove(number)
            self.counts.late += 1
        elif number - self._due >= MOST_MISSING or len(self._held) >= MOST_HELD:
            self.counts.strays += 1
        else:
            self._held[number] = packet
            self.counts.received += 1
            self.counts.payload_bytes += len(packet.payload)
            self._measure(packet.timestamp, seconds)

    def ready(self) -> Due | None:
        """The next packet in order, if it has come or what is missing before it is given up."""
        return self.earliest() if self._due in self._held or len(self._held) > self._depth else None

    def earliest(self) -> Due | None:
        """The first of the packets that have come, if there is one; what is missing before it is given up."""
        if not self._held:
            return None
        number = min(self._held)
        missing = self.skip(number - self._due)
        self._due = number + 1
        return Due(self._held.pop(number), missing)

    def skip(self, count: int) -> int:
        """Gives up so many packets, from the one that is due; returns their number."""
        self._missed.extend(range(self._due, self._due + count))
        self._due += count
        self.counts.lost += count
        return count

    def missing_until(self, number: int) -> int:
        """How many packets are still to come before one of this sequence number; 0 for one that leads nowhere."""
        ahead = self._counted_on(number) - self._due
        return ahead if 0 < ahead < MOST_MISSING else 0

    def _counted_on(self, number: int) -> int:
        """A sequence number, counted on from the one that is due, whichever way is nearer."""
        ahead = (number - self._due) % NUMBERS
        return self._due + (ahead - NUMBERS if ahead >= NUMBERS // 2 else ahead)

    def _measure(self, timestamp: int, seconds: float) -> None:
        transit = (seconds * SAMPLE_RATE - timestamp) % CLOCKS
        if self._transit is not None:
            change = (transit - self._transit) % CLOCKS
            self.counts.jitter += JITTER_SHARE * (min(change, CLOCKS - change) - self.counts.jitter)
        self._transit = transit
