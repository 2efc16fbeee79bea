"""Groups and gaps of a stream to speech: what comes out when, and what had to be concealed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from nsc.coding.interface import Model, Signal, Synthesis, check_layers
from nsc.format import Group, Header, WrongModelError, check_model

NO_SAMPLES: Final = np.zeros(0, np.float32)
LOUDEST: Final = 64.0  # times full scale that samples may reach


@dataclass
class Damage:
    """What a decoder had to conceal; false if nothing.

    lost: number of each group that was concealed, from 0; packets that follow a lost one count until one stands alone,
        those of a pause in which none are sent do not.
    restored: number of each packet that was lost but came as a copy with the next one.
    damaged_bytes: bytes that belong to no group.
    end_missing: a stream of unknown length broke off before its last group.
    another_follows: after its last group comes another file, which is not decoded.
    left_out: packets that came too late, twice, or with a number that leads nowhere.
    """

    lost: list[int] = field(default_factory=list)
    restored: list[int] = field(default_factory=list)
    damaged_bytes: int = 0
    end_missing: bool = False
    another_follows: bool = False
    left_out: int = 0

    def __bool__(self) -> bool:
        return bool(self.lost or self.restored or self.damaged_bytes or self.end_missing or self.another_follows)


class Playout:
    """The speech of one stream, group after group."""

    def __init__(self, header: Header, synthesis: Synthesis, damage: Damage, *, joins: bool) -> None:
        """Begins a stream; where it `joins` one, the length that the header declares does not count."""
        self._header, self._synthesis, self._damage = header, synthesis, damage
        self._num_samples = None if joins else header.num_samples
        self._frames_done = self._groups_done = self._samples_given = 0
        self._lead = synthesis.lead  # samples still to come out before the signal's start

    @property
    def ends(self) -> bool:
        """Whether its length is known."""
        return self._num_samples is not None

    def group(self, group: Group) -> Signal:
        """The samples that the next group completes."""
        if group.num_samples is not None:
            # counted from where a stream was joined
            groups = -(-self._header.frames_of(group.num_samples) // self._header.group_frames)
            missed = groups - 1 - self._groups_done
            self._num_samples = group.num_samples - missed * self._header.group_samples
        frames = self._frames_in_next()
        signal = self._synthesis.next_group(group, frames) if frames else None
        if signal is None:  # a checksum that happened to match
            return self.conceal()
        return self._passed(frames, signal)

    def restore(self, group: Group) -> Signal:
        """The samples of the group before this one, which is missing: from the copy that this one carries, if any."""
        frames = self._frames_in_next()
        signal = self._synthesis.restore(group, frames) if frames else None
        if signal is None:
            return self.conceal()
        self._damage.restored.append(self._groups_done)
        return self._passed(frames, signal)

    def conceal(self) -> Signal:
        """The samples in place of the next group."""
        frames = self._frames_in_next()
        if not self._synthesis.pauses:
            self._damage.lost.append(self._groups_done)
        return self._passed(frames, self._synthesis.conceal(frames) if frames else NO_SAMPLES)

    def _passed(self, frames: int, signal: Signal) -> Signal:
        self._groups_done += 1
        self._frames_done += frames
        return self._given(signal)

    def _frames_in_next(self) -> int:
        """Frames of the next group."""
        if self._num_samples is None:
            return self._header.group_frames
        return max(0, min(self._header.group_frames, self._header.frames_of(self._num_samples) - self._frames_done))

    def _given(self, signal: Signal) -> Signal:
        """Cuts off what comes before the signal's start and after its end."""
        before = min(self._lead, len(signal))
        self._lead -= before
        signal = signal[before:]
        if self._num_samples is not None:
            signal = signal[: max(0, self._num_samples - self._samples_given)]
        self._samples_given += len(signal)
        # bytes that no encoder writes may ask for any number
        return np.clip(np.where(np.isnan(signal), 0, signal), -LOUDEST, LOUDEST)


def playout_of(model: Model, header: Header, layers: int | None, damage: Damage, *, joins: bool) -> Playout:
    """Begins to decode so many layers of a stream, all if None.

    Raises:
        WrongModelError: the stream is not of this model.
        UserError: it does not have so many layers.
    """
    check_model(header, model.digest)
    if header.layers > model.depth:
        raise WrongModelError(f"expected the parts of model {header.model}, found others; encode the speech again")
    layers = check_layers(layers, header.layers, "file")
    return Playout(header, model.synthesis(header, layers), damage, joins=joins)
