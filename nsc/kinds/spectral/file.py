"""The symbols of a whole file, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsc.entropy.spectral_coder import SpectralCoder, SpectralSymbols
from nsc.format import DamagedError, read_contents
from nsc.format.version_2 import CODEC_PART
from nsc.kinds.spectral.level import GroupSteps

LPC_PART, GAIN_PART = "lpc", "gain"


class FileGroup(NamedTuple):
    """A group's symbols and the steps at which they were made."""

    symbols: SpectralSymbols
    steps: GroupSteps


def file_groups(data: bytes, coder: SpectralCoder) -> Iterator[FileGroup]:
    """The groups of an undamaged file of known length.

    Raises:
        BitstreamError: the header cannot be read, or groups are missing or damaged.
    """
    header, groups, missing, damaged = read_contents(data)
    if missing or damaged or header.num_samples is None:
        raise DamagedError(
            f"expected a whole file of known length, found {missing} groups missing and {damaged} bytes damaged;"
            " decode it instead"
        )
    left = header.frames_of(header.num_samples)
    for group in groups:
        steps, frames = GroupSteps(*group.side), min(left, header.group_frames)
        yield FileGroup(coder.decode(group.parts, frames, steps.offset), steps)
        left -= frames


def frame_code_lengths(data: bytes, coder: SpectralCoder) -> dict[str, NDArray[np.float64]]:
    """Ideal code length of every frame of a file in bits, float64 [frames] by part: "lpc", "gain", "codec 1" ..."""
    pieces: dict[str, list[NDArray[np.float64]]] = {}
    for symbols, steps in file_groups(data, coder):
        one = SpectralSymbols(symbols.lsf[None], symbols.gains[None], tuple(each[None] for each in symbols.indices))
        lengths = coder.code_lengths(one, np.array([steps.offset]))
        names = [LPC_PART, GAIN_PART, *(f"{CODEC_PART} {n}" for n in range(1, len(lengths.indices) + 1))]
        for name, bits in zip(names, (lengths.lsf, lengths.gains, *lengths.indices), strict=True):
            pieces.setdefault(name, []).append(bits.reshape(len(symbols.lsf), -1).sum(1))
    return {name: np.concatenate(bits) for name, bits in pieces.items()}


def file_code_lengths(data: bytes, coder: SpectralCoder) -> dict[str, float]:
    """Ideal code length in bits of each part of a file."""
    return {name: float(bits.sum()) for name, bits in frame_code_lengths(data, coder).items()}
