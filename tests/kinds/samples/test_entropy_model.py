import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from kinds.samples.cascade import Symbols
from kinds.samples.rate import (
    bits_per_frame,
    code_lengths,
    count_symbols,
    integer_tables,
    kilobits_per_second,
    paper_style_kbps,
)
from kinds.samples.serving import symbols_by_part
from nsc.kinds.samples.network import Part

PART = Part("codec 1", (32, 4), 16)
TOTAL = 65_536


def random_symbols(frames: int = 200, seed: int = 1) -> np.ndarray:
    """Symbols [frames, 32, 4], each channel with a distribution of its own."""
    generator = np.random.default_rng(seed)
    spread = np.array([0.5, 1.0, 2.0, 6.0])
    return np.clip(np.rint(8 + spread * generator.standard_normal((frames, 32, 4))), 0, 15).astype(np.int32)


def test_counts_are_kept_a_channel() -> None:
    symbols = random_symbols()
    counts = count_symbols(PART, symbols)
    assert counts.shape == (4, 16)
    for channel in range(4):
        values = symbols[:, :, channel].reshape(-1).tolist()
        np.testing.assert_array_equal(counts[channel], [values.count(value) for value in range(16)])


@pytest.mark.parametrize(
    "counts",
    [
        np.zeros((1, 32)),
        np.eye(1, 256, 17) * 10**12,
        np.ones((1, 256)),
        np.array([[1, 10**9]]),
        np.random.default_rng(1).integers(0, 10**6, (16, 256)),
        np.random.default_rng(2).integers(0, 3, (8, 1024)),
    ],
    ids=["nothing seen", "one value", "all alike", "two values", "LSFs", "vectors"],
)
def test_tables_sum_to_2_to_the_16_and_hold_at_least_1_everywhere(counts: np.ndarray) -> None:
    table = integer_tables({"part": counts.astype(np.int64)})["part"]
    assert table.dtype == np.int32
    assert table.shape == counts.shape
    np.testing.assert_array_equal(table.sum(axis=1), TOTAL)
    assert table.min() >= 1


def test_tables_follow_the_counts() -> None:
    counts = np.random.default_rng(1).integers(0, 10**6, (16, 32))
    table = integer_tables({"part": counts})["part"]
    shares = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(table / TOTAL, shares, atol=32 / TOTAL)


def test_the_code_length_of_the_counted_symbols_is_their_entropy() -> None:
    symbols = random_symbols()
    counts = count_symbols(PART, symbols)
    found = code_lengths({"codec 1": symbols}, integer_tables({"codec 1": counts}))["codec 1"]
    expected = stats.entropy(counts, base=2, axis=1).sum() * 32
    assert found.shape == (200,)
    assert expected <= found.mean() <= 1.001 * expected


def test_the_code_length_of_each_frame_is_the_sum_over_its_symbols() -> None:
    symbols = random_symbols(5)
    table = integer_tables({"codec 1": count_symbols(PART, random_symbols(seed=2))})["codec 1"]
    expected = [
        sum(
            -np.log2(table[channel, frame[position, channel]] / TOTAL) for position in range(32) for channel in range(4)
        )
        for frame in symbols
    ]
    np.testing.assert_allclose(code_lengths({"codec 1": symbols}, {"codec 1": table})["codec 1"], expected)


def test_a_symbol_never_seen_costs_16_bits_and_no_more() -> None:
    symbols = np.full((3, 32, 4), 5, np.int32)
    table = integer_tables({"codec 1": count_symbols(PART, symbols)})
    seen, unseen = code_lengths({"codec 1": symbols}, table), code_lengths({"codec 1": symbols + 1}, table)
    assert np.all(seen["codec 1"] < 0.1)
    np.testing.assert_array_equal(unseen["codec 1"], 16 * 32 * 4)


def test_1000_bits_a_second_are_one_kbps() -> None:
    frames_a_second = 16_000 / 480
    assert kilobits_per_second(1000 / frames_a_second) == pytest.approx(1.0)
    assert kilobits_per_second(1000) == pytest.approx(33.3333333)
    assert bits_per_frame(1.0) == pytest.approx(30)
    assert bits_per_frame(kilobits_per_second(123.0)) == pytest.approx(123)


def test_the_paper_s_rate_is_each_frame_s_own_entropy_in_units_of_1024_bits() -> None:
    first, second = random_symbols(20), random_symbols(20, seed=3)[:, :16]
    total = 0.0
    for symbols in (first, second):
        frames = []
        for frame in symbols:
            values = frame.reshape(-1).tolist()
            shares = [values.count(value) / len(values) for value in set(values)]
            frames.append(stats.entropy(shares, base=2) * len(values))
        total += sum(frames) / len(frames)
    assert paper_style_kbps([first, second]) == pytest.approx(total * 16_000 / 480 / 1024)


def test_the_paper_s_rate_is_below_what_the_same_symbols_cost_to_send() -> None:
    symbols = random_symbols()[..., :1]  # one channel, so that both take one histogram
    part = Part("codec 1", (32, 1), 16)
    bits = code_lengths({"codec 1": symbols}, integer_tables({"codec 1": count_symbols(part, symbols)}))["codec 1"]
    assert paper_style_kbps([symbols]) < kilobits_per_second(float(bits.mean()))


def test_symbols_go_by_the_names_of_their_parts() -> None:
    lpc, codes = Part("lpc", (1, 16), 256), [PART, PART._replace(name="codec 2")]
    lsf, first, second = (tf.fill([2, *shape], value) for value, shape in enumerate([(1, 16), (32, 4), (32, 4)]))
    found = symbols_by_part([lpc, *codes], Symbols(lsf, [first, second]))
    assert {name: int(values[0, 0, 0]) for name, values in found.items()} == {"lpc": 0, "codec 1": 1, "codec 2": 2}
    assert list(symbols_by_part([lpc, *codes], Symbols(lsf, [first]))) == ["lpc", "codec 1"]
    assert list(symbols_by_part(codes, Symbols(None, [first, second]))) == ["codec 1", "codec 2"]
