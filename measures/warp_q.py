"""WARP-Q: the cost of warping the decoded speech's cepstra onto the reference's; nothing in it is learned."""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from typing import Any

import numpy as np

from constants import SAMPLE_RATE
from measures.measurement import Signal, measurement


@measurement
def warpq(reference: Signal, decoded: Signal) -> float:
    """WARP-Q of two signals [n] at 16 kHz, normalised to 0 to 1, more is better (Jassim et al. 2022)."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        found = _metric().evaluate(reference.astype(np.float32), decoded.astype(np.float32), arr_sr=SAMPLE_RATE)
    return float(found["normalized_warpq_score"])


@functools.cache
def _metric() -> Any:
    if not hasattr(np.lib, "pad"):  # its detector of speech calls what numpy 2 removed
        np.lib.pad = np.pad  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its detector of speech imports what is out of date
        from warpq.core import warpqMetric

    return warpqMetric(sr=SAMPLE_RATE, n_jobs=1)
