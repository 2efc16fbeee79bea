"""Whole signals as the spectra and frames of the lapped transform, and batches with levels and group borders."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kinds.spectral.cascade import SpectralBatch
from nsc.coding.interface import Signal
from nsc.format.version_2 import number_of_frames
from nsc.kinds.spectral.level import group_level_indices
from nsc.kinds.spectral.noise import noise
from options.config import Config
from utilities import gains_of, pre_emphasise


def group_places(spectra: int, group_spectra: int) -> NDArray[np.int64]:
    """Place of each spectrum in its group."""
    return np.arange(spectra) % group_spectra


def warm_mask(places: NDArray[np.integer] | tf.Tensor) -> tf.Tensor:
    """Where the spectrum before, and the one before that, is in the same group: float32 [..., spectra, 2]."""
    return tf.stack([tf.cast(places >= distance, tf.float32) for distance in (1, 2)], -1)


def file_batch(signal: Signal, config: Config, offset: float, frames_per_group: int) -> SpectralBatch:
    """A whole signal [n] of 16 kHz, full scale 1, as a batch of one."""
    hop, spectra_per_frame = config.hop, config.spectra_per_frame
    frames = number_of_frames(len(signal), hop, spectra_per_frame)
    spectra = spectra_per_frame * frames
    padded = np.zeros((spectra + 1) * hop, np.float32)
    padded[hop : hop + len(signal)] = pre_emphasise(signal) if config.pre_emphasis else signal
    indices = group_level_indices(signal, frames, spectra_per_frame * hop, frames_per_group)
    group_spectra = spectra_per_frame * frames_per_group
    levels = gains_of(np.repeat(indices, group_spectra)[:spectra])
    warm = warm_mask(group_places(spectra, group_spectra))
    offsets = tf.fill([1, spectra], tf.constant(offset, tf.float32))
    made = tf.constant(noise(0, spectra, hop)[None]) if config.noise_fill else None
    return SpectralBatch(tf.constant(padded[None]), tf.constant(levels[None]), offsets, warm[None], made)
