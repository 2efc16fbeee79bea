"""A current libopus, the one that PyAV brings, alongside the system's that ffmpeg uses."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comparison.peers.ffmpeg import OPUS_COMPLEXITY, OPUS_DECODED_RATE, OPUS_DELAY_MS, OPUS_KBPS
from comparison.peers.peer import Packed, Peer, PeerError, Samples, Signal
from constants import SAMPLE_RATE
from utilities import resample

INSTALL = "pip install av"
FRAME = 320  # samples, 20 ms


@dataclass(frozen=True)
class LibraryOpus(Peer):
    """Opus by PyAV, packet by packet.

    Attributes:
        application: of the encoder, voip or audio.
        mode: cbr or vbr.
        kbps: 1000 bits per second.
    """

    application: str = "audio"
    mode: str = "vbr"
    kbps: int = 16

    def options(self) -> dict[str, str]:
        """Of the encoder, as ffmpeg names them."""
        return {
            "application": self.application,
            "vbr": {"cbr": "off", "vbr": "on"}[self.mode],
            "compression_level": str(OPUS_COMPLEXITY),
            "frame_duration": "20",
        }

    def commands(self) -> list[str]:
        """See Peer."""
        return [f"av.CodecContext.create('libopus', 'w'), bit_rate {1000 * self.kbps}, options {self.options()}"]

    def missing(self) -> str:
        """See Peer."""
        return "" if importlib.util.find_spec("av") else f"PyAV, found none: {INSTALL}"

    def versions(self) -> dict[str, str]:
        """See Peer."""
        return releases()

    def through(self, samples: Samples) -> Packed:
        """See Peer."""
        import av

        try:
            encoder = self._encoder()
            packets = [*self._encoded(encoder, samples)]
            decoded = _decoded(bytes(encoder.extradata), packets)
        except av.FFmpegError as error:
            raise PeerError(f"{self.name}: PyAV failed ({error}); skip the file") from None
        return Packed(resample(decoded, OPUS_DECODED_RATE), 8 * sum(map(len, packets)))

    def _encoder(self) -> Any:
        import av

        encoder: Any = av.CodecContext.create("libopus", "w")
        encoder.bit_rate, encoder.sample_rate = 1000 * self.kbps, SAMPLE_RATE
        encoder.layout, encoder.format = "mono", "s16"
        encoder.options = self.options()
        encoder.open()
        return encoder

    def _encoded(self, encoder: Any, samples: Samples) -> Iterator[bytes]:
        import av

        padded = np.append(samples, np.zeros(-len(samples) % FRAME, np.int16))
        for start in range(0, len(padded), FRAME):
            frame = av.AudioFrame.from_ndarray(padded[None, start : start + FRAME], "s16", "mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, start
            yield from map(bytes, encoder.encode(frame))
        yield from map(bytes, encoder.encode(None))


def _decoded(header: bytes, packets: list[bytes]) -> Signal:
    import av

    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.extradata = header
    frames = [frame for data in packets for frame in decoder.decode(av.Packet(data))]
    sound = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
    return np.divide(sound, 32768, dtype=np.float32) if sound.dtype == np.int16 else sound.astype(np.float32)


@functools.cache
def releases() -> dict[str, str]:
    """Releases of PyAV and of the libopus that it brings."""
    spec = importlib.util.find_spec("av")
    if not spec or not spec.origin:
        return {}
    import av

    libraries = sorted((Path(spec.origin).parent.parent / "av.libs").glob("libopus-*"))
    return {"PyAV": str(av.__version__)} | ({"PyAV's": _release(libraries[0])} if libraries else {})


def _release(path: Path) -> str:
    library = ctypes.CDLL(str(path))
    library.opus_get_version_string.restype = ctypes.c_char_p
    return str(library.opus_get_version_string().decode())


PEERS: tuple[Peer, ...] = tuple(
    LibraryOpus(
        f"opus-av-{application}-{mode}-{kbps}",
        f"Opus (av) {application} {mode.upper()}",
        delay_ms=OPUS_DELAY_MS,
        high_pass=application == "voip",
        application=application,
        mode=mode,
        kbps=kbps,
    )
    for application in ("audio", "voip")
    for mode in ("cbr", "vbr")
    for kbps in OPUS_KBPS
)
