"""The decoder's noise: the same at a place of a stream however it is asked for, white, and known bit by bit."""

import numpy as np

from nsc.kinds.spectral.noise import RANGE, noise


def test_noise_depends_on_its_place_only() -> None:
    whole = noise(-3, 20, 160)
    pieces = [noise(first, 5, 160) for first in range(-3, 17, 5)]
    assert np.array_equal(np.concatenate(pieces), whole)


def test_noise_is_the_same_on_every_machine() -> None:
    numbers = np.rint((noise(7, 1, 160)[0, :4] / np.float32(RANGE) + 1) * (1 << 23)).astype(int)
    assert numbers.tolist() == [_mixed(7 * 160 + place) >> 8 for place in range(4)]


def _mixed(number: int) -> int:
    """The hash in Python's own whole numbers."""
    number = ((number ^ number >> 16) * 0x7FEB352D) & 0xFFFFFFFF
    number = ((number ^ number >> 15) * 0x846CA68B) & 0xFFFFFFFF
    return number ^ number >> 16


def test_noise_is_white_and_of_unit_variance() -> None:
    values = noise(0, 2000, 160)
    assert abs(values.mean()) < 0.01 and abs(values.var() - 1) < 0.01
    assert np.abs(values).max() <= RANGE
    neighbours = [np.mean(values[:, 1:] * values[:, :-1]), np.mean(values[1:] * values[:-1])]
    assert np.abs(neighbours).max() < 0.01
