"""LC3, the codec of Bluetooth LE Audio, through the programs of Google's liblc3."""

from __future__ import annotations

import io
import shlex
import shutil
import struct
from dataclasses import dataclass

import soundfile

from comparison.peers.peer import Packed, Peer, PeerError, Samples, debian_releases, run
from constants import SAMPLE_RATE

INSTALL = "apt-get install liblc3-tools"
PROGRAMS = ("elc3", "dlc3")
DEBIAN_PACKAGES = ("liblc3-tools", "liblc3-0")
KBPS = (16, 20, 24, 32)
MAGIC = 0xCC1C
DELAY_MS = 12.5  # Bluetooth LC3 specification 1.0: 10 ms frame, 2.5 ms of overlap


@dataclass(frozen=True)
class Lc3Peer(Peer):
    """LC3 at a constant rate, in frames of 10 ms.

    Attributes:
        kbps: 1000 bits per second.
    """

    kbps: int = 16

    @property
    def encode_command(self) -> tuple[str, ...]:
        """From a WAV file on standard input to a file of frames on standard output."""
        return ("elc3", "-b", str(1000 * self.kbps), "-m", "10")

    def commands(self) -> list[str]:
        return [shlex.join(self.encode_command), "dlc3"]

    def missing(self) -> str:
        lacking = [name for name in PROGRAMS if not shutil.which(name)]
        return f"{' and '.join(lacking)}, found none: {INSTALL}" if lacking else ""

    def versions(self) -> dict[str, str]:
        return debian_releases(DEBIAN_PACKAGES)

    def through(self, samples: Samples) -> Packed:
        packed = run(self, self.encode_command, _wav(samples))
        try:
            decoded, rate = soundfile.read(io.BytesIO(run(self, ("dlc3",), packed)), dtype="float32")
        except soundfile.SoundFileError:
            raise PeerError(f"{self.name}: expected decoded speech, found none; skip the file") from None
        if rate != SAMPLE_RATE:
            raise PeerError(f"{self.name}: expected {SAMPLE_RATE} Hz, found {rate}; install another liblc3")
        return Packed(decoded, packet_bits(packed))


def _wav(samples: Samples) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")  # elc3 knows no other chunks
    return buffer.getvalue()


def packet_bits(data: bytes) -> int:
    """Bits of the frames of an LC3 file: given by the 16-bit lengths that precede them.

    Raises:
        PeerError: it is no such file.
    """
    if len(data) < 4 or struct.unpack_from("<H", data)[0] != MAGIC:
        raise PeerError(f"expected an LC3 file, found {data[:4]!r}; install another liblc3")
    bits, at = 0, struct.unpack_from("<H", data, 2)[0]
    while at + 2 <= len(data):
        length = struct.unpack_from("<H", data, at)[0]
        bits += 8 * length
        at += 2 + length
    return bits


PEERS: tuple[Peer, ...] = tuple(Lc3Peer(f"lc3-{kbps}", "LC3", delay_ms=DELAY_MS, kbps=kbps) for kbps in KBPS)
