"""The codecs to compare with: their names, the bits of their packets and their decoded signals, aligned."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from comparison.peers import codec2, evs, ffmpeg, lc3, lyra, opus_library
from comparison.peers.peer import Peer, PeerError, PlainPcm, find_delay, shifted
from constants import SAMPLE_RATE
from nsc.errors import UserError
from nsc.format.channel import Channel
from utilities import INT16_SCALE, atomic_write, to_int16

__all__ = ["PEERS", "Coded", "PeerError", "code", "code_cached", "find_peers", "missing", "usable", "write_flac"]

LOSSLESS = Channel(0.0)
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        *ffmpeg.PEERS,
        *opus_library.PEERS,
        *lc3.PEERS,
        *lyra.PEERS,
        *codec2.PEERS,
        *evs.PEERS,
        PlainPcm("pcm16", "16-bit PCM", margin=0),
    )
}


class Coded(NamedTuple):
    """A signal coded by a codec.

    decoded: int16 [n], aligned with the signal and as long.
    bits: of all packets, without the container.
    delay: samples by which the codec was late, now taken off.
    bands: share of packets in each band, where packets tell.
    """

    decoded: NDArray[np.int16]
    bits: int
    delay: int
    bands: Mapping[str, float] = MappingProxyType({})


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
    lacking = peer.missing()
    return f"{peer.name} needs {lacking}" if lacking else ""


def usable(peers: Sequence[Peer]) -> tuple[list[Peer], dict[str, list[str]]]:
    """Those that can be used here, and the names of the others by what they need."""
    able: list[Peer] = []
    lacking: defaultdict[str, list[str]] = defaultdict(list)
    for peer in peers:
        need = peer.missing()
        if need:
            lacking[need].append(peer.name)
        else:
            able.append(peer)
    return able, dict(lacking)


def code(peer: Peer, samples: NDArray[np.int16], channel: Channel = LOSSLESS) -> Coded:
    """A signal [n] of 16 kHz through a codec and a channel.

    Raises:
        PeerError: the codec is not installed, or it failed.
    """
    reason = missing(peer)
    if reason:
        raise PeerError(reason)
    whole = peer.through_channel(samples, LOSSLESS) if channel.loss else peer.through(samples)
    # the delay is that of the codec: what was concealed would lead astray
    delay = find_delay(samples / INT16_SCALE, whole.decoded, peer.delay - peer.margin, peer.delay + peer.margin)
    decoded, bits, bands = peer.through_channel(samples, channel) if channel.loss else whole
    return Coded(to_int16(shifted(decoded, delay, len(samples))), bits, delay, bands)


def code_cached(
    peer: Peer, samples: NDArray[np.int16], cache_dir: Path, channel: Channel = LOSSLESS
) -> tuple[Coded, Path]:
    """As `code`, remembered as a FLAC file by content, channel, command lines and versions.

    Returns:
        What the codec made, and the decoded file.
    """
    rule = json.dumps(
        [peer.name, peer.commands(), peer.versions(), peer.delay, peer.margin, *([channel] if channel.loss else [])]
    )
    key = hashlib.sha256(rule.encode() + samples.astype("<i2").tobytes()).hexdigest()[:24]
    path = cache_dir / peer.name / f"{key}.flac"
    remembered = _remembered(path)
    if remembered is None:
        remembered = code(peer, samples, channel)
        note = {"bits": remembered.bits, "delay": remembered.delay, "bands": dict(remembered.bands)}
        write_flac(path, remembered.decoded, json.dumps(note))
    return remembered, path


def _remembered(path: Path) -> Coded | None:
    try:
        with soundfile.SoundFile(path) as file:
            note = json.loads(file.comment)
            return Coded(file.read(dtype="int16"), int(note["bits"]), int(note["delay"]), dict(note["bands"]))
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
