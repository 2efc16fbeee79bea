"""Every measure by its name, and scores of signals and files by any of them, on whole signals at 16 kHz."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import soundfile
from tqdm import tqdm

from constants import SAMPLE_RATE
from measures.distill_mos import distill_mos
from measures.log_spectrum import log_spectral_distance
from measures.measurement import Judge, Measurement, Signal, UnmeasurableError, judge
from measures.nisqa_mos import COLUMNS as NISQA_COLUMNS
from measures.nisqa_mos import nisqa, nisqa_missing
from measures.perception import pesq_wb, pesq_wb_padded, stoi, visqol
from measures.plc_mos import plcmos
from measures.time_structure import OCTAVE_COLUMNS, STRUCTURE_COLUMNS, octave_levels, time_structure
from measures.warp_q import warpq
from measures.waveform import si_sdr, snr

# TensorFlow is not imported here, nor any judge's own packages before it judges: worker processes import this module.

Source = Signal | str | Path

POOLED_FROM: Final = 24  # pairs: fewer are scored sooner than worker processes start

MEASURES: Final = {
    "pesq_wb": judge("pesq_wb", pesq_wb),
    "stoi": judge("stoi", stoi),
    "snr": judge("snr", snr),
    "si_sdr": judge("si_sdr", si_sdr),
}
# Those that training and mode 0 do without: they need extras, or take longer than all others.
ALL_MEASURES: Final = MEASURES | {
    "pesq_wb_padded": judge("pesq_wb_padded", pesq_wb_padded),
    "lsd": judge("lsd", log_spectral_distance),
    "visqol": judge("visqol", visqol, ["visqol"], extra="visqol"),
    "time_structure": Judge(STRUCTURE_COLUMNS, time_structure),
    "octave_levels": Judge(OCTAVE_COLUMNS, octave_levels),
    "distill_mos": judge("distill_mos", distill_mos, ["torch", "distillmos"]),
    "warpq": judge("warpq", warpq, ["warpq", "pyvad", "librosa"]),
    "nisqa": Judge(NISQA_COLUMNS, nisqa, nisqa_missing),
    "plcmos": judge("plcmos", plcmos, ["speechmos", "onnxruntime"]),
}
LOSS_MEASURES: Final = ("plcmos",)  # which judge the concealment of losses
JURY: Final = tuple(name for name in ALL_MEASURES if name not in LOSS_MEASURES)


class Score(NamedTuple):
    """All values of one file: `values` has every column (nan where it failed), `failures` the reasons."""

    values: dict[str, float]
    failures: dict[str, str]


def columns_of(names: Sequence[str]) -> list[str]:
    """The names of the values that measures give, in order."""
    return [column for name in names for column in ALL_MEASURES[name].columns]


def missing(names: Sequence[str]) -> dict[str, str]:
    """Of measures that cannot be used here, what they need."""
    needs = {name: ALL_MEASURES[name].missing() for name in names}
    return {name: need for name, need in needs.items() if need}


def score(reference: Signal, decoded: Signal, names: Sequence[str] = tuple(MEASURES)) -> Score:
    """Values of a decoded signal [n] against its reference [n] at 16 kHz; a measure that fails has a reason.

    Args:
        reference: signal before coding.
        decoded: signal after it.
        names: of the measures, among ALL_MEASURES.
    """
    found: dict[str, Measurement] = {}
    for name in names:
        found |= _judged(ALL_MEASURES[name], reference, decoded)
    values = {name: float(value) for name, value in found.items()}
    return Score(values, {name: each.reason for name, each in found.items() if each.reason})


def _judged(by: Judge, reference: Signal, decoded: Signal) -> dict[str, Measurement]:
    need = by.missing()
    return dict.fromkeys(by.columns, Measurement(math.nan, need)) if need else dict(by.measure(reference, decoded))


def score_files(
    pairs: Sequence[tuple[Source, Source]], names: Sequence[str] = tuple(MEASURES), *, processes: int | None = None
) -> list[Score]:
    """Scores of many (reference, decoded) pairs, in the pairs' order, with a progress bar.

    A pair that cannot be read or compared has nan everywhere and the reason among its failures.
    Workers start as fresh processes, which import the running script again: it needs the usual
    `if __name__ == "__main__"`, and they start faster where it imports TensorFlow inside of functions.

    Args:
        pairs: signals [n] at 16 kHz, or paths of audio files, which must be mono at 16 kHz.
        names: of the measures, among ALL_MEASURES.
        processes: worker processes, 1 scores in this process; when left out one a processor core, but none for
            so few pairs that their start would take longer than the scores.
    """
    workers = min(processes or (1 if len(pairs) < POOLED_FROM else os.cpu_count() or 1), len(pairs))
    tasks = [(*pair, tuple(names)) for pair in pairs]
    with _scores(tasks, workers) as scores:
        return list(tqdm(scores, total=len(pairs), desc="scoring", unit="file", disable=None))


@contextmanager
def _scores(tasks: Sequence[tuple[Source, Source, tuple[str, ...]]], workers: int) -> Iterator[Iterator[Score]]:
    if workers <= 1:
        yield starmap(_score_pair, tasks)
        return
    # Spawned, not forked: TensorFlow's threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        with _interrupts_waiting():
            scores = pool.map(_score_pair, *zip(*tasks, strict=True))
        yield scores


@contextmanager
def _interrupts_waiting() -> Iterator[None]:
    """Ctrl-C waits, for good in processes that begin in here: a terminal sends it to all, and the parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _score_pair(reference: Source, decoded: Source, names: tuple[str, ...]) -> Score:
    try:
        return score(_read(reference), _read(decoded), names)
    except UnmeasurableError as failure:
        columns = columns_of(names)
        return Score(dict.fromkeys(columns, math.nan), dict.fromkeys(columns, str(failure)))


def _read(source: Source) -> Signal:
    if isinstance(source, np.ndarray):
        return source
    try:
        signal, rate = soundfile.read(source)
    except (OSError, soundfile.SoundFileError) as failure:
        raise UnmeasurableError(f"cannot read {source}: {failure}") from failure
    if rate != SAMPLE_RATE or signal.ndim != 1:
        channels = 1 if signal.ndim == 1 else signal.shape[1]
        raise UnmeasurableError(f"{source} has {channels} channels at {rate} Hz, not one at {SAMPLE_RATE} Hz")
    return signal
