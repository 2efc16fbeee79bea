"""Constants of every format version."""

from typing import Final

SAMPLE_RATE: Final = 16_000  # Hz
# Probability tables are integers that sum to a power of two, so that every machine decodes the same symbols.
TABLE_PRECISION_BITS: Final = 16
TABLE_TOTAL: Final = 1 << TABLE_PRECISION_BITS
BEST_QUALITY: Final = 10.0  # of `quality`, from 0: the finest steps
