"""A measure of decoded speech against its reference: its value or why it has none, and what it needs."""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from nsc.stops import raise_met

Signal = NDArray[np.floating[Any]]
Pair = tuple[Signal, Signal]
Values = Mapping[str, "Measurement"]


class Measurement(float):
    """A measured value, or NaN with the reason."""

    reason: str

    def __new__(cls, value: float, reason: str = "") -> Self:
        """Return `value` as a float that carries `reason`, which is empty where the measure succeeded."""
        measurement = super().__new__(cls, value)
        measurement.reason = reason
        return measurement


class UnmeasurableError(Exception):
    """Why a measure has no value for a pair of signals."""


def is_silent(signal: Signal) -> bool:
    """Whether no sample differs from any other."""
    return bool(np.ptp(signal) == 0)


def _comparable(reference: Signal, decoded: Signal) -> Pair:
    pair = np.asarray(reference, np.float64), np.asarray(decoded, np.float64)
    if pair[0].ndim != 1 or pair[0].shape != pair[1].shape:
        raise UnmeasurableError(f"{pair[0].shape} and {pair[1].shape} are not the shapes of two equally long signals")
    if pair[0].size == 0:
        raise UnmeasurableError("the signals are empty")
    for name, signal in zip(("reference", "decoded signal"), pair, strict=True):
        if not np.all(np.isfinite(signal)):
            raise UnmeasurableError(f"the {name} has samples that are not finite")
    if is_silent(pair[0]):
        raise UnmeasurableError("the reference is silent")
    return pair


def measurement(measure: Callable[[Signal, Signal], float]) -> Callable[[Signal, Signal], Measurement]:
    """Give `measure` comparable float64 signals only, and turn its failures into nan with a reason."""
    several = measurements([measure.__name__])(lambda reference, decoded: [measure(reference, decoded)])

    @functools.wraps(measure)
    def measured(reference: Signal, decoded: Signal) -> Measurement:
        return several(reference, decoded)[measure.__name__]

    return measured


def measurements(
    columns: Sequence[str],
) -> Callable[[Callable[[Signal, Signal], Sequence[float]]], Callable[[Signal, Signal], Values]]:
    """As `measurement`, for a measure of several values at once, which are named `columns`."""

    def decorate(measure: Callable[[Signal, Signal], Sequence[float]]) -> Callable[[Signal, Signal], Values]:
        @functools.wraps(measure)
        def measured(reference: Signal, decoded: Signal) -> Values:
            try:
                values = measure(*_comparable(reference, decoded))
                return {name: Measurement(value) for name, value in zip(columns, values, strict=True)}
            except UnmeasurableError as failure:
                return dict.fromkeys(columns, Measurement(math.nan, str(failure)))
            except Exception as failure:  # a library's fault on one file must not end a run over many
                raise_met()
                text = " ".join(str(failure).split()) or "no reason given"
                reason = f"{_name(measure, columns)} failed: {type(failure).__name__}: {text}"
                return dict.fromkeys(columns, Measurement(math.nan, reason))

        return measured

    return decorate


def _name(measure: Callable[..., Any], columns: Sequence[str]) -> str:
    return columns[0] if len(columns) == 1 else measure.__name__


class Judge(NamedTuple):
    """A measure as a comparison uses it.

    columns: names of its values.
    measure: the values of a decoded signal [n] against its reference [n] at 16 kHz.
    missing: what it needs that is not here, with the command that installs it; empty if nothing is missing.
    """

    columns: tuple[str, ...]
    measure: Callable[[Signal, Signal], Values]
    missing: Callable[[], str] = lambda: ""


def judge(
    name: str, measure: Callable[[Signal, Signal], Measurement], packages: Sequence[str] = (), extra: str = "jury"
) -> Judge:
    """The judge of a measure with one value, which is named `name`, and needs packages that an extra brings."""
    missing = functools.partial(lacking, packages, extra)
    return Judge((name,), lambda reference, decoded: {name: measure(reference, decoded)}, missing)


def lacking(packages: Sequence[str], extra: str) -> str:
    """Of `packages` those that are not installed, with the extra that brings them; empty if all are there."""
    absent = [name for name in packages if not _is_installed(name)]
    return f"{', '.join(absent)}: pip install 'neural-speech-coding[{extra}]'" if absent else ""


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module that is marked as absent, or has no spec
        return False
