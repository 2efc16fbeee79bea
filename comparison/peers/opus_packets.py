"""The band that Opus packets are coded in, by the byte that each begins with (RFC 6716, section 3.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

NARROW, MEDIUM, WIDE, SUPER_WIDE, FULL = "narrow", "medium", "wide", "super-wide", "full"
HIGHEST_HZ = {NARROW: 4000, MEDIUM: 6000, WIDE: 8000, SUPER_WIDE: 12_000, FULL: 20_000}
# SILK has configurations of four frame sizes, hybrid of two, CELT of four
CONFIGURATIONS = (
    *((band,) * 4 for band in (NARROW, MEDIUM, WIDE)),
    *((band,) * 2 for band in (SUPER_WIDE, FULL)),
    *((band,) * 4 for band in (NARROW, WIDE, SUPER_WIDE, FULL)),
)
BANDS = tuple(band for group in CONFIGURATIONS for band in group)


def band_of(packet: bytes) -> str:
    """The band of a packet that is not empty."""
    return BANDS[packet[0] >> 3]


def band_shares(packets: Sequence[bytes]) -> dict[str, float]:
    """The share of packets in each band, from the narrowest; empty packets do not count."""
    counts = Counter(band_of(packet) for packet in packets if packet)
    return {band: counts[band] / counts.total() for band in HIGHEST_HZ if counts[band]}
