"""Enhances decoded speech along its pitch, group by group; what one group leaves to the next is kept here."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from nsc.coding.interface import Signal
from nsc.kinds.spectral.pitch import BLOCK, HISTORY, SHORTEST, SIGNALS, Floats, lagged, pitch_of
from nsc.loading.litert import Graphs, Ports, naming_misfits

PLACE: Final = 16  # samples for which the network has one set of features: 1 ms
CONDITIONS: Final = 5  # level, step offset, codecs in use, correlation, lag in samples
LAGGED, CONDITION, STATE, ENHANCED = "lagged", "conditions", "state", "samples"  # inputs and outputs of the graph


class EnhancerNetwork(Protocol):
    """The network of an enhancer. It remembers nothing from call to call."""

    def enhanced(self, signals: Floats, conditions: Floats, state: Floats) -> tuple[Floats, Floats]:
        """Enhanced samples [n], and the state after them.

        Args:
            signals: float32 [n, 5], see `pitch.lagged`.
            conditions: float32 [n / PLACE, CONDITIONS].
            state: after the samples before these.
        """
        ...


class Enhancer:
    """Of one stream. A signal in groups of any length gives what it gives in one piece."""

    def __init__(self, network: EnhancerNetwork, state_size: int, layers: int) -> None:
        """Begins in silence, for speech that `layers` codecs decode."""
        self._network, self._layers = network, layers
        self._past = np.zeros(HISTORY, np.float32)
        self._lag = np.array([SHORTEST], np.int32)
        self._state = np.zeros(state_size, np.float32)

    def __call__(self, signal: Signal, level: float, offset: float) -> Signal:
        """Enhances the next samples [n], whole blocks of 5 ms.

        Args:
            signal: decoded.
            level: amplitude that counts as 1.
            offset: of the logarithm of the step.
        """
        whole = np.concatenate([self._past, signal])
        pitch = pitch_of(whole)
        signals = lagged(whole, np.concatenate([self._lag, pitch.lags]))
        conditions = np.empty((len(signal) // PLACE, CONDITIONS), np.float32)
        conditions[:, :3] = level, offset, self._layers
        conditions[:, 3] = np.repeat(pitch.correlations, BLOCK // PLACE)
        conditions[:, 4] = np.repeat(pitch.lags, BLOCK // PLACE)
        enhanced, self._state = self._network.enhanced(signals, conditions, self._state)
        self._past, self._lag = whole[-HISTORY:], pitch.lags[-1:]
        return enhanced


class GraphEnhancer:
    """Implements `EnhancerNetwork` by a graph of any number of milliseconds."""

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs

    def enhanced(self, signals: Floats, conditions: Floats, state: Floats) -> tuple[Floats, Floats]:
        places = signals.reshape(-1, PLACE, SIGNALS)
        with naming_misfits():
            found = self._graphs("enhancer", **{LAGGED: places, CONDITION: conditions, STATE: state})
            return found[ENHANCED], found[STATE]


def enhancer_ports(state_size: int) -> Ports:
    """What goes into an enhancer's graph and comes out of it."""
    signals, size = (None, PLACE, SIGNALS), (state_size,)
    return Ports({LAGGED: signals, CONDITION: (None, CONDITIONS), STATE: size}, {ENHANCED: (None,), STATE: size})
