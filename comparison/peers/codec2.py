"""Codec 2, a parametric codec for narrow-band speech at 3.2 kbps and less, through pycodec2."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np

from comparison.peers.opus_packets import NARROW
from comparison.peers.peer import Packed, Peer, Samples
from constants import SAMPLE_RATE
from runs.runs import version_of
from utilities import INT16_SCALE, resample, to_int16

INSTALL = "pip install pycodec2"
CODED_RATE = 8000  # Hz
FRAME_MS = {1.6: 40.0, 2.4: 20.0, 3.2: 20.0}  # by kbps
DELAY = 250  # samples of 16 kHz by which envelopes are late, measured; waveforms do not tell


@dataclass(frozen=True)
class Codec2Peer(Peer):
    """Codec 2 at one of its rates.

    Attributes:
        bits_per_second: of its mode.
    """

    bits_per_second: int = 3200

    def commands(self) -> list[str]:
        return [f"pycodec2.Codec2({self.bits_per_second}) at {CODED_RATE} Hz"]

    def missing(self) -> str:
        return "" if importlib.util.find_spec("pycodec2") else f"pycodec2, found none: {INSTALL}"

    def versions(self) -> dict[str, str]:
        version = version_of("pycodec2")
        return {"pycodec2": version} if version else {}

    def through(self, samples: Samples) -> Packed:
        import pycodec2

        codec: Any = pycodec2.Codec2(self.bits_per_second)
        size = codec.samples_per_frame()
        narrow = _halved(np.append(samples, np.zeros(self.delay, np.int16)))
        frames = np.append(narrow, np.zeros(-len(narrow) % size, np.int16)).reshape(-1, size)
        decoded = np.concatenate([codec.decode(codec.encode(frame)) for frame in frames])
        wide = resample(np.divide(decoded, INT16_SCALE, dtype=np.float32), CODED_RATE)
        spoken = -(-len(samples) // (2 * size))  # frames, without those of the silence after the speech
        return Packed(wide, spoken * codec.bits_per_frame())


def _halved(samples: Samples) -> Samples:
    from scipy.signal import resample_poly

    return to_int16(resample_poly(samples / INT16_SCALE, CODED_RATE, SAMPLE_RATE).astype(np.float32))


PEERS: tuple[Peer, ...] = tuple(
    Codec2Peer(
        f"codec2-{kbps:g}",
        "Codec 2",
        delay=DELAY,
        margin=0,
        delay_ms=frame_ms + 1000 * DELAY / SAMPLE_RATE,
        high_pass=True,
        waveform=False,
        band=NARROW,
        bits_per_second=round(1000 * kbps),
    )
    for kbps, frame_ms in FRAME_MS.items()
)
