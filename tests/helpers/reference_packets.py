"""A decoder of packets to symbols written from docs/bitstream.md alone, slowly and plainly, in whole numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.helpers.reference_decoder import ReferenceRangeDecoder

LOG_ONE = 256
LSFS = 16
Rows = list[list[int]]


class Packet(NamedTuple):
    """What a packet says, and what contexts of the next one need: all spectra back to the one that stands alone."""

    level: int
    offset: int
    lsf: Rows
    gains: list[int]
    indices: list[Rows]
    means: list[int]
    past: list[Rows]


class ReferencePacketDecoder:
    """Packets of one stream, in order."""

    def __init__(self, arrays: Mapping[str, Any], spectra_per_frame: int, frames: int, codecs: int) -> None:
        self.model = {key: arrays[key].tolist() for key in arrays}
        self.spectra, self.frames, self.codecs = spectra_per_frame, frames, codecs
        self.bins = len(self.model["codec_1:offsets"])
        self.before: Packet | None = None
        self.tanh = [round(4096 * math.tanh((i + 0.5) / 128 - 4)) for i in range(1024)]

    def decode(self, packet: bytes) -> Packet | None:
        """The next packet; None for one that cannot be decoded, or one that was lost, if there are no bytes."""
        before, self.before = self.before, None
        parts = split(packet, self.codecs)
        coder = ReferenceRangeDecoder(parts[0])
        kind = coder.decode([44000, 16000, 4000, 1536])
        if kind > 1 or (kind == 0 and before is None):
            return None
        offsets = len(self.model["offsets"])
        if kind == 1 or before is None:
            before, steps = None, [coder.decode(even(64)), coder.decode(even(offsets))]
        else:
            level = (before.level + coder.decode(differences(64))) % 64
            steps = [level, (before.offset + coder.decode(differences(offsets))) % offsets]
        self.before = self._decode(parts, coder, steps, before)
        return self.before

    def _decode(
        self, parts: Sequence[bytes], coder: ReferenceRangeDecoder, steps: list[int], before: Packet | None
    ) -> Packet:
        level, offset = steps
        lsf = self._lsfs(coder, before)
        gains: list[int] = []
        last = 64
        if before:
            last = min(max(before.gains[-1] + before.level - level, 0), 63)
        for _ in range(self.spectra * self.frames):
            gains.append(coder.decode(self.model["gains:tables"][gains[-1] if gains else last]))
        shapes = [self._shape(lsf[spectrum // self.spectra]) for spectrum in range(len(gains))]
        envelopes = [[value + gain_log(gain) for value in shape] for shape, gain in zip(shapes, gains, strict=True)]
        means = [sum(envelope) // self.bins for envelope in envelopes]
        past_means = []
        if before:
            shape = self._shape(before.lsf[-1])
            past_means = [sum(value + gain_log(last) for value in shape) // self.bins]
        found: list[Rows] = []
        for number in range(self.codecs):
            coder = ReferenceRangeDecoder(parts[number]) if number else coder
            rows = [*before.past[number]] if before else []
            start = len(rows)
            for spectrum, gain in enumerate(gains):
                rows.append([0] * self.bins)
                if gain:
                    mean_before = (past_means + means[:spectrum])[-1:]
                    wide = [
                        means[spectrum],
                        means[spectrum] - mean_before[0] if mean_before else 0,
                        LOG_ONE * (len(rows) > 1),
                        LOG_ONE * (len(rows) > 2),
                        self.model["offsets"][offset],
                    ]
                    below = found[number - 1][spectrum] if number else None
                    self._indices(coder, number, rows, below, envelopes[spectrum], wide)
            found.append(rows[start:])
        past = [((before.past[number] if before else []) + indices)[-2:] for number, indices in enumerate(found)]
        return Packet(level, offset, lsf, gains, found, means, past)

    def _lsfs(self, coder: ReferenceRangeDecoder, before: Packet | None) -> Rows:
        model, rows = self.model, [before.lsf[-1]] if before else []
        start = len(rows)
        for _ in range(self.frames):
            state, row = int(bool(rows)), list[int]()
            for i in range(LSFS):
                angles = [model["lsf:angles"][symbol] for symbol in row]
                e = model["lsf:bias"][state][i] + dot(model["lsf:below"][state][i][:i], angles)
                if state:
                    e += dot(model["lsf:before"][i], [model["lsf:angles"][symbol] for symbol in rows[-1]])
                count = model["lsf:counts"][state][i]
                place = (e - model["lsf:first"][state][i]) // model["lsf:step"][state][i]
                counts = [each for of_state in model["lsf:counts"] for each in of_state]
                first = sum(counts[: LSFS * state + i])
                row.append(coder.decode(model["lsf:tables"][first + min(max(place, 0), count - 1)]))
            rows.append(row)
        return rows[start:]

    def _shape(self, lsf: list[int]) -> list[int]:
        cosines = sorted((self.model["lsf:cosines"][symbol] for symbol in lsf), reverse=True)
        found = []
        for k in range(self.bins):
            angle = (k + 0.5) * math.pi / self.bins
            x = round(2**20 * 2 * math.cos(angle))
            m = round(2**20 * 0.0075 * 2 * math.sin(angle))
            parts = [2 * (log(max(abs(x - c), m)) - 20 * LOG_ONE) for c in cosines]
            p = log(2**21 + x) - 20 * LOG_ONE + sum(parts[0::2])
            q = log(2**21 - x) - 20 * LOG_ONE + sum(parts[1::2])
            f = round(LOG_ONE * math.log2(1e-5))
            found.append(-(add(add(p, q) - 512, f) >> 1))
        return found

    def _indices(
        self,
        coder: ReferenceRangeDecoder,
        number: int,
        rows: Rows,
        below: list[int] | None,
        envelope: list[int],
        wide: list[int],
    ) -> None:
        row = rows[-1]
        before = rows[-2] if len(rows) > 1 else [0] * self.bins
        long_before = rows[-3] if len(rows) > 2 else [0] * self.bins
        rounds: list[tuple[range, list[tuple[int, ...]]]] = [
            (range(0, self.bins, 4), []),
            (range(2, self.bins, 4), [(-2, 2), (-6, 6)]),
            (range(1, self.bins, 2), [(-1, 1), (-3, 3), (-5, 5, -7, 7, -9, 9)]),
        ]

        def around(values: list[int], k: int, distances: Sequence[int]) -> int:
            found = [min(abs(values[k + d]), 15) for d in distances if 0 <= k + d < self.bins]
            return round(LOG_ONE * math.log2(1 + 2 * sum(found)))

        for r, (places, same) in enumerate(rounds):
            weights = {name: self.model[f"codec_{number + 1}:round_{r}:{name}"] for name in WEIGHTS}
            for k in places:
                v = [around(before, k, d) for d in [(0,), (-1, 1), (-2, 2, -3, 3), (-4, 4, -5, 5, -6, 6, -8, 8)]]
                v += [around(long_before, k, d) for d in [(0,), (-1, 1, -2, 2)]]
                v += [around(row, k, d) for d in same]
                if below is not None:
                    v += [around(below, k, d) for d in [(0,), (-1, 1)]]
                v += [envelope[k], *wide]
                p = dot(v, weights["direct"]) + self.model[f"codec_{number + 1}:offsets"][k]
                for u, bias in enumerate(weights["bias"]):
                    place = ((dot(v, [each[u] for each in weights["hidden"]]) + bias) >> 13) + 512
                    p += self.tanh[min(max(place, 0), 1023)] * weights["output"][u]
                tables = self.model[f"codec_{number + 1}:tables"]
                row[k] = coder.decode(tables[min(max((p + 2**23) >> 24, 0), len(tables) - 1)]) - 63


WEIGHTS = ("hidden", "bias", "output", "direct")


def split(packet: bytes, count: int) -> list[bytes]:
    """Lengths of all parts but the last, seven bits a byte, then the parts."""
    lengths, at = [], 0
    for _ in range(count - 1):
        value = shift = 0
        while True:
            byte = packet[at]
            at, value, shift = at + 1, value + ((byte & 127) << shift), shift + 7
            if byte < 128:
                break
        lengths.append(value)
    parts = []
    for length in lengths:
        parts.append(packet[at : at + length])
        at += length
    return [*parts, packet[at:]]


def even(alphabet: int) -> list[int]:
    """Counts of level and offset in a packet that stands alone."""
    share = 2**16 // alphabet
    return [2**16 - share * (alphabet - 1), *[share] * (alphabet - 1)]


def differences(alphabet: int) -> list[int]:
    """Counts of level and offset in a packet that follows another."""
    if alphabet <= 7:
        return even(alphabet)
    counts = [3136 // (alphabet - 7)] * alphabet
    for size, count in enumerate((3500, 1200, 500), start=1):
        counts[size] = counts[alphabet - size] = count
    counts[0] = 2**16 - sum(counts[1:])
    return counts


def dot(first: Sequence[int], second: Sequence[int]) -> int:
    """Sum of products."""
    return sum(a * b for a, b in zip(first, second, strict=True))


def gain_log(gain: int) -> int:
    """What a gain adds to the envelope."""
    return round(LOG_ONE * math.log2(10) * (1.5 * gain - 72) / 20)


def log(n: int) -> int:
    """Section 'Envelope'."""
    bits = n.bit_length()
    r = (n << 9 >> (bits - 1)) - 512
    return LOG_ONE * (bits - 1) + round(LOG_ONE * math.log2(1 + (r + 0.5) / 512))


def add(a: int, b: int) -> int:
    """Section 'Envelope'."""
    gap = abs(a - b)
    return max(a, b) + (round(LOG_ONE * math.log2(1 + 2 ** (-gap / LOG_ONE))) if gap <= 2559 else 0)
