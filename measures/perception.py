"""Standard measures of quality and intelligibility with a reference: PESQ-WB, STOI and ViSQOL."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any, Final

import numpy as np
import pesq
import pystoi

from constants import SAMPLE_RATE
from measures.measurement import Signal, UnmeasurableError, is_silent, measurement

# The pesq library has room for 50 utterances and crashes the process some way past them. An utterance and
# the pause that ends it take at least 0.2 s each, so that 20 s are always safe, and longer signals are cut.
PESQ_LONGEST: Final = 20 * SAMPLE_RATE  # samples
PESQ_PADDING: Final = SAMPLE_RATE // 2  # samples
VISQOL_SHORTEST: Final = SAMPLE_RATE // 2  # samples: it compares patches of 0.4 s


@measurement
def stoi(reference: Signal, decoded: Signal) -> float:
    """Short-time objective intelligibility of two signals [n] at 16 kHz, at most 1 (Taal et al. 2011)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Not enough STFT frames")
        try:
            return float(pystoi.stoi(reference, decoded, SAMPLE_RATE))
        except (RuntimeWarning, np.exceptions.AxisError) as failure:
            raise UnmeasurableError("STOI needs 0.4 s of speech that is not silence") from failure


@measurement
def pesq_wb(reference: Signal, decoded: Signal) -> float:
    """Wideband PESQ of two signals [n] at 16 kHz, 1.0 to 4.64 MOS-LQO (ITU-T P.862.2).

    Signals over 20 s are cut into equal pieces; the value is the mean over the pieces with speech in them.
    """
    return _mean_pesq(reference, decoded, 0)


@measurement
def pesq_wb_padded(reference: Signal, decoded: Signal) -> float:
    """As `pesq_wb`, with half a second of silence around both signals.

    PESQ aligns the signals itself, which misfires on some short recordings; where the two values differ, it did.
    """
    return _mean_pesq(reference, decoded, PESQ_PADDING)


def _mean_pesq(reference: Signal, decoded: Signal, padding: int) -> float:
    pieces = math.ceil(reference.size / PESQ_LONGEST)
    scores = [
        score
        for pair in zip(np.array_split(reference, pieces), np.array_split(decoded, pieces), strict=True)
        if (score := _pesq_of_piece(*pair, padding)) is not None
    ]
    if not scores:
        raise UnmeasurableError("PESQ found no utterance")
    return float(np.mean(scores))


def _pesq_of_piece(reference: Signal, decoded: Signal, padding: int) -> float | None:
    if is_silent(reference):
        return None
    if is_silent(decoded):
        raise UnmeasurableError("the decoded signal is silent")
    try:
        return float(pesq.pesq(SAMPLE_RATE, np.pad(reference, padding), np.pad(decoded, padding), "wb"))
    except pesq.NoUtterancesError:
        return None
    except pesq.BufferTooShortError as failure:
        raise UnmeasurableError("PESQ needs at least 0.25 s") from failure
    except ValueError as failure:  # PESQ brings both to one level and comes to divide by zero
        raise UnmeasurableError("the decoded signal is all but silent") from failure
    except pesq.PesqError as failure:
        raise UnmeasurableError(f"PESQ failed: {failure}") from failure


@measurement
def visqol(reference: Signal, decoded: Signal) -> float:
    """ViSQOL of two signals [n] at 16 kHz in speech mode with its lattice model, 1 to 4.5 (Chinen et al. 2020)."""
    if is_silent(decoded):
        raise UnmeasurableError("the decoded signal is silent")
    if reference.size < VISQOL_SHORTEST:
        raise UnmeasurableError("ViSQOL needs half a second")
    return float(_visqol_speech_mode().measure_from_arrays(reference, decoded, SAMPLE_RATE).moslqo)


@functools.cache
def _visqol_speech_mode() -> Any:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=True)
    return api
