"""Distance of short-time log spectra."""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.signal

from measures.measurement import Signal, measurement

LSD_WINDOW: Final = 512  # samples, 32 ms, a frame every half of it
LSD_FLOOR_DB: Final = 70.0  # below the reference's loudest bin


@measurement
def log_spectral_distance(reference: Signal, decoded: Signal) -> float:
    """Log-spectral distance in dB of two signals [n], 0 for equal ones.

    The RMS over frequency of the difference of log power spectra of 32 ms, then the mean over frames (Gray and Markel,
    "Distance measures for speech processing", 1976). Both spectra have a floor far below the reference's loudest
    bin, or else digital silence would decide.
    """
    powers = [np.abs(scipy.signal.stft(each, nperseg=LSD_WINDOW)[2]) ** 2 for each in (reference, decoded)]
    floor = 10 ** (-LSD_FLOOR_DB / 10) * np.max(powers[0])
    difference = 10 * np.log10((powers[1] + floor) / (powers[0] + floor))
    return float(np.mean(np.sqrt(np.mean(difference**2, axis=0))))
