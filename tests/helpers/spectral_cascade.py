"""Spectral cascades so small that tests can code and train with them."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kinds.spectral.batch import file_batch
from kinds.spectral.cascade import SpectralBatch, SpectralCascade
from kinds.spectral.fitting.training_symbols import coder_of, training_symbols
from options.config import Config
from runs.saved_model import SavedModel, load_model, save_model
from tests.helpers.tiny import config, eager_and_short

NETWORK: dict[str, Any] = {
    "block": "spectral",
    "fold": 32,
    "spectral_width": (16,),
    "spectral_narrow": (8,),
    "spectral_blocks": (1,),
    "num_modules": 2,
    "batch_size": 16,
    "consecutive_frames": 8,
    "coefficients": (16.0, 0.0, 0.0, 5.0),
    "loudness_weight": 4.0,
    "disturbance_weight": 4.0,
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


def saved_spectral_model(folder: Path, paths: list[Path], **changes: Any) -> SavedModel:
    """A model of two codecs, untrained but for its coder, as a training run leaves it."""
    cascade = cascade_of(stir=0.01, rate_range=(6.0, 32.0), **changes)
    with eager_and_short():
        coder = coder_of(cascade, 2, training_symbols(cascade, 2, paths, 0.5))
    save_model(folder, "first", cascade, coder.arrays(), 2)
    return load_model(folder / "stages" / "first")
