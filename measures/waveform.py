"""Measures that compare waveforms sample by sample."""

from __future__ import annotations

import numpy as np

from measures.measurement import Signal, UnmeasurableError, is_silent, measurement


def _ratio_in_decibels(signal: Signal, noise: Signal) -> float:
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.sum(signal**2) / np.sum(noise**2)))


@measurement
def snr(reference: Signal, decoded: Signal) -> float:
    """Signal-to-noise ratio in dB of two signals [n]; infinite where they are equal."""
    return _ratio_in_decibels(reference, decoded - reference)


@measurement
def si_sdr(reference: Signal, decoded: Signal) -> float:
    """Scale-invariant signal-to-distortion ratio in dB of two signals [n], both freed of their mean.

    Le Roux, Wisdom, Erdogan and Hershey, "SDR - half-baked or well done?", ICASSP 2019, equation 3.
    """
    if is_silent(decoded):
        raise UnmeasurableError("the decoded signal is silent")
    reference, decoded = reference - np.mean(reference), decoded - np.mean(decoded)
    target = reference * (np.dot(decoded, reference) / np.dot(reference, reference))
    return _ratio_in_decibels(target, decoded - target)
