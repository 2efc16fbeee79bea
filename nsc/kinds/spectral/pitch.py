"""The pitch of decoded speech every 5 ms, and the speech one and two pitch lags ago.

The lag is where the normalised autocorrelation of the last 40 ms is highest. All of it looks at the past only, so that
an encoder need not send it. Training computes the same in TensorFlow (`kinds.spectral.pitch`).
"""

from __future__ import annotations

import functools
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsc.constants import SAMPLE_RATE

BLOCK: Final = 80  # samples that share a lag: 5 ms
WINDOW: Final = 640  # samples whose autocorrelation is searched: 40 ms, up to the end of the block
SHORTEST, LONGEST = 40, 266  # samples of a lag: 400 to 60 Hz
LAGS: Final = np.arange(SHORTEST, LONGEST + 1)
LAG_COST: Final = 5e-4  # correlation that each further sample of lag has to bring, or else multiples of the period win
LEAST_ENERGY: Final = 1e-9  # of a window: what is softer than -110 dB of full scale has no pitch
FADE: Final = 16  # samples in which one lag gives way to the next
AHEAD: Final = 32  # samples after the lagged one that are known too: fewer than the shortest lag
HISTORY: Final = WINDOW  # samples before the first block that pitch and lagged speech depend on
SIGNALS: Final = 5  # that `lagged` gives
TRANSFORM: Final = 1024  # length of the FFT: no shorter than window and longest lag together

Floats = NDArray[np.float32]


class Pitch(NamedTuple):
    """Of consecutive blocks: lag in samples, int32 [..., blocks], and correlation there, float32 [..., blocks]."""

    lags: NDArray[np.int32]
    correlations: Floats


@functools.cache
def low_pass() -> Floats:
    """Filter [33] ahead of the autocorrelation, 1.2 kHz: higher harmonics of decoded speech are noisy."""
    taps, cutoff = 33, 1200.0
    place = np.arange(taps) - taps // 2
    response = np.hamming(taps) * np.sinc(2 * cutoff / SAMPLE_RATE * place)
    return (response / response.sum()).astype(np.float32)


def pitch_of(signal: Floats) -> Pitch:
    """The pitch of the blocks of a signal float32 [HISTORY + samples] after its history."""
    filtered = np.convolve(signal, low_pass().astype(np.float64), "valid")
    blocks = (len(signal) - HISTORY) // BLOCK
    ends = len(filtered) - BLOCK * np.arange(blocks - 1, -1, -1)
    frames = filtered[ends[:, None] + np.arange(-WINDOW, 0)]
    frames = frames - frames.mean(1, keepdims=True)
    products = np.fft.irfft(np.abs(np.fft.rfft(frames, TRANSFORM)) ** 2)[:, LAGS]
    energy = np.zeros((blocks, WINDOW + 1))
    np.cumsum(frames**2, 1, out=energy[:, 1:])
    first, last = energy[:, WINDOW - LAGS], energy[:, -1:] - energy[:, LAGS]
    correlations = products / (np.sqrt(np.maximum(first * last, 0.0)) + LEAST_ENERGY)
    best = np.argmax(correlations - LAG_COST * LAGS, 1)
    return Pitch(LAGS[best].astype(np.int32), correlations[np.arange(blocks), best].astype(np.float32))


def lagged(signal: Floats, lags: NDArray[np.integer]) -> Floats:
    """A signal beside its past.

    Args:
        signal: float32 [HISTORY + samples].
        lags: of the block before the first one, and of the blocks [1 + samples / BLOCK].

    Returns:
        float32 [samples, 5]: the signal now, one and two lags ago, and `AHEAD` samples after these.
    """
    place = np.arange(HISTORY, len(signal))
    block, within = np.divmod(place - HISTORY, BLOCK)
    new = np.minimum((within + 1) / FADE, 1).astype(np.float32)

    def ago(lag: NDArray[np.integer]) -> Floats:
        past: Floats = np.stack([signal[place - lag + ahead] for lag, ahead in _delays(lag)], -1)
        return past

    past = new[:, None] * ago(lags[1:][block]) + (1 - new)[:, None] * ago(lags[:-1][block])
    return np.concatenate([signal[place, None], past], -1)


def _delays(lag: NDArray[np.integer]) -> tuple[tuple[NDArray[np.integer], int], ...]:
    return (lag, 0), (2 * lag, 0), (lag, AHEAD), (2 * lag, AHEAD)
