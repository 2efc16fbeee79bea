"""Random numbers of an epoch."""

from __future__ import annotations

import numpy as np


def generator_of(seed_and_epoch: tuple[int, int], *key: int) -> np.random.Generator:
    """Random numbers that (seed, epoch) and a key within the epoch decide: none for an order, the step for gains."""
    # A named bit generator draws the same everywhere; the spawn key keeps steps off the order's stream.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed_and_epoch, spawn_key=key)))
