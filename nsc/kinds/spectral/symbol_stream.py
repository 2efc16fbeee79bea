"""Symbols of a stream's groups to what they carry and back: each group by itself, or packet after packet."""

from __future__ import annotations

from typing import NamedTuple

from nsc.coding.interface import Content
from nsc.entropy.packet_side import FOLLOWS, PAUSE, GroupSteps, side_bits
from nsc.entropy.spectral_coder import Context, Preceding, SpectralCoder, SpectralSymbols
from nsc.format import Group, Header, version_4


class CodedSymbols(NamedTuple):
    """A group's symbols, their steps, the packet before where it follows one, and whether a pause follows it."""

    symbols: SpectralSymbols
    steps: GroupSteps
    before: Preceding | None = None
    pauses: bool = False

    @property
    def context(self) -> Context | None:
        """What its contexts know of what precedes it."""
        return None if self.before is None else self.before.at(self.steps)

    def side_bits(self, coder: SpectralCoder) -> float:
        """Ideal code length of a packet's side information."""
        return side_bits(self.steps, self.before.steps if self.before else None, len(coder.offsets))

    def as_preceding(self, coder: SpectralCoder) -> Preceding:
        """As the next packet sees it."""
        return Preceding(self.steps, coder.context_after(self.symbols, self.context))


class SymbolWriter:
    """The groups of one stream.

    before: the packet that the next one follows; None where it stands alone, as groups do that are no packets.
    """

    def __init__(self, coder: SpectralCoder, refresh: int | None) -> None:
        """Begins a stream.

        Args:
            coder: of the layers that are sent.
            refresh: every so many-th packet stands alone; None for groups that are no packets.
        """
        self.before: Preceding | None = None
        self._coder, self._refresh = coder, refresh
        self._chain = 0  # packets since the last that stands alone, itself included

    def content(self, coded: CodedSymbols) -> Content:
        """What the next group carries if it has these symbols."""
        symbols, steps, before, pauses = coded
        if self._refresh is None:
            return Content(tuple(steps), tuple(self._coder.encode(symbols, steps.offset)))
        return Content((0,), tuple(self._coder.encode_packet(symbols, steps, before, pauses=pauses)))

    def sent(self, coded: CodedSymbols) -> None:
        """Goes on to the group after the one that was sent with these symbols."""
        self._chain += 1
        if self._refresh is None or self._chain >= self._refresh or coded.pauses:
            self.refresh()
        else:
            self.before = coded.as_preceding(self._coder)

    def refresh(self) -> None:
        """Lets the next packet stand alone."""
        self.before, self._chain = None, 0


class SymbolReader:
    """The inverse of `SymbolWriter`, of one stream."""

    def __init__(self, header: Header, coder: SpectralCoder) -> None:
        self._coder, self._packets = coder, isinstance(header, version_4.Header)
        self._copies = int(isinstance(header, version_4.Header) and header.redundant)  # ahead of a packet's own parts
        self._before: Preceding | None = None

    def read(self, group: Group, layers: int, frames: int) -> CodedSymbols:
        """The first layers of the next group, of so many frames.

        Raises:
            ValueError: bytes that no encoder writes, or a packet that follows one that is missing.
        """
        messages = group.parts[self._copies :][:layers]
        if not self._packets:
            steps = GroupSteps(*group.side)
            return CodedSymbols(self._coder.decode(messages, frames, steps.offset), steps)
        before, self._before = self._before, None
        symbols, steps, kind = self._coder.decode_packet(messages, frames, before)
        coded = CodedSymbols(symbols, steps, before if kind == FOLLOWS else None, kind == PAUSE)
        self._before = coded.as_preceding(self._coder)
        return coded

    def read_copy(self, group: Group, frames: int) -> CodedSymbols:
        """The packet before one, which is missing, from the copy that this one carries.

        Raises:
            ValueError: it carries none that can be read.
        """
        self.missed()
        if not self._copies or not group.parts[0]:
            raise ValueError("expected a copy of the packet before, found none")
        symbols, steps, _ = self._coder.decode_packet(group.parts[:1], frames, None)
        return CodedSymbols(symbols, steps)

    def missed(self) -> None:
        """The next group did not arrive."""
        self._before = None
