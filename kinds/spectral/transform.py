"""Modified discrete cosine transform (MDCT): speech to overlapping spectra and back, as matrix products.

Princen and Bradley (1986) with the window conditions of Princen, Johnson and Bradley (1987). The basis is orthonormal:
white noise of variance v has coefficients of variance v.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kinds.spectral.options import WINDOWS
from nsc.kinds.spectral.concealment import mdct_matrix, sine_window

KAISER_ALPHA = 3.0  # of the Kaiser-Bessel-derived window: between the sine window and AAC's alpha of 4
LOW_OVERLAP_SHARE = 0.5  # of the hop that a low-overlap window fades over


def mdct_window(kind: str, hop: int) -> NDArray[np.float64]:
    """Window [2 hop] whose square and its mirror image add up to 1 (Princen-Bradley).

    Raises:
        ValueError: unknown kind.
    """
    if kind == "sine":
        return sine_window(hop)
    if kind == "kbd":
        kaiser = np.cumsum(np.kaiser(hop + 1, np.pi * KAISER_ALPHA))
        rising = np.sqrt(kaiser[:hop] / kaiser[hop])
    elif kind == "low_overlap":
        fade = round(LOW_OVERLAP_SHARE * hop)
        phase = np.clip((np.arange(hop) - (hop - fade) // 2 + 0.5) / fade, 0, 1)
        rising = np.sin(np.pi / 2 * phase)
    else:
        raise ValueError(f"MDCT window must be one of {', '.join(WINDOWS)}, not {kind!r}")
    return np.concatenate([rising, rising[::-1]])


@functools.cache
def mdct_basis(kind: str, hop: int) -> NDArray[np.float32]:
    """Windowed cosines, float32 [2 hop, hop], read-only; a spectrum is a windowless block times this."""
    basis = mdct_matrix(mdct_window(kind, hop))
    basis.flags.writeable = False
    return basis


def mdct(signals: tf.Tensor, kind: str, hop: int) -> tf.Tensor:
    """Spectra of signals.

    Args:
        signals: float32 [batch, (spectra + 1) hop].
        kind: of the window.
        hop: new samples of each spectrum, and its coefficients.

    Returns:
        float32 [batch, spectra, hop]; spectrum t covers samples [hop t, hop (t + 2)).
    """
    halves = tf.reshape(signals, [tf.shape(signals)[0], -1, hop])
    return tf.matmul(tf.concat([halves[:, :-1], halves[:, 1:]], -1), mdct_basis(kind, hop))


def inverse_mdct(spectra: tf.Tensor, kind: str, hop: int) -> tf.Tensor:
    """Signals [batch, (spectra + 1) hop] of spectra [batch, spectra, hop]; both end hops lack their overlap."""
    blocks = tf.matmul(spectra, mdct_basis(kind, hop), transpose_b=True)
    first, second = blocks[..., :hop], blocks[..., hop:]
    total = tf.pad(first, [[0, 0], [0, 1], [0, 0]]) + tf.pad(second, [[0, 0], [1, 0], [0, 0]])
    return tf.reshape(total, [tf.shape(spectra)[0], -1])
