"""The symbols of a file in groups of another length, or in packets: entropy-coded anew, not quantised anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nsc.entropy.spectral_coder import SpectralCoder
from nsc.errors import UserError
from nsc.format import Group, pack_group, pack_header
from nsc.format.version_2 import Header
from nsc.kinds.spectral.network import frames_between, joined, silence
from nsc.kinds.spectral.symbol_stream import CodedSymbols, SymbolWriter


def regrouped(
    groups: Sequence[CodedSymbols], header: Header, num_samples: int, coder: SpectralCoder, refresh: int | None
) -> Iterator[bytes]:
    """A file of the same symbols, levels and step offsets.

    Args:
        groups: of a whole file.
        header: of the file to write.
        num_samples: of the signal.
        coder: of the model.
        refresh: see `SymbolWriter`.

    Raises:
        UserError: a group would have several levels or step offsets.
    """
    steps = [group.steps for group in groups for _ in group.symbols.lsf]
    total = header.frames_of(num_samples)
    missing = max(0, total - len(steps))  # packets are whole
    rest = silence(missing, header.layers, header.hop, header.spectra_per_frame)
    symbols, steps = joined(*(group.symbols for group in groups), rest), steps + missing * steps[-1:]
    writer = SymbolWriter(coder, refresh)
    yield pack_header(header)
    for number, first in enumerate(range(0, total, header.frames)):
        end = min(first + header.frames, total)
        if len(set(steps[first:end])) > 1:
            raise UserError(
                f"expected frames of one level and step offset in a group, found several in group {number}; choose"
                " shorter groups"
            )
        coded = CodedSymbols(frames_between(symbols, first, end), steps[first], writer.before)
        yield pack_group(Group(number, *writer.content(coded)))
        writer.sent(coded)
