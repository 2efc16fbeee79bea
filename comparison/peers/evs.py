"""EVS, the 3GPP codec for Enhanced Voice Services, by programs that EVS_DIR names; none of it is in this project."""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from comparison.peers.peer import Packed, Peer, PeerError, Samples, run
from constants import SAMPLE_RATE
from utilities import INT16_SCALE

FOLDER_VARIABLE = "EVS_DIR"
PROGRAMS = ("EVS_cod", "EVS_dec")
KBPS = (7.2, 8.0, 9.6, 13.2, 16.4, 24.4)
DELAY_MS = 32.0  # 3GPP TS 26.441: 20 ms frame, 12 ms of look-ahead and resampling
GOOD_FRAME = 0x6B21  # ITU-T G.192: word that begins a frame, then the number of its bits, then a word per bit


@dataclass(frozen=True)
class EvsPeer(Peer):
    """EVS in wide band at one rate, without discontinuous transmission.

    Attributes:
        bits_per_second: of its primary mode.
    """

    bits_per_second: int = 9600

    def commands(self) -> list[str]:
        return [shlex.join(self._encoding("IN", "BITS")), shlex.join(self._decoding("BITS", "OUT"))]

    def _encoding(self, source: str, target: str) -> list[str]:
        return ["EVS_cod", str(self.bits_per_second), str(SAMPLE_RATE // 1000), source, target]

    def _decoding(self, source: str, target: str) -> list[str]:
        return ["EVS_dec", str(SAMPLE_RATE // 1000), source, target]

    def missing(self) -> str:
        folder = os.environ.get(FOLDER_VARIABLE, "")
        if not folder:
            return f"a build of 3GPP's reference code, found none: set {FOLDER_VARIABLE} to its folder"
        absent = [name for name in PROGRAMS if not os.access(Path(folder) / name, os.X_OK)]
        return f"{' and '.join(absent)} in {FOLDER_VARIABLE} {folder}, found none" if absent else ""

    def versions(self) -> dict[str, str]:
        folder = os.environ.get(FOLDER_VARIABLE, "")
        return {} if self.missing() else digests(Path(folder))

    def through(self, samples: Samples) -> Packed:
        programs = Path(os.environ[FOLDER_VARIABLE])
        with tempfile.TemporaryDirectory() as folder:
            speech, bits, decoded = (str(Path(folder, name)) for name in ("speech.raw", "speech.bits", "decoded.raw"))
            Path(speech).write_bytes(samples.astype("<i2").tobytes())
            for program, *arguments in (self._encoding(speech, bits), self._decoding(bits, decoded)):
                run(self, [str(programs / program), *arguments], b"")
            try:
                packed, sound = Path(bits).read_bytes(), np.fromfile(decoded, "<i2")
            except OSError:
                raise PeerError(f"{self.name}: expected decoded speech, found none; skip the file") from None
        return Packed(np.divide(sound, INT16_SCALE, dtype=np.float32), packet_bits(packed))


def packet_bits(data: bytes) -> int:
    """Bits of the frames of a file in the format of ITU-T G.192.

    Raises:
        PeerError: it is no such file.
    """
    words, at, bits = np.frombuffer(data[: len(data) // 2 * 2], "<u2"), 0, 0
    while at + 1 < len(words):
        if words[at] != GOOD_FRAME:
            raise PeerError(f"expected a frame of G.192, found {words[at]:#06x}; use another build of EVS")
        bits += int(words[at + 1])
        at += 2 + int(words[at + 1])
    return bits


@functools.cache
def digests(folder: Path) -> dict[str, str]:
    """Hashes of the programs, which name no release themselves."""
    return {name: f"sha256 {hashlib.sha256((folder / name).read_bytes()).hexdigest()[:16]}" for name in PROGRAMS}


PEERS: tuple[Peer, ...] = tuple(
    EvsPeer(f"evs-{kbps:g}", "EVS", margin=64, delay_ms=DELAY_MS, high_pass=True, bits_per_second=round(1000 * kbps))
    for kbps in KBPS
)
