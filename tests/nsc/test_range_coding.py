import numpy as np
import pytest
from numpy.typing import NDArray

from nsc.entropy.range_coding import RangeDecoder, RangeEncoder
from tests.helpers.reference_decoder import ReferenceRangeDecoder

TOTAL = 1 << 16


def random_table(rng: np.random.Generator, alphabet: int) -> NDArray[np.int64]:
    table = 1 + np.floor(rng.dirichlet(np.full(alphabet, 0.2)) * (TOTAL - alphabet)).astype(np.int64)
    table[table.argmax()] += TOTAL - table.sum()
    return table


def random_message(rng: np.random.Generator, *, likely: bool) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Symbols [n] drawn from their tables, or as they come, and the tables [n, alphabet]."""
    alphabet, length = int(rng.choice([2, 3, 32, 256])), int(rng.integers(0, 200))
    tables = np.stack([random_table(rng, alphabet) for _ in range(4)])[rng.integers(0, 4, length)]
    if likely:
        symbols = (rng.random((length, 1)) < np.cumsum(tables, 1) / TOTAL).argmax(1)
    else:
        symbols = rng.integers(0, alphabet, length)
    return symbols.astype(np.int32), tables.astype(np.float64)


def encoded(symbols: NDArray[np.int32], rows: NDArray[np.float64]) -> bytes:
    encoder = RangeEncoder()
    encoder.encode(symbols, rows)
    return encoder.finish()


@pytest.mark.parametrize("likely", [True, False])
def test_what_was_written_is_read_and_no_byte_is_wasted(likely: bool) -> None:
    rng = np.random.default_rng(1)
    for trial in range(400):
        symbols, rows = random_message(rng, likely=likely)
        data = encoded(symbols, rows)
        assert np.array_equal(RangeDecoder(data).decode(rows), symbols), trial
        ideal = -np.log2(rows[np.arange(len(symbols)), symbols] / TOTAL).sum() / 8
        assert len(data) <= ideal * 1.0001 + 1, trial


def test_symbols_written_in_pieces_are_the_bytes_of_the_whole() -> None:
    rng = np.random.default_rng(2)
    symbols, rows = random_message(rng, likely=True)
    encoder = RangeEncoder()
    for start in range(0, len(symbols), 7):
        encoder.encode(symbols[start : start + 7], rows[start : start + 7])
    assert encoder.finish() == encoded(symbols, rows)


def test_a_decoder_written_from_the_document_reads_the_same_symbols_and_ends_in_the_same_state() -> None:
    rng = np.random.default_rng(3)
    for trial in range(100):
        symbols, rows = random_message(rng, likely=trial % 2 == 0)
        encoder = RangeEncoder()
        encoder.encode(symbols, rows)
        reference = ReferenceRangeDecoder(encoder.finish())
        assert [reference.decode([int(count) for count in row]) for row in rows] == symbols.tolist(), trial
        assert (reference.lower, reference.width) == encoder.state, trial


def test_the_bytes_of_a_known_message_never_change() -> None:
    rows = np.array([[16384, 32768, 16383, 1]] * 12, np.float64)
    symbols = np.array([0, 1, 2, 1, 3, 1, 0, 2, 1, 1, 3, 0], np.int32)
    assert encoded(symbols, rows).hex() == "2dffe50d7998"


def test_bytes_of_no_encoder_give_symbols_or_a_value_error() -> None:
    rng = np.random.default_rng(4)
    rows = np.tile(random_table(rng, 32).astype(np.float64), (3000, 1))
    refused = 0
    for _ in range(300):
        try:
            assert len(RangeDecoder(rng.bytes(int(rng.integers(0, 100)))).decode(rows)) == len(rows)
        except ValueError:
            refused += 1
    assert refused < 300
