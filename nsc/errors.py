"""Errors that a user can fix, reported in one line."""

from __future__ import annotations

import math
import os
from numbers import Real
from typing import Any, Final

BRIEF: Final = 40  # characters of a value that a message shows


class UserError(Exception):
    """One line on what was expected, what was found and what to do; the command line exits with status 2."""


def brief(value: Any) -> str:
    """A value as a message shows it: its beginning, in one line."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    try:
        text = ascii(value) if isinstance(value, str | bytes | bool | Real | os.PathLike) else type(value).__name__
    except ValueError:  # a whole number of thousands of digits
        text = type(value).__name__
    return text if len(text) <= BRIEF else f"{text[:BRIEF]}..."
