"""Packets that are changed, dropped, repeated and out of order, to a decoder that is told their numbers or none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import nsc
from nsc.coding.packets import MOST_LATE, MOST_MISSING, NUMBERS
from nsc.format import Packets
from nsc.kinds.spectral.model import SpectralModel
from scripts.fuzzing.choice import Generator, one_of
from scripts.fuzzing.targets import SpectralTarget

MOST_STEPS = 16
SENT = 24  # packets of a call
NEAR = (1, 1, 1, 1, 1, 1, 2, 3, 0, -1, -3)  # how far a number is from the one before
FAR = (60, 200, -MOST_LATE, MOST_MISSING - 1, MOST_MISSING, NUMBERS // 2)
FAR_SHARE = 1024  # one of so many; to conceal thousands of packets takes longer than all else


class Receiver:
    """A decoder, and how many samples it has to give for each number by a count of its own."""

    def __init__(self, model: SpectralModel, header: bytes) -> None:
        self.decoder = nsc.PacketDecoder(model, header)
        self._due: int | None = None
        self._begun = False
        self._lead = model.settings.hop

    def take(self, packet: bytes, number: int | None) -> None:
        """A packet arrives."""
        if number is None or self._due is None:
            expected = {1}
        else:
            ahead = (number - self._due) % NUMBERS
            late = NUMBERS - ahead <= MOST_LATE
            expected = {ahead + 1} if ahead < MOST_MISSING else {0} if late else {0, 1}
        taken = self._checked(self.decoder.write(packet, number), expected)
        number = self._due if number is None else number
        if taken and number is not None:
            self._due = (number + 1) % NUMBERS

    def conceal(self) -> None:
        """A packet is due and has not come."""
        self._checked(self.decoder.lost(), {1})
        self._due = None if self._due is None else (self._due + 1) % NUMBERS

    def _checked(self, samples: np.ndarray, expected: set[int]) -> int:
        if samples.ndim != 1 or samples.dtype != np.float32 or not np.isfinite(samples).all():
            raise AssertionError(f"no samples: {samples.dtype} {samples.shape}")
        size, lead = self.decoder.packet_samples, 0 if self._begun else self._lead
        given = len(samples) + (lead if len(samples) else 0)
        if given % size or given // size not in expected:
            raise AssertionError(f"{len(samples)} samples, expected {expected} packets")
        self._begun |= given > 0
        return given // size


class Calls:
    """Drawn calls with every model on the lapped spectrum that ships."""

    def __init__(self, models: Sequence[SpectralTarget], generator: Generator) -> None:
        self._calls = [(model, model.packets(generator, SENT, refresh)) for model in models for refresh in (1, 3, 100)]

    def outcome(self, generator: Generator) -> str:
        """How a call goes."""
        model, call = one_of(self._calls, generator)
        receiver, number = Receiver(model, call.header), int(generator.integers(NUMBERS))
        for _ in range(int(generator.integers(1, MOST_STEPS))):
            jumps = NEAR if generator.integers(FAR_SHARE) else FAR
            number = (number + one_of(jumps, generator)) % NUMBERS
            if generator.integers(8) == 0:
                receiver.conceal()
            else:
                receiver.take(_changed(call, number, generator), one_of((number, number, number, None), generator))
        damage = receiver.decoder.damage
        return "whole" if not damage else "left out" if damage.left_out else "concealed"


def _changed(call: Packets, number: int, generator: Generator) -> bytes:
    """A packet of a call; one in two is changed."""
    packet = bytearray(call.packets[number % SENT])
    kind = int(generator.integers(8))
    place = int(generator.integers(len(packet) + 1))
    if kind == 0 and place < len(packet):
        packet[place] ^= 1 << int(generator.integers(8))
    elif kind == 1:
        del packet[place:]
    elif kind == 2:
        packet += generator.bytes(one_of((1, 40, 5000), generator))
    elif kind == 3:
        packet = bytearray(generator.bytes(place))
    return bytes(packet)
