"""Classical codecs on the same speech, through ffmpeg: the bits of their packets and their decoded signals, aligned."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import io
import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from constants import SAMPLE_RATE
from nsc.errors import UserError
from utilities import INT16_SCALE, atomic_write, resample, to_int16

INSTALL = "apt-get install ffmpeg libavcodec-extra"
DEBIAN_PACKAGES = ("ffmpeg", "libavcodec-extra", "libopus0", "libvo-amrwbenc0", "libopencore-amrwb0", "libspeex1")
DELAY_MARGIN = 4  # samples about a codec's known delay within which the alignment is looked for, see find_delay
SECONDS_TO_WAIT = 600  # for ffmpeg, before it counts as stuck

OPUS_KBPS = (6, 9, 12, 16, 20, 24, 32)
OPUS_DECODED_RATE = 48_000
AMR_WB_KBPS = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
AMR_WB_MAGIC = b"#!AMR-WB\n"
AMR_WB_SPEECH_BITS = (132, 177, 253, 285, 317, 365, 397, 461, 477)  # a frame of 20 ms, 3GPP TS 26.201 table 2
SPEEX_QUALITIES = (3, 5, 6, 7, 8, 9)
OGG_HEADER_PACKETS = 2  # identification and comment, in Opus and in Speex

RAW = ("-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "1")
QUIET = ("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error")


class PeerError(UserError):
    """A codec that failed on a file."""


class Coded(NamedTuple):
    """What a codec made of a signal.

    decoded: int16 [n], aligned with the signal and as long.
    bits: of all packets, without the container.
    delay: samples by which the codec was late, now taken off.
    """

    decoded: NDArray[np.int16]
    bits: int
    delay: int


@dataclass(frozen=True)
class Peer:
    """A codec at one rate.

    Attributes:
        name: family, mode and rate, such as opus-voip-cbr-16.
        family: what a curve joins, for people.
        encoder: ffmpeg's name of the encoder; empty for what needs none.
        decoder: ffmpeg's name of the decoder.
        options: of the encoder.
        container: ffmpeg's name of the format between encoder and decoder.
        count_bits: bits of the packets in bytes of that container.
        decoded_rate: sample rate of the decoder in Hz.
        delay: samples by which decoded speech is late; so much silence is coded behind it, that all of it comes out.
        high_pass: the encoder removes low frequencies, so that waveform measures cannot be compared.
    """

    name: str
    family: str
    encoder: str
    decoder: str
    options: tuple[str, ...]
    container: str
    count_bits: Callable[[bytes], int]
    decoded_rate: int = SAMPLE_RATE
    delay: int = 0
    high_pass: bool = False

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
        """The exact command lines, for the record."""
        return [shlex.join(self.encode_command), shlex.join(self.decode_command)] if self.encoder else []


def _whole_bits(data: bytes) -> int:
    return 8 * len(data)


def ogg_packet_bits(data: bytes) -> int:
    """Bits of the audio packets of an Ogg stream: what its segment tables list, but for the two header packets."""
    lacing: list[int] = []
    start = 0
    while data[start : start + 4] == b"OggS":
        segments = data[start + 27 : start + 27 + data[start + 26]]
        lacing += segments
        start += 27 + len(segments) + sum(segments)
    ends = [place for place, length in enumerate(lacing) if length < 255]
    first = ends[OGG_HEADER_PACKETS - 1] + 1 if len(ends) >= OGG_HEADER_PACKETS else len(lacing)
    return 8 * sum(lacing[first:])


def amr_wb_bits(data: bytes) -> int:
    """Speech bits of an AMR-WB file: those of its frames' modes, without the byte that names the mode."""
    bits, at = 0, len(AMR_WB_MAGIC)
    while at < len(data):
        mode = data[at] >> 3 & 0xF
        frame = AMR_WB_SPEECH_BITS[mode] if mode < len(AMR_WB_SPEECH_BITS) else 0
        bits += frame
        at += 1 + -(-frame // 8)
    return bits


def _opus(application: str, mode: str, kbps: int) -> Peer:
    options = ("-b:a", f"{kbps}k", "-vbr", {"cbr": "off", "vbr": "on"}[mode], "-application", application)
    return Peer(
        f"opus-{application}-{mode}-{kbps}",
        f"Opus {application} {mode.upper()}",
        "libopus",
        "libopus",
        (*options, "-frame_duration", "20"),
        "ogg",
        ogg_packet_bits,
        decoded_rate=OPUS_DECODED_RATE,
        high_pass=application == "voip",
    )


def _amr_wb(kbps: float) -> Peer:
    options = ("-b:a", str(round(1000 * kbps)))
    name, encoder, decoder = f"amr-wb-{kbps:g}", "libvo_amrwbenc", "libopencore_amrwb"
    return Peer(name, "AMR-WB", encoder, decoder, options, "amr", amr_wb_bits, delay=95, high_pass=True)


def _speex(quality: int) -> Peer:
    options = ("-cbr_quality", str(quality))
    name = f"speex-{quality}"
    return Peer(name, "Speex", "libspeex", "libspeex", options, "ogg", ogg_packet_bits, delay=223, high_pass=True)


PEERS = {
    peer.name: peer
    for peer in (
        *(
            _opus(application, mode, kbps)
            for application in ("audio", "voip")
            for mode in ("cbr", "vbr")
            for kbps in OPUS_KBPS
        ),
        *map(_amr_wb, AMR_WB_KBPS),
        *map(_speex, SPEEX_QUALITIES),
        Peer("g722", "G.722", "g722", "g722", (), "g722", _whole_bits, delay=22),
        Peer("pcm16", "16-bit PCM", "", "", (), "", _whole_bits),
    )
}


def find_peers(patterns: Sequence[str]) -> list[Peer]:
    """The codecs whose names match any of the patterns, such as opus-*-cbr-*.

    Raises:
        UserError: a pattern matches none.
    """
    for pattern in patterns:
        if not fnmatch.filter(PEERS, pattern):
            raise UserError(f"expected a codec, found '{pattern}'; the names are {', '.join(PEERS)}")
    return [peer for name, peer in PEERS.items() if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


def missing(peer: Peer) -> str:
    """Why a codec cannot be used here and how to install it; empty if it can."""
    if not peer.encoder:
        return ""
    if not shutil.which("ffmpeg"):
        return f"{peer.name} needs ffmpeg, found none: {INSTALL}"
    lacking = [f"encoder {peer.encoder}"] * (peer.encoder not in _coders("encoders"))
    lacking += [f"decoder {peer.decoder}"] * (peer.decoder not in _coders("decoders"))
    return f"{peer.name} needs ffmpeg's {' and '.join(lacking)}, found none: {INSTALL}" if lacking else ""


@functools.cache
def _coders(kind: str) -> frozenset[str]:
    lines = _output([*QUIET, f"-{kind}"]).splitlines()
    return frozenset(words[1] for words in map(str.split, lines) if len(words) > 1)


@functools.cache
def versions() -> dict[str, str]:
    """Releases of ffmpeg and, on Debian, of the codecs' own libraries."""
    if not shutil.which("ffmpeg"):
        return {}
    found = {"ffmpeg": _output(["ffmpeg", "-version"]).split("\n", 1)[0]}
    if shutil.which("dpkg-query"):
        lines = _output(["dpkg-query", "-W", "-f", "${Package}\t${Version}\n", *DEBIAN_PACKAGES]).splitlines()
        found |= {f"Debian {name}": version for name, _, version in (line.partition("\t") for line in lines)}
    return found


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_WAIT).stdout


def code(peer: Peer, samples: NDArray[np.int16]) -> Coded:
    """A signal [n] of 16 kHz through a codec.

    Raises:
        PeerError: the codec is not installed, or it failed.
    """
    if not peer.encoder:
        return Coded(samples, 16 * len(samples), 0)
    reason = missing(peer)
    if reason:
        raise PeerError(reason)
    packed = _through(peer, peer.encode_command, np.append(samples, np.zeros(peer.delay, np.int16)).tobytes())
    decoded = np.frombuffer(_through(peer, peer.decode_command, packed), np.float32)
    if not len(decoded):
        raise PeerError(f"{peer.name}: expected decoded speech, found none; leave the file out")
    decoded = resample(decoded, peer.decoded_rate)
    delay = find_delay(samples / INT16_SCALE, decoded, peer.delay - DELAY_MARGIN, peer.delay + DELAY_MARGIN)
    return Coded(to_int16(_shifted(decoded, delay, len(samples))), peer.count_bits(packed), delay)


def _through(peer: Peer, command: Sequence[str], data: bytes) -> bytes:
    try:
        finished = subprocess.run(command, input=data, capture_output=True, timeout=SECONDS_TO_WAIT)
    except subprocess.TimeoutExpired:
        raise PeerError(f"{peer.name}: ffmpeg did not end within {SECONDS_TO_WAIT} s; leave the file out") from None
    if finished.returncode:
        lines = finished.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise PeerError(f"{peer.name}: ffmpeg failed with status {finished.returncode} ({lines[-1]})")
    return finished.stdout


def find_delay(reference: NDArray[np.floating], decoded: NDArray[np.floating], first: int, last: int) -> int:
    """Samples, `first` to `last`, by which `decoded` comes after `reference`: where they correlate best.

    Differences of neighbouring samples are correlated, since a high-pass turns the phase of low frequencies. The range
    is narrow where the codec's delay is known: at low rates a period of the pitch may correlate better.
    """
    shifts = range(first, last + 1)
    wanted = np.diff(reference)
    products = [float(wanted @ np.diff(_shifted(decoded, shift, len(reference)))) for shift in shifts]
    return shifts[int(np.argmax(products))] if any(products) else (first + last) // 2


def _shifted(decoded: NDArray[np.floating], delay: int, length: int) -> NDArray[np.floating]:
    """Samples `delay` to `delay + length`, zeros outside of the signal."""
    shifted = np.zeros(length, decoded.dtype)
    start, end = max(0, -delay), min(length, len(decoded) - delay)
    if end > start:
        shifted[start:end] = decoded[start + delay : end + delay]
    return shifted


def code_cached(peer: Peer, samples: NDArray[np.int16], cache_dir: Path) -> tuple[Coded, Path]:
    """As `code`, remembered as a FLAC file by content, command lines and versions.

    Returns:
        What the codec made, and the decoded file.
    """
    rule = json.dumps([peer.name, peer.commands(), versions(), peer.delay, DELAY_MARGIN])
    key = hashlib.sha256(rule.encode() + samples.astype("<i2").tobytes()).hexdigest()[:24]
    path = cache_dir / peer.name / f"{key}.flac"
    remembered = _remembered(path)
    if remembered is None:
        remembered = code(peer, samples)
        write_flac(path, remembered.decoded, json.dumps({"bits": remembered.bits, "delay": remembered.delay}))
    return remembered, path


def _remembered(path: Path) -> Coded | None:
    try:
        with soundfile.SoundFile(path) as file:
            note = json.loads(file.comment)
            return Coded(file.read(dtype="int16"), int(note["bits"]), int(note["delay"]))
    except (OSError, soundfile.SoundFileError, ValueError, KeyError):
        return None  # not there, or damaged: made again


def write_flac(path: Path, samples: NDArray[np.int16], comment: str = "") -> None:
    """Writes samples [n] of 16 kHz with a comment, whole or not at all."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
        if comment:
            file.comment = comment
        file.write(samples)
    atomic_write(path, buffer.getvalue())
