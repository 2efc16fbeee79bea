"""PLCMOS: how well lost packets were concealed, as a network hears it; it hears no reference."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from constants import SAMPLE_RATE
from measures.measurement import Signal, measurement


@measurement
def plcmos(reference: Signal, decoded: Signal) -> float:
    """PLCMOS version 2 of a decoded signal [n] at 16 kHz, 1 to 5 (Diener et al., Interspeech 2023)."""
    state = np.random.get_state()
    np.random.seed(0)  # it draws embeddings: the same for every file, so that scores repeat
    try:
        return float(_network().run(np.clip(decoded, -1, 1), sr=SAMPLE_RATE)["plcmos"])
    finally:
        np.random.set_state(state)


@functools.cache
def _network() -> Any:
    from speechmos import plcmos as network

    return network
