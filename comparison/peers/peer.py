"""Peers: description of another codec, how to run it, and its decoded signal."""

from __future__ import annotations

import functools
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsc.coding.interface import Signal
from nsc.errors import UserError
from nsc.format.channel import Channel

SECONDS_TO_WAIT = 600  # for a program, before it counts as stuck

Samples = NDArray[np.int16]


class PeerError(UserError):
    """A codec that failed on a file."""


class Packed(NamedTuple):
    """Output of a codec.

    decoded: float32 [n] at 16 kHz, late by about the peer's `delay` samples.
    bits: of all packets, without the container.
    bands: share of packets in each band, where packets tell.
    """

    decoded: Signal
    bits: int
    bands: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True)
class Peer(ABC):
    """A codec at one rate.

    Attributes:
        name: family, mode and rate, such as opus-voip-cbr-16.
        family: what a curve joins, for people.
        delay: samples by which decoded speech is late; as much silence is coded after it, so that all of it comes out.
        margin: samples about `delay` within which the alignment is looked for.
        delay_ms: algorithmic delay of the codec in a conversation, frame and look-ahead, by its specification.
        high_pass: the encoder removes low frequencies, so that waveform measures cannot be compared.
        waveform: the decoder follows the waveform; False for one that generates another waveform of the same sound.
        conceals: losses can be tried, by `through_channel`.
        band: that it codes, where its packets do not tell.
    """

    name: str
    family: str
    delay: int = 0
    margin: int = 4
    delay_ms: float = 0.0
    high_pass: bool = False
    waveform: bool = True
    conceals: bool = False
    band: str = "wide"

    def missing(self) -> str:
        """What the codec needs that is not here, with the command that installs it; empty if nothing is missing."""
        return ""

    def commands(self) -> list[str]:
        """The exact command lines or calls, for the record."""
        return []

    def versions(self) -> dict[str, str]:
        """Releases of the programs and libraries that code."""
        return {}

    @abstractmethod
    def through(self, samples: Samples) -> Packed:
        """Codes and decodes a signal [n] of 16 kHz.

        Raises:
            PeerError: the codec failed.
        """

    def through_channel(self, samples: Samples, channel: Channel) -> Packed:
        """As `through`, with packets that the channel loses and the decoder conceals.

        Raises:
            PeerError: the codec failed, or it does not conceal.
        """
        raise PeerError(f"{self.name} conceals no losses here; choose opus-av-*, or no losses")


@dataclass(frozen=True)
class PlainPcm(Peer):
    """16-bit samples as they are."""

    def through(self, samples: Samples) -> Packed:
        return Packed(np.divide(samples, 32768, dtype=np.float32), 16 * len(samples))


def run(peer: Peer, command: Sequence[str], data: bytes) -> bytes:
    """Standard output of a program that gets `data` as its standard input.

    Raises:
        PeerError: it failed or did not end.
    """
    program = command[0]
    try:
        finished = subprocess.run(command, input=data, capture_output=True, timeout=SECONDS_TO_WAIT)
    except subprocess.TimeoutExpired:
        raise PeerError(f"{peer.name}: {program} did not end within {SECONDS_TO_WAIT} s; skip the file") from None
    if finished.returncode:
        lines = finished.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise PeerError(f"{peer.name}: {program} failed with status {finished.returncode} ({lines[-1]})")
    return finished.stdout


def output_of(command: Sequence[str]) -> str:
    """Standard output of a program that says something about itself."""
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_WAIT).stdout


@functools.cache
def debian_releases(packages: Sequence[str]) -> dict[str, str]:
    """Releases of installed packages, on Debian."""
    if not shutil.which("dpkg-query"):
        return {}
    lines = output_of(["dpkg-query", "-W", "-f", "${Package}\t${Version}\n", *packages]).splitlines()
    return {f"Debian {name}": version for name, _, version in (line.partition("\t") for line in lines)}


def find_delay(reference: NDArray[np.floating], decoded: NDArray[np.floating], first: int, last: int) -> int:
    """Samples, `first` to `last`, by which `decoded` comes after `reference`: where they correlate best.

    Differences of neighbouring samples are correlated, since a high-pass turns the phase of low frequencies. The range
    is narrow where the codec's delay is known: at low rates a period of the pitch may correlate better.
    """
    shifts = range(first, last + 1)
    target = np.diff(reference)
    products = [float(target @ np.diff(shifted(decoded, shift, len(reference)))) for shift in shifts]
    return shifts[int(np.argmax(products))] if any(products) else (first + last) // 2


def shifted(decoded: NDArray[np.floating], delay: int, length: int) -> NDArray[np.floating]:
    """Samples `delay` to `delay + length`, zeros outside of the signal."""
    moved = np.zeros(length, decoded.dtype)
    start, end = max(0, -delay), min(length, len(decoded) - delay)
    if end > start:
        moved[start:end] = decoded[start + delay : end + delay]
    return moved
