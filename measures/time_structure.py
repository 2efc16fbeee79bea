"""Whether energy lies where it should in time and frequency: errors of log band energies in short and long windows.

PESQ and ViSQOL look at some 32 ms at a time. What is smeared inside of that they do not see, and an ear hears.
Only speech counts: windows of 32 ms within 30 dB of the loudest one of the reference.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from constants import SAMPLE_RATE
from measures.measurement import Signal, UnmeasurableError, measurements

SHORT: Final = 64  # samples, 4 ms
LONG: Final = 512  # samples, 32 ms
SPEECH_DB: Final = 30.0  # below the loudest window
FLOOR_PERCENTILE: Final = 5.0  # of a band's energies in the reference: the floor of both, so that pauses do not decide
FLOOR: Final = 1e-9  # of power, for bands that are digital silence
ORDER: Final = 4  # of the Butterworth filters, which run forward and backward

Band = tuple[float, float]  # lowest and highest frequency in Hz

BANDS: Final[tuple[Band, ...]] = ((50, 1000), (1000, 2500), (2500, 4500), (4500, 7900))
OCTAVES: Final = (125, 250, 500, 1000, 2000, 4000, 8000)  # centres in Hz; the last ends at HIGHEST
HIGHEST: Final = 7900.0  # Hz
OCTAVE_BANDS: Final[tuple[Band, ...]] = tuple(
    (centre / math.sqrt(2), min(centre * math.sqrt(2), HIGHEST)) for centre in OCTAVES
)

BAND_COLUMNS: Final = tuple(f"{name}_{band[0]}" for name in ("rms_4ms", "rms_32ms", "level") for band in BANDS)
STRUCTURE_COLUMNS: Final = ("rms_4ms", "rms_32ms", *BAND_COLUMNS)
OCTAVE_COLUMNS: Final = tuple(f"octave_{centre}" for centre in OCTAVES)

Errors = NDArray[np.float64]  # dB [bands, windows of speech]


@measurements(STRUCTURE_COLUMNS)
def time_structure(reference: Signal, decoded: Signal) -> list[float]:
    """Errors in dB of log band energies of two signals [n] in four bands, 0 for equal signals.

    First the RMS error in windows of 4 ms and that in windows of 32 ms, each the mean of the bands. Then, of each band
    from low to high: the RMS error in windows of 4 ms, that in windows of 32 ms, and the mean error in windows of
    32 ms, which is above 0 where the decoded signal is louder.
    """
    short, long = (energy_errors(reference, decoded, BANDS, window) for window in (SHORT, LONG))
    rms = [np.sqrt(np.mean(each**2, axis=1)) for each in (short, long)]
    return [float(np.mean(each)) for each in rms] + np.concatenate([*rms, np.mean(long, axis=1)]).tolist()


@measurements(OCTAVE_COLUMNS)
def octave_levels(reference: Signal, decoded: Signal) -> list[float]:
    """Mean error in dB of the log energy of each octave in windows of 32 ms, above 0 where decoded speech is louder."""
    return np.mean(energy_errors(reference, decoded, OCTAVE_BANDS, LONG), axis=1).tolist()


def energy_errors(reference: Signal, decoded: Signal, bands: Sequence[Band], window: int) -> Errors:
    """Log energy of a decoded signal [n] minus that of its reference [n], in dB [bands, windows of speech].

    Args:
        reference: signal before coding, 16 kHz.
        decoded: signal after it, aligned.
        bands: lowest and highest frequency of each, in Hz.
        window: samples, a divisor of LONG.

    Raises:
        UnmeasurableError: the signals are shorter than a long window.
    """
    if len(reference) < LONG:
        raise UnmeasurableError("the time structure needs 32 ms")
    whole = len(reference) // LONG * LONG
    speech = np.repeat(_is_speech(reference[:whole]), LONG // window)
    return all_energy_errors(reference, decoded, bands, window)[:, speech]


def all_energy_errors(reference: Signal, decoded: Signal, bands: Sequence[Band], window: int) -> Errors:
    """As `energy_errors`, in speech and pauses alike, [bands, windows]."""
    whole = len(reference) // LONG * LONG
    theirs, ours = (_energies(each[:whole], bands, window) for each in (reference, decoded))
    floor = np.percentile(theirs, FLOOR_PERCENTILE, axis=1, keepdims=True) + FLOOR
    return 10 * np.log10((ours + floor) / (theirs + floor))


def _is_speech(signal: Signal) -> NDArray[np.bool_]:
    """Of each long window."""
    loudness = np.mean(signal.reshape(-1, LONG) ** 2, axis=1)
    return loudness > 10 ** (-SPEECH_DB / 10) * loudness.max()


def _energies(signal: Signal, bands: Sequence[Band], window: int) -> NDArray[np.float64]:
    """Mean power [bands, windows]."""
    filtered = [scipy.signal.sosfiltfilt(_filter(band), signal) for band in bands]
    return np.mean(np.stack(filtered).reshape(len(bands), -1, window) ** 2, axis=2)


@functools.cache
def _filter(band: Band) -> Any:
    return scipy.signal.butter(ORDER, band, "bandpass", fs=SAMPLE_RATE, output="sos")
