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
from nsc.format.channel import Channel
from utilities import resample

INSTALL = "pip install av"
FRAME = 320  # samples, 20 ms
LOOK_AHEAD = 104  # samples of the encoder, 6.5 ms, which PyAV's decoder takes off by itself


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
    conceals: bool = True

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

    def through_channel(self, samples: Samples, channel: Channel) -> Packed:
        """See Peer; the library itself decodes and conceals, at 16 kHz."""
        packets = [*self._encoded(self._encoder(), samples)]
        decoder = _LibraryDecoder()
        pieces = zip(packets, channel.losses(len(packets)), strict=True)
        decoded = [decoder.decode(None if lost else packet) for packet, lost in pieces]
        return Packed(np.concatenate(decoded)[LOOK_AHEAD:], 8 * sum(map(len, packets)))

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


class _LibraryDecoder:
    """The decoder of PyAV's libopus, called directly: through PyAV no packet can be lost."""

    def __init__(self) -> None:
        library = _library()
        assert library
        library.opus_decoder_create.restype = ctypes.c_void_p
        library.opus_decoder_destroy.argtypes = [ctypes.c_void_p]
        error = ctypes.c_int()
        self._library = library
        self._decoder = ctypes.c_void_p(library.opus_decoder_create(SAMPLE_RATE, 1, ctypes.byref(error)))
        if error.value:
            raise PeerError(f"libopus made no decoder (error {error.value}); install PyAV again: {INSTALL}")

    def __del__(self) -> None:
        self._library.opus_decoder_destroy(self._decoder)

    def decode(self, packet: bytes | None) -> Signal:
        """20 ms of speech: of a packet, or concealed for a lost one."""
        sound = np.zeros(FRAME, np.float32)
        place = sound.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        size = len(packet) if packet else 0
        found = self._library.opus_decode_float(self._decoder, packet, size, place, FRAME, 0)
        if found != FRAME:
            raise PeerError(f"expected {FRAME} samples of each packet, found {found}; skip the file")
        return sound


@functools.cache
def releases() -> dict[str, str]:
    """Releases of PyAV and of the libopus that it brings."""
    if not importlib.util.find_spec("av"):
        return {}
    import av

    library = _library()
    return {"PyAV": str(av.__version__)} | ({"PyAV's": _release(library)} if library else {})


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The libopus that PyAV brings."""
    spec = importlib.util.find_spec("av")
    if not spec or not spec.origin:
        return None
    files = sorted((Path(spec.origin).parent.parent / "av.libs").glob("libopus-*"))
    return ctypes.CDLL(str(files[0])) if files else None


def _release(library: ctypes.CDLL) -> str:
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
