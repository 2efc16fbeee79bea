"""Vector codebooks that start from data: k-means over the codes of training batches."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Cascade

START_STEPS = 20  # training batches from whose codes vector codebooks start
ITERATIONS = 10  # of Lloyd's algorithm; more hardly move the entries
MOST_VECTORS = 16_384  # that k-means looks at: 16 for each of 1024 entries

Vectors = NDArray[np.float32]


def codes_of(cascade: Cascade, module: int, batches: Iterable[tf.Tensor]) -> Vectors:
    """What a module's quantiser is given on batches [batch, 1024], in its units: float32 [units, length].

    Earlier codecs decide hard.
    """
    codec = cascade.codecs[module]
    found = []
    for contexts in batches:
        output = cascade.call(contexts, ["hard"] * module, "hard")
        left = output.analysis.residual - (output.sums[-1] if module else 0.0)
        code = codec.companded(codec.analyse(left, output.analysis.polynomial))
        found.append(codec.quantizer.units_of(code).numpy().reshape(-1, *codec.quantizer.unit))
    return np.concatenate(found)


def k_means(vectors: Vectors, entries: int, seed: int) -> Vectors:
    """Entries [entries, length] around which vectors [n, length] gather, by Lloyd's algorithm from random vectors.

    An entry that is nobody's nearest moves onto a vector drawn at random.
    """
    random = np.random.default_rng(seed)
    chosen = vectors[random.permutation(len(vectors))[:MOST_VECTORS]].astype(np.float64)
    codebook = chosen[random.choice(len(chosen), entries, replace=len(chosen) < entries)]
    for _ in range(ITERATIONS):
        nearest = _nearest(chosen, codebook)
        counts = np.bincount(nearest, minlength=entries)
        sums = np.stack([np.bincount(nearest, axis, minlength=entries) for axis in chosen.T], axis=1)
        redrawn = chosen[random.choice(len(chosen), entries)]
        codebook = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], redrawn)
    return codebook.astype(np.float32)


def _nearest(vectors: NDArray[np.float64], codebook: NDArray[np.float64]) -> NDArray[np.int64]:
    squares = np.square(codebook).sum(axis=1)
    blocks = np.array_split(vectors, max(1, len(vectors) // 4096))
    return np.concatenate([(squares - 2.0 * block @ codebook.T).argmin(axis=1) for block in blocks])
