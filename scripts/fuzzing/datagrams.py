"""Datagrams that are changed, of strangers, out of order and of nobody, to one side of a call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

import nsc
from nsc.call import rtp
from nsc.call.devices import PacedFile
from nsc.call.link import Link
from nsc.call.session import Session
from nsc.call.streams import Sender
from nsc.coding.packets import MOST_MISSING
from nsc.coding.playout import LOUDEST
from nsc.errors import UserError
from scripts.fuzzing.choice import Generator, one_of
from scripts.fuzzing.targets import SpectralTarget

MOST_DATAGRAMS = 16
SENT = 24  # packets of a stream
# Of changed fields one in so many leads far: to conceal thousands of packets takes longer than all else.
FAR_SHARE = 1024
OTHER_SIDE = ("192.0.2.1", 5004)


class Wire(Link):
    """A link on which these datagrams come, and then nobody is there any more."""

    def __init__(self, datagrams: Iterable[bytes], peer: Any = None) -> None:
        self.peer, self.gone = peer, False
        self.sent: list[tuple[bytes, Any]] = []
        self._left = iter(datagrams)

    def choose(self, peer: Any) -> None:
        self.peer = peer

    def send(self, data: bytes, to: Any = None) -> None:
        """Keeps a datagram, and to which stranger it goes."""
        self.sent.append((data, to))

    def received(self, seconds: float) -> Iterator[tuple[bytes, Any]]:
        """One datagram at a time."""
        data = next(self._left, None)
        self.gone = data is None
        if data is not None:
            yield data, OTHER_SIDE


class Datagrams:
    """Drawn calls with every model on the lapped spectrum that ships."""

    def __init__(self, models: Sequence[SpectralTarget], generator: Generator) -> None:
        self._models = [(model, model.packets(generator, SENT, refresh)) for model in models for refresh in (1, 100)]

    def outcome(self, generator: Generator) -> str:
        """How a call goes."""
        model, call = one_of(self._models, generator)
        stream = rtp.Stream(5, call.header, 65_530, 65_530 + SENT - 65_536, 0, 640 * SENT, rtp.HEARD)
        wire = Wire(_drawn(stream, call.packets, generator), one_of((None, OTHER_SIDE), generator))
        sender = Sender(nsc.PacketEncoder(model))
        session = Session(wire, sender, PacedFile([], lambda: 0.0), delay=0.08, patience=600)
        asks = iter(lambda: bool(generator.integers(2)), None)
        wants = one_of((None, lambda: next(asks)), generator)
        try:
            given = sum(map(_checked, session.blocks(wants)))
        except UserError:
            return "refused"
        packet = nsc.PacketDecoder(model, call.header).packet_samples
        if given > (MOST_MISSING + 4 * MOST_DATAGRAMS) * MOST_DATAGRAMS * packet:
            raise AssertionError(f"{given} samples of {MOST_DATAGRAMS} datagrams")
        return "left without a word" if wire.gone else "hung up"


def _checked(signal: np.ndarray) -> int:
    if signal.dtype != np.float32 or not (np.abs(signal) <= LOUDEST).all():
        raise AssertionError(f"no speech: {signal.dtype}, up to {np.abs(signal).max()}")
    return len(signal)


def _drawn(stream: rtp.Stream, packets: Sequence[bytes], generator: Generator) -> Iterator[bytes]:
    """What comes of a stream, mostly in order and whole."""
    own = [
        rtp.pack(rtp.Packet((stream.first + number) % 65_536, 640 * number, stream.source, packet, not number))
        for number, packet in enumerate(packets)
    ]
    control = [rtp.pack_control(stream), rtp.pack_control(stream._replace(state=rtp.ENDED))]
    control += [rtp.pack_control(rtp.Request(stream.source)), rtp.pack_control(rtp.Bye(stream.source, "why"))]
    place = 0
    if generator.integers(8):
        yield control[0]
    for _ in range(int(generator.integers(1, MOST_DATAGRAMS))):
        place = (place + one_of((1, 1, 1, 1, 2, 3, 0, -1), generator)) % len(own)
        yield _changed(own[place] if generator.integers(6) else one_of(control, generator), generator)


def _changed(datagram: bytes, generator: Generator) -> bytes:
    """A datagram; one in three is changed."""
    data = bytearray(datagram)
    kind = int(generator.integers(12))
    if kind == 0:
        near = (12, 28) if rtp.is_control(datagram) else (12, len(data))  # beyond are numbers and times
        place = int(generator.integers(*near if generator.integers(FAR_SHARE) else (2, len(data))))
        data[place : place + 1] = generator.bytes(1)
    elif kind == 1:
        del data[int(generator.integers(len(data))) :]
    elif kind == 2:
        data += generator.bytes(one_of((1, 4, 1500), generator))
    elif kind == 3:
        data = bytearray(generator.bytes(int(generator.integers(60))))
    return bytes(data)
