"""A decoder of symbols written from docs/bitstream.md alone, slowly and plainly, in whole numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MASK = (1 << 64) - 1
PRECISION = 24


def cumulative(counts: Sequence[int]) -> list[int]:
    """Borders of the symbols' shares of 2^24 from counts that sum to 2^16."""
    factor = (1 << PRECISION) - len(counts)
    borders, total = [], 0
    for symbol, count in enumerate(counts):
        borders.append(symbol + total * factor // (1 << 16))
        total += count
    return [*borders, 1 << PRECISION]


class ReferenceRangeDecoder:
    """Section 'Range coder' of the document."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.lower, self.width = 0, MASK
        self.point = self._word() << 32 | self._word()

    def _word(self) -> int:
        word = int.from_bytes(self.data[self.at : self.at + 4].ljust(4, b"\0"))
        self.at += 4
        return word

    def decode(self, counts: Sequence[int]) -> int:
        borders = cumulative(counts)
        unit = self.width >> PRECISION
        place = ((self.point - self.lower) & MASK) // unit
        symbol = max(number for number, border in enumerate(borders[:-1]) if border <= place)
        self.lower = (self.lower + unit * borders[symbol]) & MASK
        self.width = unit * (borders[symbol + 1] - borders[symbol])
        if self.width < 1 << 32:
            self.lower = self.lower << 32 & MASK
            self.width <<= 32
            self.point = (self.point << 32 | self._word()) & MASK
        return symbol


def decode_part(
    arrays: Mapping[str, Any], name: str, payload: bytes, rows: int, before: list[list[int]] | None
) -> tuple[list[list[int]], list[list[int]]]:
    """Symbols and levels [rows][columns] of a part of a group: section 'Contexts' of the document."""
    model = {key.split(":")[1]: arrays[key].tolist() for key in arrays if key.startswith(f"{name}:")}
    columns, radius = len(model["levels"]), len(model["mean_weights"][0]) // 2
    symbols = [[0] * columns for _ in range(rows)]
    levels = [[0] * columns for _ in range(rows)]
    width = len(model["mean_weights"][0][0])
    coder = ReferenceRangeDecoder(payload)

    def neighbour(row: int, column: int) -> int:
        if not 0 <= row < rows:
            return 0
        if column < columns:
            return levels[row][column]
        assert before is not None
        return before[row * len(before) // rows][column - columns]

    for phase, (first, step, column) in enumerate(model["phases"]):
        mean_weights, scale_weights = model["mean_weights"][phase], model["scale_weights"][phase]
        found = []
        for row in range(first, rows, step):
            mean = scale = 0
            for offset in range(2 * radius + 1):
                for other in range(width):
                    level = neighbour(row + offset - radius, other)
                    mean += level * mean_weights[offset][other]
                    scale += abs(level) * scale_weights[offset][other]
            of_scale = sum(border <= scale for border in model["scale_thresholds"][phase])
            borders = model["mean_thresholds"][phase][of_scale]
            table = of_scale * (len(borders) + 1) + sum(border <= mean for border in borders)
            found.append((row, coder.decode(model["tables"][phase][table])))
        for row, symbol in found:
            symbols[row][column] = symbol
            levels[row][column] = model["levels"][column][symbol]
    return symbols, levels
