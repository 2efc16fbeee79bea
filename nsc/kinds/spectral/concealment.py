"""Conceals lost spectra: the last speech goes on along its pitch, and a network says how loud each band of it is.

All of an outage is made of what was heard before it, so that nothing builds up. From 40 ms on it fades into the noise
behind the speech, which ends, too.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nsc.coding.interface import Signal
from nsc.constants import SAMPLE_RATE
from nsc.kinds.spectral.pitch import BLOCK, HISTORY, Floats, pitch_of
from nsc.loading.litert import Graphs, Ports, naming_misfits

CONTEXT: Final = SAMPLE_RATE * 160 // 1000  # samples of new speech whose spectra the network sees
LONGEST: Final = SAMPLE_RATE * 200 // 1000  # samples of new speech after which the network is silent
FADE_FROM: Final = SAMPLE_RATE * 40 // 1000  # samples of an outage after which speech fades,
FADE_DB: Final = 700 / SAMPLE_RATE  # by so much a sample
REMEMBERED: Final = 2 * SAMPLE_RATE  # samples, of which the softest spectra
QUIET: Final = 16  # in a row, so many, are the noise behind speech,
MOST_BACKGROUND: Final = 0.01  # but no louder than this share of the level, where there was no pause
BACKGROUND_FROM: Final = SAMPLE_RATE * 300 // 1000  # samples of an outage after which that noise fades
BACKGROUND_TO: Final = SAMPLE_RATE * 600 // 1000
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
    """What was heard before a loss, the conditions there but for the last, and amplitudes [hop] of the noise behind."""

    past: Floats
    conditions: tuple[float, float, float]
    background: Floats


class Concealment:
    """Of one stream."""

    def __init__(self, network: ConcealmentNetwork, hop: int) -> None:
        """Begins in silence."""
        self._network, self._hop = network, hop
        self._past = np.zeros(past_samples(hop), np.float32)
        self._arrived = np.zeros(0, np.float32)
        self._outage: _Outage | None = None
        self._place = 0  # spectra since the loss began

    def follow(self, samples: Signal, *, lost: bool) -> None:
        """Takes the emphasised samples that went out, lost or not."""
        self._past = np.concatenate([self._past, samples])[-len(self._past) :]
        if not lost:
            self._arrived = np.concatenate([self._arrived, samples])[-REMEMBERED:]
            self._outage = None

    def __call__(self, noise: Floats, level: float) -> Floats:
        """The samples of the next lost spectra, see `ConcealmentNetwork.concealed`; they fade into noise.

        Args:
            noise: float32 [spectra, hop].
            level: amplitude that counts as 1.
        """
        if self._outage is None:
            pitch = pitch_of(self._past[-HISTORY - BLOCK :])
            period = period_of(int(pitch.lags[-1]))
            background = _background(self._arrived, self._hop, MOST_BACKGROUND * level)
            facts = (level, float(pitch.correlations[-1]), period)
            self._outage, self._place = _Outage(self._past, facts, background), 0
        first, self._place = self._place, self._place + len(noise)
        time = first * self._hop + np.arange((len(noise) + 1) * self._hop)
        share = 10 ** (-FADE_DB / 20 * np.maximum(time - FADE_FROM, 0))
        stays = np.clip((BACKGROUND_TO - time) / (BACKGROUND_TO - BACKGROUND_FROM), 0, 1)
        # from the other end, so that this noise and the network's have nothing to do with each other
        found = _samples(noise[:, ::-1] * self._outage.background) * (1 - share) * stays
        if first * self._hop < LONGEST:
            conditions = np.array([*self._outage.conditions, first], np.float32)
            found += self._network.concealed(self._outage.past, conditions, noise) * share
        return found.astype(np.float32)


def _background(arrived: Floats, hop: int, most: float) -> Floats:
    """Amplitudes [hop] of the softest spectra of emphasised samples, `most` at most on average; 0 of few samples."""
    spectra = len(arrived) // hop - 1
    if spectra < QUIET:
        return np.zeros(hop, np.float32)
    blocks = arrived[len(arrived) - (spectra + 1) * hop :].reshape(-1, hop)
    first = int(np.argmin(np.convolve(np.square(blocks).mean(1), np.ones(QUIET + 1), "valid")))
    quiet = blocks[first : first + QUIET + 1]
    found = np.concatenate([quiet[:-1], quiet[1:]], 1) @ _lapped(hop)
    amplitudes: Floats = np.sqrt(np.square(found).mean(0))
    return amplitudes * np.float32(min(1.0, most / max(np.sqrt(np.square(amplitudes).mean()), 1e-9)))


def _samples(spectra: Floats) -> Floats:
    """Overlapped samples [(spectra + 1) hop] of spectra [spectra, hop], both ends of which lack their overlap."""
    hop = spectra.shape[1]
    blocks = spectra @ _lapped(hop).T
    found = np.zeros((len(spectra) + 1, hop), np.float32)
    found[:-1] += blocks[:, :hop]
    found[1:] += blocks[:, hop:]
    return found.reshape(-1)


def mdct_matrix(window: NDArray[np.float64]) -> Floats:
    """Cosines under a window [2 hop], float32 [2 hop, hop]: a spectrum (MDCT) is a block [2 hop] times this."""
    hop = len(window) // 2
    time, frequency = np.arange(2 * hop)[:, None] + 0.5, np.arange(hop) + 0.5
    cosines = np.sqrt(2 / hop) * np.cos(np.pi / hop * (time + hop / 2) * frequency)
    basis: Floats = (cosines * window[:, None]).astype(np.float32)
    return basis


def sine_window(hop: int) -> NDArray[np.float64]:
    """Window [2 hop] of the concealment and, unless it says otherwise, of a model's transform."""
    return np.sin(np.pi / (2 * hop) * (np.arange(2 * hop) + 0.5))


@cache
def _lapped(hop: int) -> Floats:
    return mdct_matrix(sine_window(hop))


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
        with naming_misfits():
            found = self._graphs("concealment", **{PAST: past, CONDITION: conditions, NOISE: noise})
            samples: Floats = found[CONCEALED]
            return samples


def concealment_ports(hop: int) -> Ports:
    """What goes into a concealment's graph and comes out of it."""
    inputs = {PAST: (past_samples(hop),), CONDITION: (CONDITIONS,), NOISE: (None, hop)}
    return Ports(inputs, {CONCEALED: (None,)})
