"""What the entropy coder's tables are made of in every kind: speech taken at random, and shares in whole numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nsc.coding.interface import Signal
from nsc.constants import TABLE_TOTAL
from nsc.errors import UserError
from utilities import load_speech


def speech_at_random(paths: Sequence[Path], random: np.random.Generator) -> Iterator[Signal]:
    """Signals [n] of 16 kHz of audio files in a random order, without those that cannot be read."""
    for number in random.permutation(len(paths)):
        try:
            yield load_speech(paths[number])
        except UserError:
            continue


def whole_tables(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Tables [n, alphabet] of whole numbers, at least 1 each, that sum to 2^16."""
    tables = 1 + np.floor(shares * (TABLE_TOTAL - shares.shape[1])).astype(np.int64)
    tables[np.arange(len(tables)), shares.argmax(1)] += TABLE_TOTAL - tables.sum(1)
    return tables
