"""Arguments of the public interface, checked before anything is done with them. Needs no numpy."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, cast

from nsc.constants import BEST_QUALITY
from nsc.errors import UserError, brief

if TYPE_CHECKING:
    from pathlib import Path

    from nsc.coding.interface import Model

MOST_LAYERS: Final = 63
MOST_SPANS: Final = 1 << 16
MOST_THREADS: Final = 256
MOST_SAMPLES: Final = (1 << 32) - 2  # that a header can say
MOST_KBPS: Final = 1000.0


def whole_number(name: str, value: Any, lowest: int, highest: int) -> int | None:
    """A whole number within bounds, or None.

    Raises:
        UserError: it is something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral) or not lowest <= int(value) <= highest:
        raise UserError(f"{name}: expected a whole number from {lowest} to {highest}, found {brief(value)}")
    return int(value)


def number(name: str, value: Any, lowest: float, highest: float) -> float | None:
    """A number within bounds, or None.

    Raises:
        UserError: it is something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not lowest <= cast("float", value) <= highest:
        raise UserError(f"{name}: expected a number from {lowest:g} to {highest:g}, found {brief(value)}")
    return float(value)


def layers_of(value: Any) -> int | None:
    """A number of layers, or None for all; whether a model or a file has so many is checked there.

    Raises:
        UserError: it is something else.
    """
    if value is None:
        return None
    if isinstance(value, Integral) and not isinstance(value, bool) and abs(int(value)) <= MOST_SAMPLES:
        return int(value)
    raise UserError(f"layers: expected a whole number from 1 to {MOST_LAYERS}, found {brief(value)}")


def check_rate(kbps: Any, quality: Any, bounded: Any) -> None:
    """Raises UserError where these are no request of a rate, or more than one."""
    if number("kbps", kbps, 0, MOST_KBPS) == 0:
        raise UserError("kbps: expected a number above 0, found 0")
    number("quality", quality, 0, BEST_QUALITY)
    if not isinstance(bounded, bool):
        raise UserError(f"bounded: expected True or False, found {brief(bounded)}")
    if quality is not None and (kbps is not None or bounded):
        other = "kbps" if kbps is not None else "a bound"
        raise UserError(f"expected quality or {other}, found both; give one of them")
    if bounded and kbps is None:
        raise UserError("expected kbps with a bounded rate, found none; give the bound")


def check_redundancy(redundancy: Any, kbps: float | None, dtx: Any) -> None:
    """Raises UserError where these say nothing of packets that makes sense beside a rate."""
    if number("redundancy", redundancy, 0, MOST_KBPS) == 0:
        raise UserError("redundancy: expected a number above 0, found 0; give None for none")
    if redundancy is not None and kbps is not None and redundancy >= kbps:
        raise UserError(f"redundancy: expected less than kbps, {kbps:g} in all, found {redundancy:g}")
    if not isinstance(dtx, bool):
        raise UserError(f"dtx: expected True or False, found {brief(dtx)}")


def file_bytes(data: Any) -> bytes:
    """The bytes of a file, from anything that holds bytes.

    Raises:
        UserError: it is something else, such as the file's name.
    """
    if isinstance(data, bytes):
        return data
    if isinstance(data, str | os.PathLike):
        raise UserError(f"expected the bytes of an .nsc file, found a name, {brief(data)}; read the file first")
    try:
        return memoryview(data).tobytes()
    except TypeError:
        raise UserError(f"expected the bytes of an .nsc file, found {brief(data)}") from None


def model_of(model: Any) -> Model:
    """A loaded model, from itself, its name, its hash or its folder.

    Raises:
        UserError: there is no such model, or it is something else.
    """
    if isinstance(model, str | os.PathLike):
        from nsc.loading.find import find_model
        from nsc.loading.folder import load

        return load(find_model(cast("str | Path", model)))
    if not (hasattr(model, "analysis") and hasattr(model, "synthesis")):
        raise UserError(f"expected a model, its name or its folder, found {brief(model)}; nsc.load loads one")
    return cast("Model", model)
