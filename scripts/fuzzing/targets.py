"""Models as a fuzzer sees them: real tables and decoders, and a network that is silent and checks its symbols."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from nsc.entropy.context_model import CodePhase, ContextModel, Integers, Phase, Symbols, code_groups
from nsc.entropy.symbol_coding import SymbolCoder
from nsc.format import Group, pack_group, pack_header
from nsc.format.version_1 import FRAME_LENGTH, FRAMES_PER_GROUP, HOP, OVERLAP, Header
from nsc.kinds.samples.model import CascadeModel
from nsc.kinds.samples.network import CascadeSettings, Part
from nsc.loading.folder import Description, read_tables

KEPT_GROUPS = 4096  # decoded ones: most groups of a mutated file are those of the original


class BrokenPromiseError(AssertionError):
    """A promise that was not kept."""


class SilentNetwork:
    """Implements `coding.network.Network`: gives silence for symbols that belong to their alphabets."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    def symbols(self, contexts: NDArray[np.float32], layers: int) -> Sequence[Symbols]:
        """See `Network`."""
        raise NotImplementedError

    def frames(self, symbols: Sequence[Symbols], lost: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Network`.

        Raises:
            BrokenPromiseError: symbols are not so many of their alphabets.
        """
        for part, values in zip(self._parts, symbols, strict=False):
            if values.shape[1:] != part.shape or len(values) != len(lost):
                raise BrokenPromiseError(f"{part.name} has shape {values.shape}")
            if not 0 <= values.min() <= values.max() < part.alphabet:
                raise BrokenPromiseError(f"{part.name} has symbols from {values.min()} to {values.max()}")
        return np.zeros((len(lost), FRAME_LENGTH), np.float32)


class RememberingCoder(SymbolCoder):
    """A coder that decodes the same bytes once."""

    @cached_property
    def _remembered(self):  # type: ignore[no-untyped-def]
        return lru_cache(KEPT_GROUPS)(self._decoded_or_refused)

    def decode(self, payloads: Sequence[bytes], num_frames: int) -> dict[str, Symbols]:
        """See `SymbolCoder.decode`."""
        found = self._remembered(tuple(payloads), num_frames)
        if isinstance(found, ValueError):
            raise found
        return dict(found)

    def _decoded_or_refused(self, payloads: tuple[bytes, ...], num_frames: int) -> dict[str, Symbols] | ValueError:
        try:
            return super().decode(payloads, num_frames)
        except ValueError as error:
            return error


class Target(CascadeModel):
    """A model whose files are attacked."""

    def symbol_coder(self, layers: int) -> SymbolCoder:
        """See `CascadeModel`; one for all streams."""
        return self._coders[layers - 1]

    @cached_property
    def _coders(self) -> list[SymbolCoder]:
        coders = (super(Target, self).symbol_coder(layers) for layers in range(1, self.depth + 1))
        return [RememberingCoder(coder.models, coder.shapes) for coder in coders]

    def file(self, generator: np.random.Generator, frames: int, spans: int = 1, *, known: bool = True) -> bytes:
        """A file of `frames` frames of symbols drawn by the model's own probabilities."""
        num_samples = frames * HOP - OVERLAP
        header = Header(self.digest, num_samples if known else None, self.depth, self.settings.has_lpc, spans)
        coder = self.symbol_coder(self.depth)
        groups: list[Group] = []
        left = frames
        while left > 0:
            count = min(left, header.group_frames)
            left -= count
            used = -(-count // FRAMES_PER_GROUP)
            gains = [int(each) for each in generator.integers(0, 64, used)] + [0] * (spans - used)
            end = None if known or left > 0 else num_samples
            parts = tuple(coder.encode(_drawn(coder, generator, count)))
            groups.append(Group(len(groups) % 256, tuple(gains), parts, end))
        return b"".join([pack_header(header), *map(pack_group, groups)])


def _drawn(coder: SymbolCoder, generator: np.random.Generator, frames: int) -> dict[str, Symbols]:
    """Symbols of a group, int32 [frames, positions, channels] by part."""
    found, before = {}, None
    for name, model in coder.models.items():
        rows = frames * prod(coder.shapes[name]) // model.columns
        matrix = np.zeros((1, rows, model.columns), np.int32)
        before = code_groups(model, 1, rows, before, _drawing(model, matrix, generator))
        found[name] = matrix.reshape(frames, *coder.shapes[name])
    return found


def _drawing(model: ContextModel, matrix: Symbols, generator: np.random.Generator) -> CodePhase:
    def code(phase: Phase, contexts: Integers) -> Symbols:
        borders = model.tables[phase.number][contexts].cumsum(-1)
        drawn = generator.integers(0, borders[..., -1:])
        symbols = (borders <= drawn).sum(-1).astype(np.int32)
        matrix[:, phase.rows, phase.column] = symbols
        return symbols

    return code


def cascade_target(description: Description) -> Target:
    """A model that ships, with a silent network in place of its own."""
    settings = dict(description.settings)
    parts = tuple(Part(each["name"], tuple(each["shape"]), each["alphabet"]) for each in settings.pop("parts"))
    known = CascadeSettings(parts, **settings)
    return Target(description.digest, known, read_tables(description), SilentNetwork(parts))
