"""Spectral networks as encoder and decoder see them: samples to symbols and back, with frames of the past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nsc.entropy.spectral_coder import SpectralSymbols
from nsc.errors import UserError
from nsc.format.version_2 import (
    HOP_UNIT,
    LSF_ORDER,
    MOST_FRAMES,
    MOST_LAYERS,
    OFFSETS,
    SPECTRA_PER_FRAME,
    number_of_frames,
)
from nsc.kinds.spectral.level import ZERO_OFFSET

Floats = NDArray[np.float32]

MOST_HISTORY = 64  # frames


@dataclass(frozen=True)
class SpectralSettings:
    """The settings of a spectral cascade that encoder and decoder need.

    depth: number of codecs.
    hop: new samples of a spectrum, and its bins.
    history: frames of the past that the networks need to see.
    look_ahead: frames of the future that the encoder sees, 0 or 1.
    group_frames: frames in a group by default.
    offset: index of the step offset by default.
    pre_emphasis: whether speech is filtered ahead of the transform.
    """

    depth: int
    hop: int
    history: int
    look_ahead: int = 0
    group_frames: int = 16
    offset: int = ZERO_OFFSET
    pre_emphasis: bool = True

    def frames_of(self, num_samples: int) -> int:
        """Frames of a signal of so many samples."""
        return number_of_frames(num_samples, self.hop)


def check_settings(settings: SpectralSettings) -> None:
    """Raises UserError where a number is beyond what any model needs."""
    bounds = {
        "depth": (1, MOST_LAYERS),
        "hop": (HOP_UNIT, 16 * HOP_UNIT),
        "history": (1, MOST_HISTORY),
        "look_ahead": (0, 1),
        "group_frames": (1, MOST_FRAMES),
        "offset": (0, OFFSETS - 1),
    }
    for name, (lowest, highest) in bounds.items():
        value = getattr(settings, name)
        if not isinstance(value, int) or not lowest <= value <= highest:
            raise UserError(f"{name}: expected a whole number from {lowest} to {highest}, found {value!r}")
    if settings.hop % HOP_UNIT:
        raise UserError(f"hop: expected a multiple of {HOP_UNIT}, found {settings.hop}")


class SpectralNetwork(Protocol):
    """Transform, quantisers and networks of a spectral cascade. It remembers nothing from call to call."""

    def symbols(self, samples: Floats, levels: Floats, offsets: Floats, layers: int) -> SpectralSymbols:
        """The symbols of frames.

        Args:
            samples: float32 [(spectra + 1) hop], emphasised.
            levels: float32 [spectra], amplitude that counts as 1.
            offsets: float32 [spectra], of the logarithm of the step.
            layers: how many codecs.
        """
        ...

    def samples(self, symbols: SpectralSymbols, levels: Floats, offsets: Floats) -> Floats:
        """Emphasised samples [(spectra + 1) hop] of frames; the first and last hop lack their overlap.

        Args:
            symbols: of the frames, of as many codecs as are there.
            levels: as for `symbols`.
            offsets: as for `symbols`.
        """
        ...


def silence(frames: int, depth: int, hop: int) -> SpectralSymbols:
    """Frames whose gain is the lowest, which decode to zeros."""
    spectra = SPECTRA_PER_FRAME * frames
    codes = tuple(np.zeros((spectra, hop), np.int32) for _ in range(depth))
    return SpectralSymbols(np.zeros((frames, LSF_ORDER), np.int32), np.zeros(spectra, np.int32), codes)


def frames_between(symbols: SpectralSymbols, first: int, end: int) -> SpectralSymbols:
    """Frames `first` to `end` - 1."""
    spectra = slice(SPECTRA_PER_FRAME * first, SPECTRA_PER_FRAME * end)
    return SpectralSymbols(symbols.lsf[first:end], symbols.gains[spectra], tuple(i[spectra] for i in symbols.indices))


def joined(*pieces: SpectralSymbols) -> SpectralSymbols:
    """Consecutive frames in one piece."""
    lsf, gains, indices = zip(*pieces, strict=True)
    return SpectralSymbols(
        np.concatenate(lsf), np.concatenate(gains), tuple(map(np.concatenate, zip(*indices, strict=True)))
    )
