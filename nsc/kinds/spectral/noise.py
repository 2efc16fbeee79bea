"""Noise that decoders add where codes leave holes: the same numbers on every machine, at every place of a stream."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

FIRST_MULTIPLIER, SECOND_MULTIPLIER = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)  # of the mixing function
RANGE: Final = float(np.sqrt(3.0))  # of a uniform distribution of unit variance, on both sides of 0


def noise(first: int, spectra: int, hop: int) -> NDArray[np.float32]:
    """White noise of unit variance, uniformly distributed, that depends on its place in the stream only.

    The number of a coefficient is mixed by two rounds of multiplication and shift, the 32-bit hash "lowbias32" of
    Wellons (2018); its upper 24 bits are the noise. Whole numbers only, so that all machines agree.

    Args:
        first: number of the first spectrum in the stream; spectra before the stream have negative ones.
        spectra: how many.
        hop: coefficients of a spectrum.

    Returns:
        float32 [spectra, hop].
    """
    number = (np.arange(spectra * hop, dtype=np.int64) + first * hop).astype(np.uint32)
    number = (number ^ number >> np.uint32(16)) * FIRST_MULTIPLIER
    number = (number ^ number >> np.uint32(15)) * SECOND_MULTIPLIER
    number ^= number >> np.uint32(16)
    share = (number >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)
    return ((2.0 * share - 1.0) * np.float32(RANGE)).reshape(spectra, hop)
