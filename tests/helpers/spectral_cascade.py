"""Spectral cascades so small that tests can code and train with them."""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from configs.config import SPECTRAL, Config
from spectral.cascade import SpectralBatch, SpectralCascade
from spectral.framing import file_batch
from tests.helpers.tiny import config

NETWORK: dict[str, Any] = {
    "block": SPECTRAL,
    "fold": 32,
    "spectral_width": (16,),
    "spectral_narrow": (8,),
    "spectral_blocks": (1,),
    "num_modules": 2,
    "batch_size": 16,
    "consecutive_frames": 8,
    "coefficients": (16.0, 0.0, 0.0, 5.0),
    "loudness_weight": 4.0,
    "target_kbps": 16.0,
}


def tiny(**changes: Any) -> Config:
    """A tiny configuration, changed in the named fields."""
    return config(**(NETWORK | changes))


def cascade_of(seed: int = 3, *, stir: float = 0.0, **changes: Any) -> SpectralCascade:
    """A cascade with random weights; `stir` moves those that start at zero, too."""
    tf.keras.utils.set_random_seed(seed)
    cascade = SpectralCascade(tiny(**changes))
    generator = np.random.default_rng(seed)
    for variable in cascade.trainable_variables if stir else []:
        if variable.name != "codebook":
            variable.assign(variable + stir * generator.standard_normal(variable.shape).astype(np.float32))
    return cascade


def batch_of(signal: NDArray[np.float32], config: Config, offset: float = 0.0, group: int = 4) -> SpectralBatch:
    """A signal as a batch of one."""
    return file_batch(signal, config, offset, group)
