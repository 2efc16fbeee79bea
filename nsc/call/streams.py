"""The two streams of a call: speech to RTP packets, and RTP packets to speech in their order."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from nsc.api import model_of
from nsc.call import rtp
from nsc.call.jitter import Due, JitterBuffer
from nsc.coding.interface import Signal
from nsc.coding.packets import MOST_MISSING, NUMBERS, PacketDecoder, PacketEncoder
from nsc.constants import SAMPLE_RATE

PATIENT_TICKS: Final = 125  # over which more packets wait than have to, before playing catches up


class Sender:
    """Speech in, RTP packets out."""

    def __init__(self, encoder: PacketEncoder) -> None:
        """Begins a stream, whose numbers nobody can foresee."""
        self.source = secrets.randbits(32)
        self._encoder = encoder
        # in the lower half: receivers of SRTP would take a first one near the end for one of the round before
        self._first = self._next = secrets.randbits(15)
        self._start = self._timestamp = secrets.randbits(32)
        self._samples = 0
        self._pauses = True  # before the first packet

    def stream(self, state: int) -> rtp.Stream:
        """What the other side has to know."""
        end = (self._start + self._samples) % rtp.CLOCKS
        return rtp.Stream(self.source, self._encoder.header, self._first, self._next, self._start, end, state)

    def refresh(self) -> None:
        """Lets the next packet stand alone."""
        self._encoder.refresh()

    def write(self, block: ArrayLike) -> list[bytes]:
        """Takes samples [n]; the datagrams that they complete."""
        self._samples += np.size(block)
        return list(self._packed(self._encoder.write(block)))

    def finish(self) -> list[bytes]:
        """The datagrams that are left when no more samples come."""
        return list(self._packed(self._encoder.finish()))

    def _packed(self, packets: Iterable[bytes]) -> Iterator[bytes]:
        for packet in packets:
            if packet:
                yield rtp.pack(rtp.Packet(self._next, self._timestamp, self.source, packet, self._pauses))
                self._next = (self._next + 1) % NUMBERS
            self._pauses = not packet
            self._timestamp = (self._timestamp + self._encoder.packet_samples) % rtp.CLOCKS


class Receiver:
    """RTP packets in, speech out: as soon as they are in order, or at the pace of a loudspeaker.

    ended: whether the other side has said that all packets are sent.
    asks: a packet is missing, so that one which stands alone would help; to be set back by who asks for it.
    """

    def __init__(self, stream: rtp.Stream, delay: float) -> None:
        """Begins to receive a stream.

        Args:
            stream: what its sender says of it.
            delay: seconds that packets wait for those before them.

        Raises:
            UserError: its model is not here, or its header is none.
        """
        self.source, self.ended, self.asks = stream.source, False, False
        self._stream = stream
        self._decoder = PacketDecoder(model_of(stream.header), stream.header)
        self.packet_samples = self._decoder.packet_samples
        self._depth = max(1, -(-round(delay * SAMPLE_RATE) // self.packet_samples))
        self._buffer = JitterBuffer(stream.first, self._depth)
        self._position = self._given = 0  # packets and samples that have come out
        self._behind = 0  # packets by which playing has fallen behind the timestamps
        self._kept = np.zeros(0, np.float32)
        self._joined = False  # a decoder takes the first packet for the stream's beginning
        self._ticks, self._least, self._plays = 0, self._depth, False
        self.counts, self.damage = self._buffer.counts, self._decoder.damage

    def told(self, stream: rtp.Stream) -> None:
        """Takes what the sender says of its stream now."""
        if stream.header == self._stream.header and not self.ended:
            self._stream, self.ended = stream, stream.state == rtp.ENDED

    def put(self, packet: rtp.Packet, seconds: float) -> None:
        """Takes a packet that came at this time of any clock."""
        self._buffer.put(packet, seconds)

    @property
    def complete(self) -> bool:
        """Whether the stream has ended and nothing of it is missing any more."""
        return self.ended and not self._buffer.missing_until(self._stream.next)

    def ready(self) -> Iterator[Signal]:
        """Speech of the packets that are in order by now but for the last, which may reach beyond the signal's end."""
        while due := self._buffer.ready():
            signal = np.concatenate([self._kept, self._played(due)])
            self._kept = signal[-self.packet_samples :]
            yield self._counted(signal[: -self.packet_samples])

    def rest(self) -> Iterator[Signal]:
        """What is left at the end of a call, with speech in place of what has not come."""
        length = (self._stream.end - self._stream.start) % rtp.CLOCKS if self.ended else None
        for signal in self._left():
            yield self._counted(signal if length is None else signal[: max(0, length - self._given)])
        if length is not None:
            self._buffer.skip(self._buffer.missing_until(self._stream.next))
            for _ in range(min(-(-(length - self._given) // self.packet_samples), MOST_MISSING)):
                yield self._counted(self._lost()[: length - self._given])

    def _left(self) -> Iterator[Signal]:
        yield self._kept
        while due := self._buffer.earliest():
            yield self._played(due)

    def _counted(self, signal: Signal) -> Signal:
        self._given += len(signal)
        return signal

    def tick(self) -> Signal:
        """Speech to play now, of a packet at least: a loudspeaker does not wait."""
        self._plays = self._plays or len(self._buffer) >= self._depth
        if not self._plays:
            return np.zeros(self.packet_samples, np.float32)
        self._ticks, self._least = self._ticks + 1, min(self._least, len(self._buffer))
        due = self._buffer.earliest()
        if due is None:
            return self._lost()
        signal = self._played(due)
        if self._ticks >= PATIENT_TICKS:
            behind = self._least > self._depth
            self._ticks, self._least = 0, len(self._buffer)
            if behind and (due := self._buffer.earliest()):
                return _merged(signal, self._played(due))
        return signal

    def _played(self, due: Due) -> Signal:
        """Speech of a packet, with what is heard from the end of the one before to its timestamp."""
        place = (due.packet.timestamp - self._stream.start) % rtp.CLOCKS // self.packet_samples
        waited = place + self._behind - self._position
        if not 0 <= waited < MOST_MISSING:  # the loudspeaker could not wait so long
            self._behind, waited = self._position - place, 0
        self.asks |= due.missing > 0
        before = [] if self._joined else [self._decoder.lost() for _ in range(waited)]
        self._position += waited
        signal = self._decoder.write(due.packet.payload, self._position % NUMBERS)
        self._position, self._joined = self._position + 1, True
        return np.concatenate([*before, signal])

    def _lost(self) -> Signal:
        self._position += 1
        return self._decoder.lost()


def _merged(first: Signal, second: Signal) -> Signal:
    """Two stretches in the time of one: the first fades into the second."""
    length = min(len(first), len(second))
    fade = np.linspace(0, 1, length, dtype=np.float32)
    return np.concatenate([first[:length] * (1 - fade) + second[:length] * fade, second[length:]])
