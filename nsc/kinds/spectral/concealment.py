"""Conceals lost spectra: the last speech goes on along its pitch, and a network says how loud each band of it is.

All of an outage is made of what was heard before it, so that nothing builds up; after 100 ms it fades.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import numpy as np

from nsc.coding.interface import Signal
from nsc.constants import SAMPLE_RATE
from nsc.kinds.spectral.pitch import BLOCK, HISTORY, Floats, pitch_of
from nsc.loading.litert import Graphs, Ports, naming_misfits

CONTEXT: Final = SAMPLE_RATE * 160 // 1000  # samples of new speech whose spectra the network sees
LONGEST: Final = SAMPLE_RATE * 200 // 1000  # samples of new speech after which an outage is silent
LEAST_PERIOD: Final = 160  # samples: what is repeated faster than every 10 ms buzzes
CONDITIONS: Final = 4  # level, correlation, period in samples, spectra since the loss began
PAST, CONDITION, NOISE, CONCEALED = "past", "conditions", "noise", "samples"  # inputs and output of the graph


class ConcealmentNetwork(Protocol):
    """The network of a concealment. It remembers nothing from call to call."""

    def concealed(self, past: Floats, conditions: Floats, noise: Floats) -> Floats:
        """Emphasised samples [(spectra + 1) hop] of lost spectra, both ends of which lack their overlap.

        Args:
            past: float32 [past_samples], emphasised, up to the loss.
            conditions: float32 [CONDITIONS].
            noise: float32 [spectra, hop] of unit variance.
        """
        ...


class _Outage(NamedTuple):
    """What was heard before a loss, and the conditions there but for the last."""

    past: Floats
    conditions: tuple[float, float, float]


class Concealment:
    """Of one stream."""

    def __init__(self, network: ConcealmentNetwork, hop: int) -> None:
        """Begins in silence."""
        self._network, self._hop = network, hop
        self._past = np.zeros(past_samples(hop), np.float32)
        self._outage: _Outage | None = None
        self._place = 0  # spectra since the loss began

    def follow(self, samples: Signal, *, lost: bool) -> None:
        """Takes the emphasised samples that went out, lost or not."""
        self._past = np.concatenate([self._past, samples])[-len(self._past) :]
        if not lost:
            self._outage = None

    def __call__(self, noise: Floats, level: float) -> Floats:
        """The samples of the next lost spectra, see `ConcealmentNetwork.concealed`.

        Args:
            noise: float32 [spectra, hop].
            level: amplitude that counts as 1.
        """
        if self._outage is None:
            pitch = pitch_of(self._past[-HISTORY - BLOCK :])
            period = period_of(int(pitch.lags[-1]))
            self._outage, self._place = _Outage(self._past, (level, float(pitch.correlations[-1]), period)), 0
        first, self._place = self._place, self._place + len(noise)
        if first * self._hop >= LONGEST:
            return np.zeros((len(noise) + 1) * self._hop, np.float32)
        conditions = np.array([*self._outage.conditions, first], np.float32)
        return self._network.concealed(self._outage.past, conditions, noise)


def past_samples(hop: int) -> int:
    """Samples before a loss that it is concealed from."""
    return (CONTEXT // hop + 1) * hop


def period_of(lag: int) -> int:
    """The shortest multiple of a pitch lag that does not buzz."""
    return lag * -(-LEAST_PERIOD // lag)


class GraphConcealment:
    """Implements `ConcealmentNetwork` by a graph of any number of spectra."""

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs

    def concealed(self, past: Floats, conditions: Floats, noise: Floats) -> Floats:
        """See `ConcealmentNetwork`."""
        with naming_misfits():
            found = self._graphs("concealment", **{PAST: past, CONDITION: conditions, NOISE: noise})
            samples: Floats = found[CONCEALED]
            return samples


def concealment_ports(hop: int) -> Ports:
    """What goes into a concealment's graph and comes out of it."""
    inputs = {PAST: (past_samples(hop),), CONDITION: (CONDITIONS,), NOISE: (None, hop)}
    return Ports(inputs, {CONCEALED: (None,)})
