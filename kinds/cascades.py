"""The cascade that a configuration describes."""

from __future__ import annotations

from cmrl import Cascade
from kinds.spectral.cascade import SpectralCascade
from options.config import SPECTRAL, Config


def cascade_of(config: Config) -> Cascade | SpectralCascade:
    """A cascade with fresh weights, on frames of samples or on the lapped spectrum."""
    return SpectralCascade(config) if config.block == SPECTRAL else Cascade(config)
