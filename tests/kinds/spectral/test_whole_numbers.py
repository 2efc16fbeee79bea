import math
from fractions import Fraction

import numpy as np

from nsc.entropy import whole_numbers
from nsc.entropy.spectral_envelope import GAIN_FLOOR_DB
from nsc.entropy.whole_numbers import LOG_ONE, count_logs, integer_log2, log_add, tanh_table
from nsc.format.version_2 import GAIN_STEP_DB

MARGIN = 1e-6  # a last digit of a mathematical library is 1e-13 of these numbers


def distance_from_a_border(values: np.ndarray) -> float:
    """From the nearest number half-way between two whole ones."""
    return float(np.abs(values - np.floor(values) - 0.5).min())


def test_no_entry_of_a_table_lies_near_a_rounding_border() -> None:
    mantissas = LOG_ONE * np.log2(1 + (np.arange(512) + 0.5) / 512)
    sums = LOG_ONE * np.log2(1 + np.exp2(-np.arange(10 * LOG_ONE) / LOG_ONE))
    counts = LOG_ONE * np.log2(1 + 2 * np.arange(121))
    tanhs = np.tanh((np.arange(1024) + 0.5) / 128 - 4) * 4096
    gains = LOG_ONE * (np.arange(64) * GAIN_STEP_DB + GAIN_FLOOR_DB) / 20 * np.log2(10)
    cosines = 2 * np.cos((np.arange(320) + 0.5) * np.pi / 320) * 2**20
    least = 2 * np.sin((np.arange(320) + 0.5) * np.pi / 320) * 0.0075 * 2**20
    for values in (mantissas, sums, counts, tanhs, gains, cosines, least):
        assert distance_from_a_border(values) > MARGIN


def test_logarithms_are_right_to_a_part_in_five_hundred() -> None:
    values = np.unique(np.random.default_rng(1).integers(1, 1 << 40, 2000))
    assert np.abs(integer_log2(values) / LOG_ONE - np.log2(values)).max() < 1 / 512 + 1 / 700


def test_logarithms_never_fall() -> None:
    assert (np.diff(integer_log2(np.arange(1, 100_000))) >= 0).all()


def test_the_logarithm_of_a_sum_is_that_of_two_numbers() -> None:
    first, second = np.random.default_rng(2).integers(-5000, 5000, (2, 1000))
    exact = LOG_ONE * np.logaddexp2(first / LOG_ONE, second / LOG_ONE)
    assert np.abs(log_add(first, second) - exact).max() <= 1
    assert np.array_equal(log_add(first, second), log_add(second, first))


def test_logarithms_of_counts_equal_those_by_whole_numbers_alone() -> None:
    # 2^(2 x 256 x log2 n) is n^512, so that its bits count half steps exactly
    exact = [((1 + 2 * n) ** (2 * LOG_ONE)).bit_length() // 2 for n in range(121)]
    assert count_logs(120).tolist() == exact


def test_tanh_is_odd_and_right_to_a_step() -> None:
    table = tanh_table()
    assert np.array_equal(table, -table[::-1])
    assert math.isclose(table[512 + 64] / 4096, math.tanh(float(Fraction(129, 256))), abs_tol=2e-4)
    assert len(table) == 2 * whole_numbers.TANH_RANGE << whole_numbers.TANH_BITS
