"""Objective measures of decoded speech against its reference, on whole signals at 16 kHz."""

import functools
import math
import multiprocessing
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
import pesq
import pystoi
import scipy.signal
import scipy.stats
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from constants import SAMPLE_RATE

# TensorFlow is not imported here: worker processes import this module, and would wait seconds for it.

Signal = NDArray[np.floating[Any]]
Source = Signal | str | Path

# The pesq library has room for 50 utterances and crashes the process some way past them. An utterance and
# the pause that ends it take at least 0.2 s each, so that 20 s are always safe, and longer signals are cut.
PESQ_LONGEST: Final = 20 * SAMPLE_RATE  # samples
PESQ_PADDING: Final = SAMPLE_RATE // 2  # samples
LSD_WINDOW: Final = 512  # samples, 32 ms, a frame every half of it
LSD_FLOOR_DB: Final = 70.0  # below the reference's loudest bin
VISQOL_SHORTEST: Final = SAMPLE_RATE // 2  # samples: it compares patches of 0.4 s
VISQOL_MISSING: Final = "ViSQOL is not installed: pip install 'neural-speech-coding[visqol]'"
POOLED_FROM: Final = 24  # pairs: fewer are scored sooner than worker processes start


class Measurement(float):
    """A measured value, or NaN with the reason."""

    reason: str

    def __new__(cls, value: float, reason: str = "") -> Self:
        """Return `value` as a float that carries `reason`, which is empty where the measure succeeded."""
        measurement = super().__new__(cls, value)
        measurement.reason = reason
        return measurement


class Score(NamedTuple):
    """All measures of one file: `values` has every name (nan where it failed), `failures` the reasons."""

    values: dict[str, float]
    failures: dict[str, str]


class Interval(NamedTuple):
    """A mean over speakers, half the width of its 95 % interval, and how many speakers and nan files."""

    mean: float
    half_width: float
    speakers: int
    left_out: int


class _UnmeasurableError(Exception):
    """Why a measure has no value for a pair of signals."""


def _is_silent(signal: Signal) -> bool:
    return bool(np.ptp(signal) == 0)


def _comparable(reference: Signal, decoded: Signal) -> tuple[Signal, Signal]:
    pair = np.asarray(reference, np.float64), np.asarray(decoded, np.float64)
    if pair[0].ndim != 1 or pair[0].shape != pair[1].shape:
        raise _UnmeasurableError(f"{pair[0].shape} and {pair[1].shape} are not the shapes of two equally long signals")
    if pair[0].size == 0:
        raise _UnmeasurableError("the signals are empty")
    for name, signal in zip(("reference", "decoded signal"), pair, strict=True):
        if not np.all(np.isfinite(signal)):
            raise _UnmeasurableError(f"the {name} has samples that are not finite")
    if _is_silent(pair[0]):
        raise _UnmeasurableError("the reference is silent")
    return pair


def _measurement(measure: Callable[[Signal, Signal], float]) -> Callable[[Signal, Signal], Measurement]:
    """Give `measure` comparable float64 signals only, and turn its failures into nan with a reason."""

    @functools.wraps(measure)
    def measured(reference: Signal, decoded: Signal) -> Measurement:
        try:
            return Measurement(measure(*_comparable(reference, decoded)))
        except _UnmeasurableError as failure:
            return Measurement(math.nan, str(failure))
        except Exception as failure:  # a library's fault on one file must not end a run over many
            reason = " ".join(str(failure).split()) or "no reason given"
            return Measurement(math.nan, f"{measure.__name__} failed: {type(failure).__name__}: {reason}")

    return measured


def _ratio_in_decibels(signal: Signal, noise: Signal) -> float:
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.sum(signal**2) / np.sum(noise**2)))


@_measurement
def snr(reference: Signal, decoded: Signal) -> float:
    """Signal-to-noise ratio in dB of two signals [n]; infinite where they are equal."""
    return _ratio_in_decibels(reference, decoded - reference)


@_measurement
def si_sdr(reference: Signal, decoded: Signal) -> float:
    """Scale-invariant signal-to-distortion ratio in dB of two signals [n], both freed of their mean.

    Le Roux, Wisdom, Erdogan and Hershey, "SDR - half-baked or well done?", ICASSP 2019, equation 3.
    """
    if _is_silent(decoded):
        raise _UnmeasurableError("the decoded signal is silent")
    reference, decoded = reference - np.mean(reference), decoded - np.mean(decoded)
    target = reference * (np.dot(decoded, reference) / np.dot(reference, reference))
    return _ratio_in_decibels(target, decoded - target)


@_measurement
def stoi(reference: Signal, decoded: Signal) -> float:
    """Short-time objective intelligibility of two signals [n] at 16 kHz, at most 1 (Taal et al. 2011)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Not enough STFT frames")
        try:
            return float(pystoi.stoi(reference, decoded, SAMPLE_RATE))
        except (RuntimeWarning, np.exceptions.AxisError) as failure:
            raise _UnmeasurableError("STOI needs 0.4 s of speech that is not silence") from failure


@_measurement
def pesq_wb(reference: Signal, decoded: Signal) -> float:
    """Wideband PESQ of two signals [n] at 16 kHz, 1.0 to 4.64 MOS-LQO (ITU-T P.862.2).

    Signals over 20 s are cut into equal pieces; the value is the mean over the pieces with speech in them.
    """
    return _mean_pesq(reference, decoded, 0)


@_measurement
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
        raise _UnmeasurableError("PESQ found no utterance")
    return float(np.mean(scores))


def _pesq_of_piece(reference: Signal, decoded: Signal, padding: int) -> float | None:
    if _is_silent(reference):
        return None
    if _is_silent(decoded):
        raise _UnmeasurableError("the decoded signal is silent")
    try:
        return float(pesq.pesq(SAMPLE_RATE, np.pad(reference, padding), np.pad(decoded, padding), "wb"))
    except pesq.NoUtterancesError:
        return None
    except pesq.BufferTooShortError as failure:
        raise _UnmeasurableError("PESQ needs at least 0.25 s") from failure
    except ValueError as failure:  # PESQ brings both to one level and comes to divide by zero
        raise _UnmeasurableError("the decoded signal is all but silent") from failure
    except pesq.PesqError as failure:
        raise _UnmeasurableError(f"PESQ failed: {failure}") from failure


@_measurement
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


@_measurement
def visqol(reference: Signal, decoded: Signal) -> float:
    """ViSQOL of two signals [n] at 16 kHz in speech mode with its lattice model, 1 to 4.5 (Chinen et al. 2020)."""
    if _is_silent(decoded):
        raise _UnmeasurableError("the decoded signal is silent")
    if reference.size < VISQOL_SHORTEST:
        raise _UnmeasurableError("ViSQOL needs half a second")
    return float(_visqol_speech_mode().measure_from_arrays(reference, decoded, SAMPLE_RATE).moslqo)


@functools.cache
def _visqol_speech_mode() -> Any:
    try:
        from visqol import VisqolApi
    except ImportError:
        raise _UnmeasurableError(VISQOL_MISSING) from None
    api = VisqolApi()
    try:
        api.create(mode="speech", use_lattice_model=True)
    except ImportError:
        raise _UnmeasurableError(VISQOL_MISSING) from None
    return api


MEASURES: Final = {"pesq_wb": pesq_wb, "stoi": stoi, "snr": snr, "si_sdr": si_sdr}
# Those that training and mode 0 do without: ViSQOL is an extra to install, and PESQ takes longer than all others.
ALL_MEASURES: Final = MEASURES | {"pesq_wb_padded": pesq_wb_padded, "lsd": log_spectral_distance, "visqol": visqol}


def score(reference: Signal, decoded: Signal, names: Sequence[str] = tuple(MEASURES)) -> Score:
    """Measures of a decoded signal [n] against its reference [n] at 16 kHz; a measure that fails has a reason.

    Args:
        reference: signal before coding.
        decoded: signal after it.
        names: of the measures, among ALL_MEASURES.
    """
    measurements = {name: ALL_MEASURES[name](reference, decoded) for name in names}
    values = {name: float(measurement) for name, measurement in measurements.items()}
    return Score(values, {name: each.reason for name, each in measurements.items() if each.reason})


def score_files(pairs: Sequence[tuple[Source, Source]], *, processes: int | None = None) -> list[Score]:
    """Scores of many (reference, decoded) pairs, in the pairs' order, with a progress bar.

    A pair that cannot be read or compared has nan everywhere and the reason among its failures.
    Workers start as fresh processes, which import the running script again: it needs the usual
    `if __name__ == "__main__"`, and they start faster where it imports TensorFlow inside of functions.

    Args:
        pairs: signals [n] at 16 kHz, or paths of audio files, which must be mono at 16 kHz.
        processes: worker processes, 1 scores in this process; when left out one a processor core, but none for
            so few pairs that their start would take longer than the scores.
    """
    workers = min(processes or (1 if len(pairs) < POOLED_FROM else os.cpu_count() or 1), len(pairs))
    with _scores(pairs, workers) as scores:
        return list(tqdm(scores, total=len(pairs), desc="scoring", unit="file", disable=None))


@contextmanager
def _scores(pairs: Sequence[tuple[Source, Source]], workers: int) -> Iterator[Iterator[Score]]:
    if workers <= 1:
        yield starmap(_score_pair, pairs)
        return
    # Spawned, not forked: TensorFlow's threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool.map(_score_pair, *zip(*pairs, strict=True))


def _score_pair(reference: Source, decoded: Source) -> Score:
    try:
        return score(_read(reference), _read(decoded))
    except _UnmeasurableError as failure:
        return Score(dict.fromkeys(MEASURES, math.nan), dict.fromkeys(MEASURES, str(failure)))


def _read(source: Source) -> Signal:
    if isinstance(source, np.ndarray):
        return source
    try:
        signal, rate = soundfile.read(source)
    except (OSError, soundfile.SoundFileError) as failure:
        raise _UnmeasurableError(f"cannot read {source}: {failure}") from failure
    if rate != SAMPLE_RATE or signal.ndim != 1:
        channels = 1 if signal.ndim == 1 else signal.shape[1]
        raise _UnmeasurableError(f"{source} has {channels} channels at {rate} Hz, not one at {SAMPLE_RATE} Hz")
    return signal


def mean_with_interval(values_per_file: Sequence[float], speakers: Sequence[str]) -> Interval:
    """Mean over speakers of each speaker's mean, with its 95 % Student-t interval over speakers.

    Files of one speaker resemble each other, so that an interval over files would be too narrow.

    Args:
        values_per_file: one value per file; NaN values are skipped and counted.
        speakers: the speaker of each file.

    Returns:
        The interval; its half width is nan for a single speaker, its mean too where no value is left.

    Raises:
        ValueError: there are not as many speakers as values.
    """
    by_speaker: defaultdict[str, list[float]] = defaultdict(list)
    left_out = 0
    for value, speaker in zip(values_per_file, speakers, strict=True):
        if math.isnan(value):
            left_out += 1
        else:
            by_speaker[speaker].append(value)
    means = np.array([np.mean(values) for values in by_speaker.values()])
    mean = float(np.mean(means)) if means.size else math.nan
    return Interval(mean, _half_width(means), means.size, left_out)


def _half_width(means: Signal) -> float:
    if means.size < 2 or not np.all(np.isfinite(means)):
        return math.nan
    quantile = scipy.stats.t.ppf(0.975, means.size - 1)
    return float(quantile * np.std(means, ddof=1) / math.sqrt(means.size))
