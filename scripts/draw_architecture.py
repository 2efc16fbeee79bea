"""Draws the codec as docs/architecture.svg: python -m scripts.draw_architecture."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from nsc.console import exit_status
from utilities import atomic_write

PATH = Path(__file__).resolve().parent.parent / "docs" / "architecture.svg"
SIZE = 890, 410
BOLD = ' font-weight="bold"'
LINE = 17  # pixels from one line of text to the next
COLOURS = {"signal": "#f6f8fa", "network": "#dbeafe", "classical": "#dcfce7", "coding": "#fef3c7"}
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}"
 font-family="Helvetica, Arial, sans-serif" font-size="13" text-anchor="middle" fill="#1f2328">
<title>The codec: front end, cascade of neural codecs, entropy coder, and the way back</title>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 L8 4 L0 8 z" fill="#57606a"/></marker></defs>
<rect width="{0}" height="{1}" fill="white"/>
"""


class Box(NamedTuple):
    """A box: its left upper corner, size, kind and lines of text, of which the first is its name."""

    x: int
    y: int
    width: int
    height: int
    kind: str
    text: Sequence[str]

    def svg(self) -> str:
        """The box."""
        middle, top = self.x + self.width / 2, self.y + self.height / 2 - (len(self.text) - 1) * LINE / 2 + 5
        lines = [
            f'<text x="{middle:g}" y="{top + LINE * row:g}"{BOLD if not row else ""}>{escape(line)}</text>'
            for row, line in enumerate(self.text)
        ]
        shape = f'<rect x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="8"'
        return "\n".join([f'{shape} fill="{COLOURS[self.kind]}" stroke="#57606a"/>', *lines])


class Arrow(NamedTuple):
    """An arrow through points (x, y), and what it carries, written at a place."""

    points: Sequence[tuple[int, int]]
    label: str = ""
    at: tuple[int, int] = (0, 0)

    def svg(self) -> str:
        """The arrow."""
        line = " ".join(f"{x},{y}" for x, y in self.points)
        drawn = f'<polyline points="{line}" fill="none" stroke="#57606a" stroke-width="1.4" marker-end="url(#head)"/>'
        name = f'<text x="{self.at[0]}" y="{self.at[1]}" font-size="12" fill="#57606a">{escape(self.label)}</text>'
        return drawn + (f"\n{name}" if self.label else "")


BOXES = [
    Box(20, 30, 90, 80, "signal", ["speech", "16 kHz"]),
    Box(160, 30, 180, 80, "classical", ["front end", "LPC to LSFs, gain,", "residual or MDCT"]),
    Box(440, 30, 170, 80, "network", ["codec 1", "encoder network,", "trained quantiser"]),
    Box(700, 30, 170, 80, "network", ["codec 2, 3 ...", "code the residual of", "the previous ones"]),
    Box(160, 170, 710, 60, "coding", ["entropy coder", "integer networks choose tables by context, range coder"]),
    Box(20, 170, 90, 60, "signal", [".nsc file,", "packets"]),
    Box(440, 290, 170, 80, "network", ["codec 1", "decoder network"]),
    Box(700, 290, 170, 80, "network", ["codec 2, 3 ...", "may be left out"]),
    Box(160, 290, 180, 80, "classical", ["synthesis", "sum, 1/A or inverse MDCT,", "concealment of losses"]),
    Box(20, 290, 90, 80, "signal", ["speech"]),
]
ARROWS = [
    Arrow([(110, 70), (160, 70)]),
    Arrow([(340, 58), (440, 58)], "signal", (390, 52)),
    Arrow([(340, 90), (440, 90)], "envelope", (390, 104)),
    Arrow([(610, 70), (700, 70)], "residual", (655, 63)),
    Arrow([(250, 110), (250, 170)], "LSFs, gain", (286, 145)),
    Arrow([(525, 110), (525, 170)], "symbols", (553, 145)),
    Arrow([(785, 110), (785, 170)], "symbols", (813, 145)),
    Arrow([(160, 192), (110, 192)]),
    Arrow([(110, 210), (160, 210)]),
    Arrow([(250, 230), (250, 290)], "LSFs, gain", (286, 265)),
    Arrow([(525, 230), (525, 290)], "symbols", (553, 265)),
    Arrow([(785, 230), (785, 290)], "symbols", (813, 265)),
    Arrow([(440, 316), (340, 316)], "decoded", (390, 309)),
    Arrow([(700, 350), (655, 350), (655, 385), (390, 385), (390, 350), (340, 350)], "+ decoded residual", (522, 398)),
    Arrow([(160, 330), (110, 330)]),
]


def drawing() -> str:
    """The figure as SVG."""
    shapes: list[Box | Arrow] = [*BOXES, *ARROWS]
    return HEAD.format(*SIZE) + "\n".join(each.svg() for each in shapes) + "\n</svg>\n"


if __name__ == "__main__":
    sys.exit(exit_status("draw_architecture.py", lambda: atomic_write(PATH, drawing())))
