"""Models as a fuzzer sees them: tables and shapes, no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.config import from_dict
from constants import FRAME_LENGTH, FRAMES_PER_GROUP, LPC_ORDER
from nsc import format as bitstream
from nsc.entropy.context_model import CodePhase, ContextModel, Integers, Phase, Symbols, code_groups, read_models
from nsc.entropy.symbol_coding import SymbolCoder
from nsc.format import Group, Header
from runs.model_file import read_arrays
from runs.runs import SHIPPED
from utilities import HOP, OVERLAP

TABLE_PREFIX = "table/"


@dataclass(frozen=True)
class Target:
    """A model whose files are attacked.

    digest: the first eight hex digits of its hash.
    tables: its probability tables.
    shapes: (positions, channels) of one frame's symbols of every part.
    """

    digest: str
    tables: dict[str, NDArray[Any]]
    shapes: dict[str, tuple[int, int]]

    @property
    def has_lpc(self) -> bool:
        """Whether the first part holds LSFs."""
        return "lpc" in self.shapes

    @property
    def layers(self) -> int:
        """Codecs of the cascade."""
        return len(self.shapes) - self.has_lpc

    @property
    def alphabets(self) -> dict[str, int]:
        """Symbols of every part."""
        return {name: self.tables[name].shape[1] for name in self.shapes}

    @cached_property
    def coder(self) -> SymbolCoder:
        """Codes the symbols of all parts."""
        return SymbolCoder(read_models(self.tables), self.shapes)

    def file(self, generator: np.random.Generator, frames: int, spans: int = 1, *, known: bool = True) -> bytes:
        """A file of so many frames of symbols drawn by the model's own probabilities."""
        num_samples = frames * HOP - OVERLAP
        header = Header(self.digest, num_samples if known else None, self.layers, self.has_lpc, spans)
        groups: list[Group] = []
        left = frames
        while left > 0:
            count = min(left, header.group_frames)
            left -= count
            symbols = self._drawn(generator, count)
            used = -(-count // FRAMES_PER_GROUP)
            gains = [int(each) for each in generator.integers(0, 64, used)] + [0] * (spans - used)
            end = None if known or left > 0 else num_samples
            groups.append(Group(len(groups) % 256, tuple(gains), tuple(self.coder.encode(symbols)), end))
        return b"".join([bitstream.pack_header(header), *map(bitstream.pack_group, groups)])

    def _drawn(self, generator: np.random.Generator, frames: int) -> dict[str, Symbols]:
        """Symbols of a group, int32 [frames, positions, channels] by part."""
        found, before = {}, None
        for name, model in self.coder.models.items():
            rows = frames * prod(self.shapes[name]) // model.columns
            matrix = np.zeros((1, rows, model.columns), np.int32)
            before = code_groups(model, 1, rows, before, _drawing(model, matrix, generator))
            found[name] = matrix.reshape(frames, *self.shapes[name])
        return found


def _drawing(model: ContextModel, matrix: Symbols, generator: np.random.Generator) -> CodePhase:
    def code(phase: Phase, contexts: Integers) -> Symbols:
        borders = model.tables[phase.number][contexts].cumsum(-1)
        drawn = generator.integers(0, borders[..., -1:])
        symbols = (borders <= drawn).sum(-1).astype(np.int32)
        matrix[:, phase.rows, phase.column] = symbols
        return symbols

    return code


def shipped_targets() -> list[Target]:
    """All models that ship."""
    return [_target(path.parent) for path in sorted(SHIPPED.glob("*/stages/*/model.json"))]


def _target(folder: Path) -> Target:
    description = json.loads((folder / "model.json").read_text())
    config = from_dict(description["config"], origin=str(folder))
    shapes: dict[str, tuple[int, int]] = {} if config.time_domain else {"lpc": (1, LPC_ORDER)}
    for number, stride in enumerate(config.module_strides(), start=1):
        shapes[f"codec {number}"] = (FRAME_LENGTH // config.fold, config.fold // stride)
    arrays = read_arrays(folder / "model.npz")
    tables = {name.removeprefix(TABLE_PREFIX): each for name, each in arrays.items() if name.startswith(TABLE_PREFIX)}
    return Target(description["sha256"][:8], tables, shapes)


def files_of(targets: Sequence[Target], generator: np.random.Generator) -> list[bytes]:
    """A few short files of every model: of known and unknown length, with long groups, of one frame."""
    kinds: list[dict[str, Any]] = [
        {"frames": 17},
        {"frames": 40, "known": False},
        {"frames": 1},
        {"frames": 50, "spans": 2},
    ]
    return [target.file(generator, **kind) for target in targets for kind in kinds]
