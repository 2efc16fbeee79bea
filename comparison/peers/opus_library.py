"""A current libopus, the one that PyAV brings, alongside the system's that ffmpeg uses."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comparison.peers.ffmpeg import OPUS_COMPLEXITY, OPUS_DECODED_RATE, OPUS_DELAY_MS, OPUS_KBPS
from comparison.peers.opus_packets import band_shares
from comparison.peers.peer import Packed, Peer, PeerError, Samples, Signal
from constants import SAMPLE_RATE
from nsc.format.channel import Channel
from utilities import resample

INSTALL = "pip install av"
FRAME_MS, LONG_FRAME_MS = 20, 40  # speech in a packet
MOST_BYTES = 1275  # of a packet, RFC 6716
WIDE_BAND = 1103  # OPUS_BANDWIDTH_WIDEBAND, as the numbers below from opus_defines.h
FORCED_KBPS = (6, 9, 12)  # where it chooses a narrower band
APPLICATIONS = {"voip": 2048, "audio": 2049}
CONTROLS = {
    "OPUS_SET_BITRATE": 4002,
    "OPUS_SET_VBR": 4006,
    "OPUS_SET_BANDWIDTH": 4008,
    "OPUS_SET_COMPLEXITY": 4010,
    "OPUS_SET_INBAND_FEC": 4012,
    "OPUS_SET_PACKET_LOSS_PERC": 4014,
    "OPUS_SET_VBR_CONSTRAINT": 4020,
}
LOOK_AHEAD = 104  # samples of the encoder, 6.5 ms, which PyAV's decoder takes off by itself


@dataclass(frozen=True)
class LibraryOpus(Peer):
    """Opus by PyAV, packet by packet.

    Attributes:
        application: of the encoder, voip or audio.
        mode: cbr or vbr.
        kbps: 1000 bits per second.
        wide: wide band is forced; otherwise the encoder chooses.
        frame_ms: speech in a packet.
        in_band: packets carry a copy of the one before (FEC) where the channel loses any, of which the encoder is told.
    """

    application: str = "audio"
    mode: str = "vbr"
    kbps: int = 16
    wide: bool = False
    in_band: bool = False
    frame_ms: int = FRAME_MS
    conceals: bool = True

    def options(self) -> dict[str, str]:
        """Of the encoder, as ffmpeg names them."""
        return {
            "application": self.application,
            "vbr": {"cbr": "off", "vbr": "on"}[self.mode],
            "compression_level": str(OPUS_COMPLEXITY),
            "frame_duration": str(self.frame_ms),
        }

    def commands(self) -> list[str]:
        if self._direct:
            return [f"opus_encoder_create of PyAV's libopus, {self._controls()}"]
        return [f"av.CodecContext.create('libopus', 'w'), bit_rate {1000 * self.kbps}, options {self.options()}"]

    def _controls(self) -> dict[str, int]:
        """Of the library's encoder where it is called directly, since PyAV cannot force a band."""
        variable = int(self.mode == "vbr")
        return {
            "OPUS_SET_BITRATE": 1000 * self.kbps,
            "OPUS_SET_VBR": variable,
            "OPUS_SET_VBR_CONSTRAINT": 0,
            "OPUS_SET_COMPLEXITY": OPUS_COMPLEXITY,
            **({"OPUS_SET_BANDWIDTH": WIDE_BAND} if self.wide else {}),
            **({"OPUS_SET_INBAND_FEC": 1} if self.in_band else {}),
        }

    @property
    def _direct(self) -> bool:
        return self.wide or self.in_band

    def missing(self) -> str:
        return "" if importlib.util.find_spec("av") else f"PyAV, found none: {INSTALL}"

    def versions(self) -> dict[str, str]:
        return releases()

    def through(self, samples: Samples) -> Packed:
        import av

        if self._direct:
            return self.through_channel(samples, Channel(0.0))
        try:
            encoder = self._encoder()
            packets = [*self._encoded(encoder, samples)]
            decoded = _decoded(bytes(encoder.extradata), packets)
        except av.FFmpegError as error:
            raise PeerError(f"{self.name}: PyAV failed ({error}); skip the file") from None
        return Packed(resample(decoded, OPUS_DECODED_RATE), 8 * sum(map(len, packets)), band_shares(packets))

    def through_channel(self, samples: Samples, channel: Channel) -> Packed:
        """See Peer; the library itself decodes and conceals, at 16 kHz."""
        if self._direct:
            told = {"OPUS_SET_PACKET_LOSS_PERC": round(100 * channel.loss)} if self.in_band else {}
            packets = _LibraryEncoder(self.application, self._controls() | told).encoded(samples, self._frame)
        else:
            packets = [*self._encoded(self._encoder(), samples)]
        decoder = _LibraryDecoder(self._frame)
        lost = channel.losses(len(packets)) if channel.loss else np.zeros(len(packets), bool)
        arrived = [None if gone else packet for packet, gone in zip(packets, lost, strict=True)]
        if self.in_band:
            decoded = [decoder.decode(packet, copy) for packet, copy in zip(arrived, [*arrived[1:], None], strict=True)]
        else:
            decoded = [decoder.decode(packet) for packet in arrived]
        return Packed(np.concatenate(decoded)[LOOK_AHEAD:], 8 * sum(map(len, packets)), band_shares(packets))

    @property
    def _frame(self) -> int:
        """Samples in a packet."""
        return SAMPLE_RATE * self.frame_ms // 1000

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

        padded = np.append(samples, np.zeros(-len(samples) % self._frame, np.int16))
        for start in range(0, len(padded), self._frame):
            frame = av.AudioFrame.from_ndarray(padded[None, start : start + self._frame], "s16", "mono")
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


class _LibraryEncoder:
    """The encoder of PyAV's libopus, called directly: through PyAV no band can be forced."""

    def __init__(self, application: str, controls: Mapping[str, int]) -> None:
        library = _library()
        assert library
        library.opus_encoder_create.restype = ctypes.c_void_p
        library.opus_encoder_destroy.argtypes = [ctypes.c_void_p]
        error = ctypes.c_int()
        made = library.opus_encoder_create(SAMPLE_RATE, 1, APPLICATIONS[application], ctypes.byref(error))
        self._library, self._encoder = library, ctypes.c_void_p(made)
        if error.value:
            raise PeerError(f"libopus made no encoder (error {error.value}); install PyAV again: {INSTALL}")
        for name, value in controls.items():
            library.opus_encoder_ctl(self._encoder, CONTROLS[name], ctypes.c_int(value))

    def __del__(self) -> None:
        self._library.opus_encoder_destroy(self._encoder)

    def encoded(self, samples: Samples, frame: int) -> list[bytes]:
        """Packets of `frame` samples of speech [n], and one more, which the look-ahead needs."""
        padded = np.append(samples, np.zeros(-len(samples) % frame + frame, np.int16))
        return [self._packet(each) for each in padded.reshape(-1, frame)]

    def _packet(self, frame: Samples) -> bytes:
        place = np.ascontiguousarray(frame).ctypes.data_as(ctypes.POINTER(ctypes.c_int16))
        room = ctypes.create_string_buffer(MOST_BYTES)
        size = self._library.opus_encode(self._encoder, place, len(frame), room, MOST_BYTES)
        if size < 0:
            raise PeerError(f"libopus coded no packet (error {size}); skip the file")
        return room.raw[:size]


class _LibraryDecoder:
    """The decoder of PyAV's libopus, called directly, of packets of `frame` samples: through PyAV none can be lost."""

    def __init__(self, frame: int) -> None:
        library = _library()
        assert library
        library.opus_decoder_create.restype = ctypes.c_void_p
        library.opus_decoder_destroy.argtypes = [ctypes.c_void_p]
        error = ctypes.c_int()
        self._library, self._frame = library, frame
        self._decoder = ctypes.c_void_p(library.opus_decoder_create(SAMPLE_RATE, 1, ctypes.byref(error)))
        if error.value:
            raise PeerError(f"libopus made no decoder (error {error.value}); install PyAV again: {INSTALL}")

    def __del__(self) -> None:
        self._library.opus_decoder_destroy(self._decoder)

    def decode(self, packet: bytes | None, following: bytes | None = None) -> Signal:
        """A packet's speech, or for a lost one that of the copy in the one that follows, if any, or concealed."""
        sound = np.zeros(self._frame, np.float32)
        place = sound.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        data, from_copy = packet or following, int(not packet and bool(following))
        size = len(data) if data else 0
        found = self._library.opus_decode_float(self._decoder, data, size, place, self._frame, from_copy)
        if found != self._frame:
            raise PeerError(f"expected {self._frame} samples of each packet, found {found}; skip the file")
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


def _peer(
    application: str, mode: str, kbps: int, *, wide: bool = False, in_band: bool = False, frame_ms: int = FRAME_MS
) -> LibraryOpus:
    long = frame_ms > FRAME_MS
    return LibraryOpus(
        f"opus-av-{f'{frame_ms}ms-' * long}{'wide-' * wide}{'fec-' * in_band}{application}-{mode}-{kbps}",
        f"Opus (av) {f'{frame_ms} ms ' * long}{'wide band ' * wide}{'FEC ' * in_band}{application} {mode.upper()}",
        delay_ms=OPUS_DELAY_MS + frame_ms - FRAME_MS + frame_ms * in_band,
        high_pass=application == "voip",
        application=application,
        mode=mode,
        kbps=kbps,
        wide=wide,
        in_band=in_band,
        frame_ms=frame_ms,
    )


PEERS: tuple[Peer, ...] = (
    *(
        _peer(application, mode, kbps)
        for application in ("audio", "voip")
        for mode in ("cbr", "vbr")
        for kbps in OPUS_KBPS
    ),
    *(_peer("audio", mode, kbps, wide=True) for mode in ("cbr", "vbr") for kbps in FORCED_KBPS),
    *(
        _peer("audio", "vbr", kbps, in_band=in_band, frame_ms=frame_ms)
        for in_band, frame_ms in ((True, FRAME_MS), (False, LONG_FRAME_MS), (True, LONG_FRAME_MS))
        for kbps in OPUS_KBPS
    ),
)
