"""Opus, AMR-WB, Speex and G.722 through ffmpeg."""

from __future__ import annotations

import functools
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from comparison.peers.opus_packets import band_shares
from comparison.peers.peer import Packed, Peer, PeerError, Samples, debian_releases, output_of, run
from constants import SAMPLE_RATE
from utilities import resample

INSTALL = "apt-get install ffmpeg libavcodec-extra"
DEBIAN_PACKAGES = ("ffmpeg", "libavcodec-extra", "libopus0", "libvo-amrwbenc0", "libopencore-amrwb0", "libspeex1")

OPUS_KBPS = (6, 9, 12, 16, 20, 24, 32)
OPUS_COMPLEXITY = 10  # the highest
OPUS_DECODED_RATE = 48_000
OPUS_DELAY_MS = 26.5  # RFC 6716: frames of 20 ms and 6.5 ms of look-ahead
AMR_WB_KBPS = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
AMR_WB_MAGIC = b"#!AMR-WB\n"
AMR_WB_SPEECH_BITS = (132, 177, 253, 285, 317, 365, 397, 461, 477)  # a frame of 20 ms, 3GPP TS 26.201 table 2
AMR_WB_DELAY_MS = 25.94  # 3GPP TS 26.190: 20 ms frame, 5 ms look-ahead, 0.94 ms of resampling
SPEEX_QUALITIES = (3, 5, 6, 7, 8, 9)
SPEEX_DELAY_MS = 34.0  # the Speex manual: 20 ms frame, 13.9 ms look-ahead in wideband
G722_DELAY_MS = 1.5  # 24 taps of the filter bank on either side
OGG_HEADER_PACKETS = 2  # identification and comment, in Opus and in Speex

RAW = ("-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "1")
QUIET = ("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error")


@dataclass(frozen=True)
class FfmpegPeer(Peer):
    """A codec that ffmpeg runs.

    Attributes:
        encoder: ffmpeg's name of the encoder.
        decoder: ffmpeg's name of the decoder.
        options: of the encoder.
        container: ffmpeg's name of the format between encoder and decoder.
        count_bits: bits of the packets in bytes of that container.
        bands_in: share of packets in each band in bytes of that container, where they tell.
        decoded_rate: sample rate of the decoder in Hz.
    """

    encoder: str = ""
    decoder: str = ""
    options: tuple[str, ...] = ()
    container: str = ""
    count_bits: Callable[[bytes], int] = len
    bands_in: Callable[[bytes], Mapping[str, float]] = lambda data: {}
    decoded_rate: int = SAMPLE_RATE

    @property
    def encode_command(self) -> tuple[str, ...]:
        """Takes raw 16-bit samples from standard input."""
        coding = ("-c:a", self.encoder, *self.options, "-f", self.container)
        return (*QUIET, *RAW, "-i", "pipe:0", *coding, "pipe:1")

    @property
    def decode_command(self) -> tuple[str, ...]:
        """Gives raw float32 samples to standard output."""
        coding = ("-f", self.container, "-c:a", self.decoder)
        return (*QUIET, *coding, "-i", "pipe:0", "-f", "f32le", "pipe:1")

    def commands(self) -> list[str]:
        return [shlex.join(self.encode_command), shlex.join(self.decode_command)]

    def missing(self) -> str:
        if not shutil.which("ffmpeg"):
            return f"ffmpeg, found none: {INSTALL}"
        lacking = [f"encoder {self.encoder}"] * (self.encoder not in coders("encoders"))
        lacking += [f"decoder {self.decoder}"] * (self.decoder not in coders("decoders"))
        return f"ffmpeg's {' and '.join(lacking)}, found none: {INSTALL}" if lacking else ""

    def versions(self) -> dict[str, str]:
        return releases()

    def through(self, samples: Samples) -> Packed:
        packed = run(self, self.encode_command, np.append(samples, np.zeros(self.delay, np.int16)).tobytes())
        decoded = np.frombuffer(run(self, self.decode_command, packed), np.float32)
        if not len(decoded):
            raise PeerError(f"{self.name}: expected decoded speech, found none; skip the file")
        return Packed(resample(decoded, self.decoded_rate), self.count_bits(packed), self.bands_in(packed))


@functools.cache
def coders(kind: str) -> frozenset[str]:
    """Names of ffmpeg's encoders or decoders."""
    lines = output_of([*QUIET, f"-{kind}"]).splitlines()
    return frozenset(words[1] for words in map(str.split, lines) if len(words) > 1)


@functools.cache
def releases() -> dict[str, str]:
    """Releases of ffmpeg and, on Debian, of the codecs' own libraries."""
    if not shutil.which("ffmpeg"):
        return {}
    return {"ffmpeg": output_of(["ffmpeg", "-version"]).split("\n", 1)[0]} | debian_releases(DEBIAN_PACKAGES)


def ogg_packet_bits(data: bytes) -> int:
    """Bits of the audio packets of an Ogg stream."""
    return 8 * sum(map(len, ogg_packets(data)))


def ogg_packets(data: bytes) -> list[bytes]:
    """The audio packets of an Ogg stream: pieces by its segment tables, except the two header packets."""
    packets, packet, start = [], b"", 0
    while data[start : start + 4] == b"OggS":
        segments = data[start + 27 : start + 27 + data[start + 26]]
        start += 27 + len(segments)
        for length in segments:
            packet += data[start : start + length]
            start += length
            if length < 255:  # a packet ends with its first segment that is not full
                packets.append(packet)
                packet = b""
    return packets[OGG_HEADER_PACKETS:]


def amr_wb_bits(data: bytes) -> int:
    """Speech bits of an AMR-WB file: those of its frames' modes, without the byte that names the mode."""
    bits, at = 0, len(AMR_WB_MAGIC)
    while at < len(data):
        mode = data[at] >> 3 & 0xF
        frame = AMR_WB_SPEECH_BITS[mode] if mode < len(AMR_WB_SPEECH_BITS) else 0
        bits += frame
        at += 1 + -(-frame // 8)
    return bits


def _opus(application: str, mode: str, kbps: int) -> FfmpegPeer:
    rate = ("-b:a", f"{kbps}k", "-vbr", {"cbr": "off", "vbr": "on"}[mode])
    quality = ("-application", application, "-compression_level", str(OPUS_COMPLEXITY), "-frame_duration", "20")
    return FfmpegPeer(
        f"opus-{application}-{mode}-{kbps}",
        f"Opus {application} {mode.upper()}",
        delay_ms=OPUS_DELAY_MS,
        high_pass=application == "voip",
        encoder="libopus",
        decoder="libopus",
        options=(*rate, *quality),
        container="ogg",
        count_bits=ogg_packet_bits,
        bands_in=lambda data: band_shares(ogg_packets(data)),
        decoded_rate=OPUS_DECODED_RATE,
    )


def _amr_wb(kbps: float) -> FfmpegPeer:
    return FfmpegPeer(
        f"amr-wb-{kbps:g}",
        "AMR-WB",
        delay=95,
        delay_ms=AMR_WB_DELAY_MS,
        high_pass=True,
        encoder="libvo_amrwbenc",
        decoder="libopencore_amrwb",
        options=("-b:a", str(round(1000 * kbps))),
        container="amr",
        count_bits=amr_wb_bits,
    )


def _speex(quality: int) -> FfmpegPeer:
    return FfmpegPeer(
        f"speex-{quality}",
        "Speex",
        delay=223,
        delay_ms=SPEEX_DELAY_MS,
        high_pass=True,
        encoder="libspeex",
        decoder="libspeex",
        options=("-cbr_quality", str(quality)),
        container="ogg",
        count_bits=ogg_packet_bits,
    )


def _g722() -> FfmpegPeer:
    return FfmpegPeer(
        "g722",
        "G.722",
        delay=22,
        delay_ms=G722_DELAY_MS,
        encoder="g722",
        decoder="g722",
        container="g722",
        count_bits=lambda data: 8 * len(data),
    )


PEERS: tuple[Peer, ...] = (
    *(
        _opus(application, mode, kbps)
        for application in ("audio", "voip")
        for mode in ("cbr", "vbr")
        for kbps in OPUS_KBPS
    ),
    *map(_amr_wb, AMR_WB_KBPS),
    *map(_speex, SPEEX_QUALITIES),
    _g722(),
)
