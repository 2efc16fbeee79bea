"""Choices of a random generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Generator = np.random.Generator
Choice = TypeVar("Choice")


def one_of(choices: Sequence[Choice], generator: Generator) -> Choice:
    """One of these, each as probable as the others."""
    return choices[int(generator.integers(len(choices)))]
